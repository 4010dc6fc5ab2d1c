"""Evaluate: an encoder on retrieval tasks, by exact cosine search."""
