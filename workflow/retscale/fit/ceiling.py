"""Whether quality levels off below a perfect score, and where."""

from dataclasses import dataclass

from retscale.fit.extrapolate import SET
from retscale.fit.select import aicc_of
from retscale.fit.trend import Fit

WITH = ("saturating-power", "saturating-logistic")
WITHOUT = ("log-linear", "logistic", "power")
BELOW = 0.99  # an interval that ends here or above includes a perfect score
BETTER = 2.0  # AICc that a ceiling must gain


@dataclass(frozen=True)
class Ceiling:
    """The score that a form approaches, with its interval; `delta_aicc` is the best form without a ceiling minus it."""

    form: str
    n: int
    sizes: int
    ceiling: float | None = None
    low: float | None = None
    high: float | None = None
    delta_aicc: float | None = None
    status: str = "insufficient"
    reason: str = ""


def ceilings(fits: list[Fit], alpha: float, within: tuple[float, float]) -> list[Ceiling]:
    """One row for each form with a ceiling, then the union of those that are identified.

    Identified: the interval ends below .99 of the metric's range, AICc is at least 2 below that of the best form
    without a ceiling, and no bound is hit.
    """
    of = {fit.form.name: fit for fit in fits}
    scores = [aicc_of(of[name]) for name in WITHOUT if of[name].fitted]
    best = min((score for score in scores if score is not None), default=None)
    rows = [_row(of[name], best, alpha, within) for name in WITH]
    good, trend = [row for row in rows if row.status == "ok"], of[WITH[0]].trend
    if not good:
        worst = min(rows, key=lambda row: row.status != "unidentified")
        return [*rows, Ceiling(SET, trend.n, trend.sizes, status=worst.status, reason=worst.reason)]
    nearest = max(good, key=lambda row: row.delta_aicc)
    low, high = min(row.low for row in good), max(row.high for row in good)
    both = Ceiling(SET, trend.n, trend.sizes, nearest.ceiling, low, high, nearest.delta_aicc, "ok")
    return [*rows, both]


def _row(fit: Fit, best: float | None, alpha: float, within: tuple[float, float]) -> Ceiling:
    trend, name = fit.trend, fit.form.name
    base = {"form": name, "n": trend.n, "sizes": trend.sizes}
    own = aicc_of(fit) if fit.fitted else None
    gain = None if own is None or best is None else best - own
    if trend.status != "ok":
        return Ceiling(**base, delta_aicc=gain, status=trend.status, reason=trend.reason)
    if gain is None:
        return Ceiling(**base, reason=f"too few checkpoints ({trend.n}) to compare forms")
    index = list(fit.form.parameters).index("ceiling")
    value = fit.parameters[index]
    low, high = (min(max(end, within[0]), within[1]) for end in fit.interval(value, fit.inverse[index], alpha))
    if gain < BETTER:
        reason = f"a ceiling gains {gain:.1f} of AICc over the best form without; {BETTER:g} are needed".replace(
            "-", "−"
        )
        return Ceiling(**base, delta_aicc=gain, status="unidentified", reason=reason)
    if high >= within[0] + BELOW * (within[1] - within[0]):
        reason = f"the interval of the ceiling reaches {high:.3f}"
        return Ceiling(**base, delta_aicc=gain, status="unidentified", reason=reason)
    return Ceiling(**base, ceiling=float(value), low=low, high=high, delta_aicc=gain, status="ok")
