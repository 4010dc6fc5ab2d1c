"""Growth with the parameters of a model, whatever its tokens."""

import numpy as np
import pandas as pd

from retscale.fit import error_rates, rules
from retscale.fit.claim import NO_MEAN
from retscale.fit.config import Spec
from retscale.fit.constant import ROUNDING, constant
from retscale.fit.error_rates import Noise
from retscale.fit.isoflop import interval
from retscale.fit.ladder import LN10, ladder_of
from retscale.fit.reml import reml


def studies(spec: Spec) -> int:
    """The number of simulated studies where the claim is true, and where it is false; each costs as much as 20 replicates."""
    return spec.bootstrap // 20


def size_growth(rows: pd.DataFrame, absent: str, rng: np.random.Generator, spec: Spec) -> dict:
    """Growth per decade of parameters, whatever the tokens: intercepts of families, effects of size, REML, Student's t."""
    if rows.empty:
        return {"reason": absent or NO_MEAN}
    ladder = ladder_of(rows)
    x = (ladder.at.n - ladder.at.n.mean()) / LN10
    columns, df = np.column_stack([np.ones(len(x)), ladder.contrasts(), x]), ladder.n_sizes - ladder.n_families - 1
    if df < 1 or len(x) <= columns.shape[1] or np.linalg.matrix_rank(columns) < columns.shape[1]:
        return {"reason": f"too few sizes ({ladder.n_sizes}) to see growth with parameters"}

    def slope(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return interval(reml(columns, y, ladder.groups, ladder.precision), np.eye(columns.shape[1])[-1], df, spec.alpha)

    if constant(ladder.y):
        return {"reason": "all values are equal"}
    own = reml(columns, ladder.y[None], ladder.groups, ladder.precision)
    noise = Noise(float(own.sigma[0]), float(own.tau[0]), studies(spec))
    value, low, high = (float(end[0]) for end in slope(ladder.y[None]))
    if noise.sigma <= ROUNDING:
        return {"reason": "the line passes through every point"}

    def verdicts(y: np.ndarray) -> list[str]:
        return [rules.growth(*ends) for ends in zip(*slope(y)[1:], strict=True)]

    rates = error_rates.size_rates(verdicts, x, noise, ladder.groups, rng)
    verdict = rules.growth(low, high)
    return {"value": value, "low": low, "high": high, "n": len(x), "verdict": verdict, "rates": rates}
