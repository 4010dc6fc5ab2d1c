"""What a form of fit is: a curve of quality over compute."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np


class Form(ABC):
    """y = f(x) with k parameters, where x is log10 FLOPs minus their mean over the n fitted checkpoints.

    A form says how its parameters are estimated and what curve they draw. Intervals and bands follow from its
    gradient, in the same way for every form.
    """

    name: ClassVar[str]  # in tables and texts
    method: ClassVar[str]  # how it is estimated, as a clause for the report
    parameters: ClassVar[Mapping[str, str]]  # the unit of each by its name, in the order of the arrays

    @abstractmethod
    def estimate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """The parameters (k,) fitted to x (n,) and y (n,)."""

    @abstractmethod
    def predict(self, parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The curve at x (m,)."""

    @abstractmethod
    def gradient(self, parameters: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Derivatives (m, k) of the curve at x (m,) by each parameter."""

    def weights(self, parameters: np.ndarray, x: np.ndarray, at: np.ndarray) -> np.ndarray:
        """How much each fitted value moves the curve at `at` (m,): (m, n), of least squares, to first order."""
        return self.gradient(parameters, at) @ np.linalg.pinv(self.gradient(parameters, x))

    def growth(self, parameters: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Mean growth per decade from the least to the most compute of x, and how much each value moves it (n,)."""
        ends, decades = np.array([x.min(), x.max()]), np.ptp(x)
        first, last = self.predict(parameters, ends)
        before, after = self.weights(parameters, x, ends)
        return (last - first) / decades, (after - before) / decades

    def sentence(self, metric: str, growth: str, parameters: Mapping[str, float]) -> str:
        """A clause on what was found; `growth` is the mean growth per decade with its interval, in words."""
        return f"from the least compute to the most, {metric} grows by {growth} per decade of FLOPs on average"
