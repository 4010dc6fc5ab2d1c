"""What pretraining cost."""


def flops(n_params: int, n_tokens: int) -> float:
    """Pretraining compute 6ND, with N all parameters as in Portes et al. 2025 (table 1) and D the training tokens.

    A float, since it soon exceeds the 64-bit integers of a table.
    """
    return 6.0 * n_params * n_tokens
