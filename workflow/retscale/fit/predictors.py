"""What predicts retrieval best: pretraining compute, the mean in-context score, or mean bits per byte."""

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.seeds import stream
from retscale.fit.config import Spec
from retscale.fit.correlate import INTERVAL_SIZES, correlate, pearson, size_bootstrap, spearman
from retscale.fit.correlations import FLOPS, given_compute
from retscale.fit.ladder import Ladder, ladder_of

SCORE, BITS = "in-context score", "bits per byte"
PREDICTORS = ["recipe", "predictor", "n", "sizes", "rmse", "best", "pearson", "low", "high", "spearman"]
PREDICTORS += ["gain", "gain_low", "gain_high", "status", "reason"]
PREDICTORS += ["partial", "partial_low", "partial_high", "partial_p", "partial_status", "partial_reason"]


def predictors(points: pd.DataFrame, icl: pd.DataFrame, bits: pd.DataFrame, main: str, spec: Spec) -> pd.DataFrame:
    """One row per predictor, over the main recipe's finished checkpoints that have all predictors of the study.

    `rmse`: of a straight line that is fitted without a size and evaluated there, over all sizes (`best`: the least).
    `gain`: |Pearson r| minus that of FLOPs, on the same resampled sizes. `partial`: the correlation given size and tokens;
    FLOPs follow from these and have none.
    """
    rows = points[(points["recipe"] == main) & (points["task"] == MEAN) & (points["schedule"] == "finished")]
    columns = {FLOPS: "log_flops"}
    for name, table, value in ((SCORE, icl, "score"), (BITS, bits, "bits_per_byte")):
        means = table.loc[table["task"] == MEAN, ["checkpoint", value]]
        if len(means):
            rows, columns = rows.merge(means, on="checkpoint"), columns | {name: value}
    if len(columns) == 1 or rows.empty:
        return pd.DataFrame(columns=PREDICTORS)
    ladder, flops = ladder_of(rows), rows["log_flops"].to_numpy(float)
    lines = []
    for name, column in columns.items():
        x = rows[column].to_numpy(float)
        rng = stream(spec.seed, "predictors", name)
        raw = correlate(x, ladder.y, ladder.groups, "pearson", spec.alpha, spec.bootstrap, rng)
        line = {"recipe": main, "predictor": name, "n": raw.n, "sizes": raw.sizes, "status": raw.status}
        line |= {"reason": raw.reason, "pearson": raw.value, "low": raw.low, "high": raw.high}
        if raw.status == "ok":
            line |= {"spearman": float(spearman(x, ladder.y)), "rmse": left_out_rmse(x, ladder)}
        if name == FLOPS:
            line |= {"partial_status": "unidentified", "partial_reason": "they follow from size and tokens"}
        else:
            line |= gain(x, flops, ladder, spec) | _partial(x, ladder, name, spec)
        lines.append(line)
    table = pd.DataFrame(lines, columns=PREDICTORS)
    return table.assign(best=table["rmse"].notna() & (table["rmse"] == table["rmse"].min()))


def left_out_rmse(x: np.ndarray, ladder: Ladder) -> float | None:
    """Root mean square error of predicting each size from a line through the other sizes; None with fewer than 3 sizes."""
    if ladder.n_sizes < 3:
        return None
    errors = []
    for size in range(ladder.n_sizes):
        out = ladder.groups == size
        dx, mean = x - x[~out].mean(), ladder.y[~out].mean()
        square = float(dx[~out] @ dx[~out])
        slope = float(dx[~out] @ ladder.y[~out]) / square if square > 0 else 0.0
        errors.append(ladder.y[out] - mean - slope * dx[out])
    return float(np.sqrt(np.mean(np.concatenate(errors) ** 2)))


def gain(x: np.ndarray, flops: np.ndarray, ladder: Ladder, spec: Spec) -> dict:
    """|r| of x minus |r| of FLOPs, with an interval from INTERVAL_SIZES sizes on; None if a correlation is undefined."""

    def above(x: np.ndarray, flops: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.abs(pearson(x, y)) - np.abs(pearson(flops, y))

    value = float(above(x, flops, ladder.y))
    if not np.isfinite(value) or ladder.n_sizes < INTERVAL_SIZES:
        return {"gain": value if np.isfinite(value) else None}
    rng = stream(spec.seed, "predictors", "gain")
    values = size_bootstrap(above, [x, flops, ladder.y], ladder.groups, spec.bootstrap, rng)
    low, high = np.quantile(values, [spec.alpha / 2, 1 - spec.alpha / 2])
    return {"gain": value, "gain_low": float(low), "gain_high": float(high)}


def _partial(x: np.ndarray, ladder: Ladder, name: str, spec: Spec) -> dict:
    row = given_compute(x, ladder, ("predictors", name), spec)
    result = {"partial": row.value, "partial_low": row.low, "partial_high": row.high, "partial_p": row.p}
    return result | {"partial_status": row.status, "partial_reason": row.reason}
