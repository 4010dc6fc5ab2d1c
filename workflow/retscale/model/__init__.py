"""Models as every stage sees them: loading, device and dtype, parameter counts, pooling, encoding."""
