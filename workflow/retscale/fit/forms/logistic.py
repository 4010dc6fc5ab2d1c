"""The logistic forms: scores between 0 and a ceiling, which is 1 or fitted."""

import numpy as np
from scipy.special import expit, logit

from retscale.fit.forms.form import INF, Form
from retscale.fit.ladder import Compute

EDGE = 1e-3  # a score of 0 or 1 has no logit: starts take it for one this near to it
HEADROOM = np.array([1.002, 1.01, 1.03, 1.07, 1.15, 1.3, 1.6, 2.2, 4.0])  # of a ceiling over the highest score


def line_of_logits(at: Compute, shares: np.ndarray) -> np.ndarray:
    """Intercept and slope (2,) of the logits of `shares` (n,) over ln FLOPs."""
    columns = np.column_stack([np.ones_like(at.x), at.x])
    return np.linalg.lstsq(columns, logit(np.clip(shares, EDGE, 1 - EDGE)), rcond=None)[0]


class Logistic(Form):
    """y = 1 / (1 + exp(-(a + b x))), x = ln C."""

    name = "logistic"
    method = "least squares of a logistic curve between 0 and 1"
    parameters = {"a": "log odds at the mean of log FLOPs", "b": "log odds per e-fold of FLOPs"}
    checkpoints = 5

    def starts(self, at: Compute, y: np.ndarray) -> np.ndarray:
        return line_of_logits(at, y)[None]

    def predict(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        a, b = parameters
        return expit(a + b * at.x)

    def jacobian(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        y = self.predict(parameters, at)
        slope = y * (1 - y)
        return np.column_stack([slope, slope * at.x])


class SaturatingLogistic(Form):
    """y = ceiling / (1 + exp(-(a + b x))), x = ln C."""

    name = "saturating-logistic"
    method = "least squares of a logistic curve with a ceiling of its own"
    parameters = {"ceiling": "score", **Logistic.parameters}
    bounds = {"ceiling": (1e-3, 1.0), "b": (0.0, INF)}
    checkpoints, sizes = 8, 4

    def starts(self, at: Compute, y: np.ndarray) -> np.ndarray:
        ceilings = np.unique(np.clip(max(y.max(), EDGE) * HEADROOM, None, 1))
        return np.stack([[ceiling, *line_of_logits(at, y / ceiling)] for ceiling in ceilings])

    def predict(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        ceiling, a, b = parameters
        return ceiling * expit(a + b * at.x)

    def jacobian(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        ceiling, a, b = parameters
        share = expit(a + b * at.x)
        slope = ceiling * share * (1 - share)
        return np.column_stack([share, slope, slope * at.x])
