"""The log-linear form with an effect of tokens per parameter."""

import numpy as np

from retscale.fit.forms.form import Linear, decades
from retscale.fit.ladder import LN10, Compute


class LogLinearRatio(Linear):
    """y = intercept + slope log10 C + delta log10(D / N).

    Along fixed tokens per parameter y grows by `slope` a decade of FLOPs; along a fixed size, where FLOPs grow as
    tokens do, by slope + delta.
    """

    name = "log-linear-ratio"
    method = "ordinary least squares on log₁₀ FLOPs and log₁₀ tokens per parameter"
    parameters = {
        "intercept": "score at the mean of log10 FLOPs and of log10 tokens per parameter",
        "slope": "score per decade of FLOPs at fixed tokens per parameter",
        "delta": "score per decade of tokens per parameter at fixed FLOPs",
    }
    checkpoints, sizes, varied = 12, 4, 3

    def columns(self, at: Compute) -> np.ndarray:
        return np.column_stack([np.ones_like(at.x), decades(at), (at.d - at.n) / LN10])
