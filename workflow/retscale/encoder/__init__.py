"""Encoders made elsewhere: what their folders say, in the terms of our own encoders."""
