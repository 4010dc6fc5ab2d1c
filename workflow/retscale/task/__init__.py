"""Task: one retrieval task's queries, corpus and judgments, fetched once."""
