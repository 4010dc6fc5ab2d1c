"""Signal to noise of in-context tasks: the spread between checkpoints over the noise of the task's items."""

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN

SIGNAL = ["measure", "task", "headline", "n", "least", "most", "spread", "noise", "ratio", "ratio_of_noise"]
SIGNAL += ["status", "reason"]


def signal(points: pd.DataFrame, icl: pd.DataFrame, bits: pd.DataFrame, main: str) -> pd.DataFrame:
    """One row per measure (`score`, `bits per byte`) and task, of the main recipe's finished checkpoints.

    `ratio`: the largest difference of two checkpoints (`spread`) over the root mean square of their standard errors
    (`noise`). Heineman et al. (2025, arXiv 2508.13144) divide the same spread by the standard deviation of one model's last
    checkpoints; the mean, by which they divide both, cancels. Their models have equal compute, whereas here the spread
    includes growth with compute. Checkpoints answer the same items, so the noise of their differences is smaller.
    `ratio_of_noise`: the expected ratio of as many checkpoints of equal ability, each with its own items.
    """
    ladder = set(points["checkpoint"][(points["recipe"] == main) & (points["schedule"] == "finished")])
    rows = []
    for measure, table, value in (("score", icl, "score"), ("bits per byte", bits, "bits_per_byte")):
        for task, group in table[table["checkpoint"].isin(ladder)].groupby("task"):
            key = {"measure": measure, "task": task, "headline": task == MEAN}
            rows.append(key | ratio(group[value].to_numpy(float), group["stderr"].to_numpy(float)))
    return pd.DataFrame(rows, columns=SIGNAL)


def ratio(values: np.ndarray, errors: np.ndarray) -> dict:
    """Spread, noise and their ratio, from the values (n,) of checkpoints and their standard errors."""
    row = {"n": len(values), "least": float(values.min()), "most": float(values.max())}
    row |= {"spread": row["most"] - row["least"], "noise": float(np.sqrt(np.mean(errors**2)))}
    if len(values) < 2:
        return row | {"status": "insufficient", "reason": "one checkpoint has no spread"}
    if not row["noise"] > 0:
        return row | {
            "status": "unidentified",
            "reason": "in no checkpoint do its items differ, so their noise is unknown",
        }
    of_noise = {"ratio": row["spread"] / row["noise"], "ratio_of_noise": expected_range(len(values))}
    return row | of_noise | {"status": "ok", "reason": ""}


def expected_range(n: int) -> float:
    """The mean of the largest difference among n standard normal numbers (Tippett 1925)."""
    from scipy.stats import norm

    x = np.linspace(-10, 10, 4001)
    return float(np.trapezoid(1 - norm.cdf(x) ** n - norm.sf(x) ** n, x))
