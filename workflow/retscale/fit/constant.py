"""What counts as a constant: values that differ by no more than rounding."""

import numpy as np

ROUNDING = 1e-9  # scores and coefficients that differ by less differ by the order of a sum


def constant(values: np.ndarray) -> bool:
    """Whether all values (n,) are equal but for rounding."""
    return len(values) == 0 or float(np.ptp(values)) <= ROUNDING * max(1.0, float(np.abs(values).max()))
