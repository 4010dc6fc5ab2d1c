"""Two families trained on the same data, such as encoders and decoders, compared at equal compute."""

import numpy as np
import pandas as pd

from retscale.fit.multiple import holm
from retscale.fit.paired import bootstrap_p

KEY = ["recipe", "task", "size", "n_tokens"]
COLUMNS = [*KEY, "schedule", "first", "second", "flops", "flops_ratio", "y_first", "y_second"]
COLUMNS += ["difference", "low", "high", "p", "p_holm"]


def paired_families(
    points: pd.DataFrame, draws: pd.DataFrame, families: tuple[str, str], near: float, alpha: float
) -> pd.DataFrame:
    """One row per pair of checkpoints that agree in size, tokens and recipe, on each task and mean: first - second.

    points: `scheduled` ones (fit/analysis.py), also those that enter no fit. draws: bootstrap replicates over queries, a
    column for each (checkpoint, recipe, task), for the paired interval and p. Checkpoints whose FLOPs, 6ND, differ by more
    than the ratio `near` are no pair. Holm's p is over the pairs of a recipe and task.
    """
    first, second = (_by_key(points, family) for family in families)
    rows = []
    for key in first.keys() & second.keys():
        a, b = first[key], second[key]
        ratio = a["flops"] / b["flops"]
        if not 1 / near <= ratio <= near:
            continue
        apart = (draws[a["column"]] - draws[b["column"]]).to_numpy(float)
        low, high = np.quantile(apart, [alpha / 2, 1 - alpha / 2])
        row = dict(zip(KEY, key, strict=True)) | {"schedule": a["schedule"], "flops": b["flops"], "flops_ratio": ratio}
        row |= {f"{name}{side}": values[of] for side, values in (("first", a), ("second", b)) for name, of in SIDES}
        row |= {"difference": a["y"] - b["y"], "low": low, "high": high, "p": bootstrap_p(apart)}
        rows.append(row)
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(KEY, ignore_index=True)
    for _, group in table.groupby(["recipe", "task"]):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy(float))
    return table


SIDES = (("", "checkpoint"), ("y_", "y"))


def _by_key(points: pd.DataFrame, family: str) -> dict[tuple, dict]:
    own = points[points["family"] == family]
    # `points` puts the family before the size in a study of several families.
    own = own.assign(size=[size.removeprefix(f"{family} ") for size in own["size"]])
    own = own.assign(column=list(zip(own["checkpoint"], own["recipe"], own["task"], strict=True)))
    return {tuple(row[name] for name in KEY): row for row in own.to_dict("records")}
