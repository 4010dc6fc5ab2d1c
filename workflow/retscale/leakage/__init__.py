"""Leakage: which texts of the retrieval tasks also occur in the training data."""
