"""Forecasts: the union of the prediction bands of all forms that the data cannot tell apart."""

from dataclasses import dataclass

import numpy as np

from retscale.fit.bands import half_width
from retscale.fit.ladder import LN10, Compute, Ladder
from retscale.fit.trend import Fit

FARTHEST = 2.0  # decades of FLOPs beyond the data; no backtest reaches further
SET = "set"  # in the place of a form's name: the forms of the set together


@dataclass(frozen=True)
class Forecast:
    """A new checkpoint of a new size: y and its interval, (m,) each, by one form or by the set of forms."""

    form: str
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray


def decades_beyond(ladder: Ladder, at: Compute) -> np.ndarray:
    """Decades of FLOPs (m,) from the ladder's largest checkpoint to `at`; below 0 inside."""
    return (at.x - ladder.at.x.max()) / LN10


def forecast(
    fit: Fit, at: Compute, alpha: float, within: tuple[float, float], families: np.ndarray | None = None
) -> Forecast:
    """By one form; of the mean family or of the ladder's `families` (m,)."""
    y, weights = fit.curve(at, families)
    half = half_width(fit.draws, weights, alpha, new=True)
    return Forecast(fit.form.name, *(np.clip(values, *within) for values in (y, y - half, y + half)))


def union(forecasts: list[Forecast], weights: dict[str, float]) -> Forecast:
    """Of the forms in `weights`: the weighted mean, and the interval from the lowest end to the highest."""
    inside = [part for part in forecasts if part.form in weights]
    y = np.sum([weights[part.form] * part.y for part in inside], axis=0)
    return Forecast(
        SET, y, np.min([part.low for part in inside], axis=0), np.max([part.high for part in inside], axis=0)
    )
