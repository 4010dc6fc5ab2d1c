"""Encoders made elsewhere: what their folders say of them, in the words of our own."""
