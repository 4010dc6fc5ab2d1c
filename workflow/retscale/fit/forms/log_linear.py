"""The log-linear form: equal growth in each decade of compute."""

from collections.abc import Mapping

import numpy as np

from retscale.fit.forms.form import Form


class LogLinear(Form):
    """y = intercept + slope x, by ordinary least squares. Closed forms, since x is centred."""

    name = "log-linear"
    method = "ordinary least squares on log₁₀ FLOPs"
    parameters = {"intercept": "score at the mean of log10 FLOPs", "slope": "score per decade of FLOPs"}

    def estimate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.array([y.mean(), y @ x / (x @ x)])

    def predict(self, parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
        intercept, slope = parameters
        return intercept + slope * x

    def gradient(self, parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.column_stack([np.ones_like(x), x])

    def weights(self, parameters: np.ndarray, x: np.ndarray, at: np.ndarray) -> np.ndarray:
        return 1 / len(x) + np.outer(at, x) / (x @ x)

    def growth(self, parameters: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
        return parameters[1], x / (x @ x)

    def sentence(self, metric: str, growth: str, parameters: Mapping[str, float]) -> str:
        return f"{metric} grows by {growth} per decade of FLOPs"
