"""Reference: a system that ranks without a model, on retrieval tasks, to compare encoders with."""
