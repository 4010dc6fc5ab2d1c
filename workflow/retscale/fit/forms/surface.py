"""The law of Hoffmann et al. 2022 for the distance from a perfect score: parameters and tokens fall short apart."""

import numpy as np

from retscale.fit.forms.form import INF, Form
from retscale.fit.ladder import Compute

EXPONENTS = (0.02, 0.08, 0.2, 0.35, 0.5, 0.8, 1.3)


class Surface(Form):
    """y = ceiling - A exp(-alpha n) - B exp(-beta d), n = ln N and d = ln D.

    With E = 1 - ceiling this is 1 - y = E + A' N^-alpha + B' D^-beta, where A = A' exp(-alpha mean(ln N)), and B alike:
    centring makes the starts reach the optimum.
    """

    name = "surface"
    method = "least squares of a power law of parameters and one of tokens below a ceiling"
    parameters = {
        "ceiling": "score",
        "A": "loss of score at the mean of log parameters",
        "B": "loss of score at the mean of log tokens",
        "alpha": "exponent of parameters",
        "beta": "exponent of tokens",
    }
    bounds = {"ceiling": (0.0, 1.0), "A": (0.0, INF), "B": (0.0, INF), "alpha": (0.0, 3.0), "beta": (0.0, 3.0)}
    checkpoints, sizes, varied = 12, 4, 3

    def starts(self, at: Compute, y: np.ndarray) -> np.ndarray:
        starts = []
        for alpha in EXPONENTS:
            for beta in EXPONENTS:
                columns = np.column_stack([np.ones_like(y), -np.exp(-alpha * at.n), -np.exp(-beta * at.d)])
                linear = np.linalg.lstsq(columns, y, rcond=None)[0]
                starts.append([*np.clip(linear, *(ends[:3] for ends in self.limits)), alpha, beta])
        return np.array(starts)

    def predict(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        ceiling, a, b, alpha, beta = parameters
        return ceiling - a * np.exp(-alpha * at.n) - b * np.exp(-beta * at.d)

    def jacobian(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        _, a, b, alpha, beta = parameters
        of_size, of_tokens = np.exp(-alpha * at.n), np.exp(-beta * at.d)
        return np.column_stack([np.ones_like(of_size), -of_size, -of_tokens, a * at.n * of_size, b * at.d * of_tokens])
