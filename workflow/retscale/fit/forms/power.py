"""Power laws of compute: the distance from a perfect score, or from a ceiling, falls by a constant factor a decade."""

from collections.abc import Mapping

import numpy as np

from retscale.fit.forms.form import INF, Form
from retscale.fit.ladder import LN10, Compute

NEAREST = 1e-3  # a distance from 1 that starts take for 0
EXPONENTS = np.geomspace(0.01, 1.5, 20)


class Power(Form):
    """y = 1 - gap exp(-exponent x), x = ln C, so 1 - y is proportional to C^-exponent."""

    name = "power"
    method = "least squares of a power law of the distance from 1"
    parameters = {"gap": "1 − score at the mean of log FLOPs", "exponent": "of FLOPs"}
    bounds = {"gap": (0.0, INF)}
    checkpoints = 5

    def starts(self, at: Compute, y: np.ndarray) -> np.ndarray:
        columns = np.column_stack([np.ones_like(at.x), -at.x])
        level, exponent = np.linalg.lstsq(columns, np.log(np.maximum(1 - y, NEAREST)), rcond=None)[0]
        return np.array([[np.exp(level), exponent]])

    def predict(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        gap, exponent = parameters
        return 1 - gap * np.exp(-exponent * at.x)

    def jacobian(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        gap, exponent = parameters
        power = np.exp(-exponent * at.x)
        return np.column_stack([-power, gap * at.x * power])

    def sentence(self, metric: str, growth: str, parameters: Mapping[str, float]) -> str:
        factor = np.exp(-parameters["exponent"] * LN10)
        return f"1 − {metric} is multiplied by {factor:.3f} in each decade of FLOPs, a mean gain of {growth} per decade"


class SaturatingPower(Form):
    """y = ceiling - gap exp(-exponent x), x = ln C."""

    name = "saturating-power"
    method = "least squares of a power law of the distance from a ceiling"
    parameters = {
        "ceiling": "score",
        "gap": "ceiling − score at the mean of log FLOPs",
        "exponent": "of FLOPs",
    }
    bounds = {"ceiling": (0.0, 1.0), "exponent": (1e-3, 5.0)}
    checkpoints, sizes = 8, 4

    def starts(self, at: Compute, y: np.ndarray) -> np.ndarray:
        starts = []
        for exponent in EXPONENTS:
            power = np.exp(-exponent * at.x)
            ceiling, gap = np.linalg.lstsq(np.column_stack([np.ones_like(power), -power]), y, rcond=None)[0]
            if not 0 <= ceiling <= 1:
                ceiling = np.clip(ceiling, 0, 1)
                gap = power @ (ceiling - y) / (power @ power)
            starts.append([ceiling, gap, exponent])
        return np.array(starts)

    def predict(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        ceiling, gap, exponent = parameters
        return ceiling - gap * np.exp(-exponent * at.x)

    def jacobian(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        _, gap, exponent = parameters
        power = np.exp(-exponent * at.x)
        return np.column_stack([np.ones_like(power), -power, gap * at.x * power])
