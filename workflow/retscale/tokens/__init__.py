"""Texts as token ids on disk: made once per tokenizer, read by every job after that."""
