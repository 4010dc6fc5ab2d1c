"""The log-linear form: equal growth in each decade of compute."""

from collections.abc import Mapping

import numpy as np

from retscale.fit.forms.form import Linear, decades
from retscale.fit.ladder import Compute


class LogLinear(Linear):
    """y = intercept + slope log10 C."""

    name = "log-linear"
    method = "ordinary least squares on log₁₀ FLOPs"
    parameters = {"intercept": "score at the mean of log10 FLOPs", "slope": "score per decade of FLOPs"}

    def columns(self, at: Compute) -> np.ndarray:
        return np.column_stack([np.ones_like(at.x), decades(at)])

    def sentence(self, metric: str, growth: str, parameters: Mapping[str, float]) -> str:
        return f"{metric} grows by {growth} per decade of FLOPs"
