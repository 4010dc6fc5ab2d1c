"""What a form of fit is: a curve of quality over compute."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from retscale.fit.ladder import LN10, Compute

INF = float("inf")


class Form(ABC):
    """y = f(at; p) with k parameters p, where `at` is Compute minus its mean over the n fitted checkpoints.

    A form says where to start, what curve the parameters draw, and between which bounds they lie. The optimum, its
    intervals and its bands follow in the same way for every form.
    """

    name: ClassVar[str]  # in tables and texts
    method: ClassVar[str]  # what is fitted, as a clause for the report
    parameters: ClassVar[Mapping[str, str]]  # the unit of each by its name, in the order of the arrays
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}  # of the parameters that have some
    checkpoints: ClassVar[int] = 3  # that it needs, of this many `sizes`,
    sizes: ClassVar[int] = 1
    varied: ClassVar[int] = 0  # in this many of which tokens per parameter vary
    diagnostic: ClassVar[bool] = False  # is never selected

    @abstractmethod
    def starts(self, at: Compute, y: np.ndarray) -> np.ndarray:
        """Parameters (m, k) near which an optimum may lie, from a grid over the nonlinear ones."""

    @abstractmethod
    def predict(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        """The curve (m,) at `at` (m,)."""

    @abstractmethod
    def jacobian(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        """Derivatives (m, k) of the curve at `at` (m,) by each parameter."""

    @property
    def limits(self) -> tuple[np.ndarray, np.ndarray]:
        """The least and the largest value (k,) of each parameter."""
        ends = np.array([self.bounds.get(name, (-INF, INF)) for name in self.parameters])
        return ends[:, 0], ends[:, 1]

    def sentence(self, metric: str, growth: str, parameters: Mapping[str, float]) -> str:
        """A clause on what was found; `growth` is the mean growth per decade with its interval, in words."""
        return f"from the least compute to the most, {metric} grows by {growth} per decade of FLOPs on average"


class Linear(Form):
    """A form that is linear in its parameters, so its start is its optimum: ordinary least squares."""

    @abstractmethod
    def columns(self, at: Compute) -> np.ndarray:
        """What the parameters multiply: (m, k)."""

    def starts(self, at: Compute, y: np.ndarray) -> np.ndarray:
        return np.linalg.lstsq(self.columns(at), y, rcond=None)[0][None]

    def predict(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        return self.columns(at) @ parameters

    def jacobian(self, parameters: np.ndarray, at: Compute) -> np.ndarray:
        return self.columns(at)


def decades(at: Compute) -> np.ndarray:
    """log10 FLOPs."""
    return at.x / LN10
