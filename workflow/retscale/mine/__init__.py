"""Mine: hard negatives for each training query from the passage collection."""
