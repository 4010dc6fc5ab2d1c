"""Task: one retrieval task's queries, corpus and judgements, fetched once."""
