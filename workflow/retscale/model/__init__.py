"""Models as every stage uses them: loading, device and dtype, parameter counts, pooling, encoding."""
