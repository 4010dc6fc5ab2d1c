"""Pairs: training queries, their positive passages, and the passage collection, clear of every test."""
