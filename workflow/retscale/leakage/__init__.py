"""Leakage: which texts of the retrieval tasks also stand in the training data."""
