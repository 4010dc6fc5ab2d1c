"""Text: data read in place from installed wheels, token streams, batches under a token budget."""
