"""How forecasts of a ladder did: each size in turn is predicted from the smaller ones."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from retscale.fit import select
from retscale.fit.extrapolate import FARTHEST, SET, decades_beyond, forecast, union
from retscale.fit.forms import FORMS
from retscale.fit.ladder import Ladder
from retscale.fit.trend import fit
from retscale.fit.variance import Prior

LATEST = 8  # origins: of a ladder of many sizes the largest ones are predicted
LARGEST, ROLLING = "largest size", "rolling origin"


@dataclass(frozen=True)
class HeldOut:
    """Predictions of the checkpoints (m,) of one size, `rows` of the ladder, by each form and the set."""

    origin: str
    rows: np.ndarray
    form: str
    y: np.ndarray
    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Backtest:
    """Hits of n intervals; `width` is their median, `bias` the mean of predicted minus measured."""

    scheme: str
    form: str
    origins: int = 0
    hits: int | None = None
    n: int = 0
    width: float | None = None
    rmse: float | None = None
    bias: float | None = None
    status: str = "insufficient"
    reason: str = ""


def origins(ladder: Ladder) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """From the smallest size on: its label, the rows of smaller sizes, and its own rows, where both may be used.

    Own rows are those of a family that the smaller sizes know, at most 2 decades beyond them.
    """
    size_of = {size: ladder.at.n[ladder.sizes == size].mean() for size in set(ladder.sizes)}
    ordered = sorted(size_of, key=lambda size: (size_of[size], size))
    for size in ordered[-LATEST:]:
        train = np.array([size_of[other] < size_of[size] - 1e-9 for other in ladder.sizes])
        if train.sum() < 3:
            continue
        known = np.isin(ladder.families, ladder.families[train])
        test = (ladder.sizes == size) & known
        test[test] = decades_beyond(ladder[train], ladder.at[test]) <= FARTHEST + 1e-6
        if test.any():
            yield size, np.flatnonzero(train), np.flatnonzero(test)


def hold_out(ladder: Ladder, alpha: float, prior: Prior, within: tuple[float, float]) -> list[HeldOut]:
    """Predictions of every origin by every form that the smaller sizes allow, and by their set.

    A hold-out shortens the ladder, so no least span of FLOPs is asked of it.
    """
    table = []
    for size, train, test in origins(ladder):
        fits = [fit(form, ladder[train], alpha, prior, decades=0) for form in FORMS.values()]
        weights = select.chosen(fits)
        forecasts = [
            forecast(fitted, ladder.at[test], alpha, within, ladder.families[test]) for fitted in fits if fitted.fitted
        ]
        for prediction in [*forecasts, *([union(forecasts, weights)] if weights else [])]:
            table.append(
                HeldOut(size, test, prediction.form, ladder.y[test], prediction.y, prediction.low, prediction.high)
            )
    return table


def summarize(ladder: Ladder, held_out: list[HeldOut]) -> list[Backtest]:
    """Two rows for each form, and for the set: the largest size alone, and every origin."""
    largest = max(set(ladder.sizes), key=lambda size: (ladder.at.n[ladder.sizes == size].mean(), size), default=None)
    table = []
    for scheme in (LARGEST, ROLLING):
        for form in (*FORMS, SET):
            parts = [part for part in held_out if part.form == form and (scheme == ROLLING or part.origin == largest)]
            table.append(_score(scheme, form, parts))
    return table


def _score(scheme: str, form: str, parts: list[HeldOut]) -> Backtest:
    if not parts:
        return Backtest(scheme, form, reason="the smaller sizes are too few for this form, or too far below")
    y, predicted, low, high = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("y", "predicted", "low", "high")
    )
    return Backtest(
        scheme,
        form,
        origins=len(parts),
        hits=int(((low <= y) & (y <= high)).sum()),
        n=len(y),
        width=float(np.median(high - low)),
        rmse=float(np.sqrt(((predicted - y) ** 2).mean())),
        bias=float((predicted - y).mean()),
        status="ok",
    )
