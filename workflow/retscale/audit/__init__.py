"""Audit: where a figure comes from, and whether every byte on the way is what was recorded."""
