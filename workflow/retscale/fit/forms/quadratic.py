"""Curvature: whether a line over log FLOPs is enough."""

import numpy as np

from retscale.fit.forms.form import Linear, decades
from retscale.fit.ladder import Compute


class Quadratic(Linear):
    """y = intercept + slope log10 C + curvature (log10 C)². It has a turning point, so it forecasts nothing."""

    name = "quadratic"
    method = "ordinary least squares on log₁₀ FLOPs and their square, to see curvature only"
    parameters = {
        "intercept": "score at the mean of log10 FLOPs",
        "slope": "score per decade of FLOPs at their mean",
        "curvature": "score per squared decade of FLOPs",
    }
    checkpoints, sizes = 8, 4
    diagnostic = True

    def columns(self, at: Compute) -> np.ndarray:
        return np.column_stack([np.ones_like(at.x), decades(at), decades(at) ** 2])
