"""Which forms the data cannot tell apart: the set within a small distance of the best AICc."""

from dataclasses import dataclass

import numpy as np

from retscale.fit.constant import ROUNDING
from retscale.fit.trend import Fit

WITHIN = 4.0  # of AICc: forms nearer to the best than this are the set


@dataclass(frozen=True)
class Selection:
    """One form's place among the forms of a ladder; numbers are None where it has none.

    `k` counts the variance. `holdout_rmse`: of the largest size, predicted from the others; `winner`: the least in the
    set. `weight`: Akaike's, within the set.
    """

    form: str
    n: int
    k: int
    aicc: float | None
    delta_aicc: float | None
    in_set: bool
    weight: float | None
    holdout_rmse: float | None
    winner: bool
    status: str
    reason: str


def aicc(n: int, k: int, rmse: float) -> float | None:
    """Akaike's criterion with the correction for few data, n ln(RSS / n) + 2k + 2k(k + 1) / (n - k - 1).

    k counts the variance (Hurvich and Tsai 1989). Errors count as independent. None without a degree of freedom for
    the correction. Residuals below rounding are rounding.
    """
    if n - k - 1 <= 0:
        return None
    return 2 * n * float(np.log(max(rmse, ROUNDING))) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def aicc_of(fit: Fit) -> float | None:
    """AICc of a fit that is FITTED; its k parameters and the variance count."""
    return aicc(fit.trend.n, fit.trend.k + 1, fit.trend.rmse)


def chosen(fits: list[Fit]) -> dict[str, float]:
    """The set by name, with weights that add up to 1: forms within 4 of the least AICc, diagnostics apart.

    Of fits without any AICc, for there are too few checkpoints, the set is the first that is fitted.
    """
    fitted = [fit for fit in fits if fit.fitted and not fit.form.diagnostic]
    values = {fit.form.name: score for fit in fitted if (score := aicc_of(fit)) is not None}
    if not values:
        return {fitted[0].form.name: 1.0} if fitted else {}
    least = min(values.values())
    weights = {name: float(np.exp((least - value) / 2)) for name, value in values.items() if value - least <= WITHIN}
    return {name: weight / sum(weights.values()) for name, weight in weights.items()}


def select(fits: list[Fit], holdout: dict[str, float]) -> list[Selection]:
    """One row for each fit, in order. `holdout`: the RMSE of the held-out size for the forms that predicted it."""
    weights = chosen(fits)
    scores = {fit.form.name: aicc_of(fit) if fit.fitted else None for fit in fits}
    least = min((score for name, score in scores.items() if name in weights and score is not None), default=None)
    compared = {name: holdout[name] for name in weights if name in holdout}
    winner = min(compared, key=lambda name: compared[name]) if compared else None
    rows = []
    for fit in fits:
        name, trend, score = fit.form.name, fit.trend, scores[fit.form.name]
        reason = trend.reason
        if fit.fitted and fit.form.diagnostic:
            reason = "a diagnostic, in no set of forms"
        elif fit.fitted and score is None:
            reason = f"too few checkpoints ({trend.n}) for AICc with {trend.k + 1} parameters"
        rows.append(
            Selection(
                form=name,
                n=trend.n,
                k=trend.k + 1,
                aicc=score,
                delta_aicc=None if score is None or least is None else score - least,
                in_set=name in weights,
                weight=weights.get(name),
                holdout_rmse=holdout.get(name),
                winner=name == winner,
                status=trend.status,
                reason=reason,
            )
        )
    return rows
