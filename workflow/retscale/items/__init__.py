"""The file of an in-context task, fetched once."""
