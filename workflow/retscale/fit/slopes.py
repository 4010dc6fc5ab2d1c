"""The headline slope, which depends on what is held fixed while compute grows."""

from dataclasses import dataclass

import numpy as np

from retscale.fit.trend import Fit

SAMPLED, RATIO, SIZE = "as sampled", "fixed tokens per parameter", "fixed size"


@dataclass(frozen=True)
class Slope:
    """Growth per decade of FLOPs along a path, with its interval."""

    path: str
    form: str
    n: int
    sizes: int
    decades: float
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    status: str = "insufficient"
    reason: str = ""


def slopes(fits: list[Fit], alpha: float) -> list[Slope]:
    """As sampled: the log-linear slope over FLOPs alone, which mixes both ways to spend them as the ladder happens to.

    With y = b0 + b1 log10 C + delta log10(D / N), at fixed tokens per parameter: b1; at a fixed size: b1 + delta.
    """
    of = {fit.form.name: fit for fit in fits}
    plain, both = of["log-linear"], of["log-linear-ratio"]
    return [
        _slope(SAMPLED, plain, {"slope": 1}, alpha),
        _slope(RATIO, both, {"slope": 1}, alpha),
        _slope(SIZE, both, {"slope": 1, "delta": 1}, alpha),
    ]


def _slope(path: str, fit: Fit, combination: dict[str, float], alpha: float) -> Slope:
    trend = fit.trend
    base = {"path": path, "form": fit.form.name, "n": trend.n, "sizes": trend.sizes, "decades": trend.decades}
    if trend.status != "ok":
        return Slope(**base, status=trend.status, reason=trend.reason)
    factors = np.array([combination.get(name, 0) for name in fit.form.parameters], float)
    value = float(fit.parameters @ factors)
    low, high = fit.interval(value, factors @ fit.inverse[: len(factors)], alpha)
    return Slope(**base, slope=value, low=low, high=high, method=trend.method, status="ok", reason=trend.reason)
