"""No growth: the form that every other one has to beat."""

import numpy as np

from retscale.fit.forms.form import Linear
from retscale.fit.ladder import Compute


class Constant(Linear):
    """y = level."""

    name = "constant"
    method = "the mean"
    parameters = {"level": "score"}
    checkpoints = 5

    def columns(self, at: Compute) -> np.ndarray:
        return np.ones((len(at.x), 1))
