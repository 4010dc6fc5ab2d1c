"""Lengthy retrieval: scores of encoders that read more or less of each document than at their own length."""

import numpy as np
import pandas as pd

from retscale.collect.summary import StudySummary
from retscale.fit.config import Spec
from retscale.fit.points import ENCODER
from retscale.fit.variants import resampled_variants

COLUMNS = [*ENCODER, "task", "length", "own", "extrapolates", "y", "low", "high"]
COLUMNS += ["difference", "difference_low", "difference_high"]


def lengths(
    table: pd.DataFrame, read: pd.DataFrame, own: pd.DataFrame, study: StudySummary, spec: Spec
) -> pd.DataFrame:
    """One row per encoder, task (and `mean` over these tasks) and length, with its interval over queries.

    `difference`: the score minus that at the encoder's own length, paired by query. `table`, `read` (single queries at
    further lengths) and `own` (single queries at the encoders' own lengths) are tables of `collect`.
    """
    if spec.metric not in read or read[spec.metric].isna().all():
        return pd.DataFrame(columns=COLUMNS)
    known = table[table["metric"] == spec.metric].drop_duplicates([*ENCODER, "task", "length"])
    base = known.loc[known["own"], [*ENCODER, "task", "length"]]
    queries = pd.concat([read, own.merge(base, on=[*ENCODER, "task"])], ignore_index=True)
    queries = queries.drop_duplicates([*ENCODER, "task", "length", "query_id"]).rename(columns={"length": "variant"})
    variants = resampled_variants(queries, study, spec.metric, spec.bootstrap, spec.seed)
    own_length = base.groupby(ENCODER)["length"].first()
    beyond = known.groupby([*ENCODER, "length"])["extrapolates"].first()
    ends, rows = [spec.alpha / 2, 1 - spec.alpha / 2], []
    for (checkpoint, recipe, length, task), y in variants.y.items():
        low, high = np.quantile(variants.draws[checkpoint, recipe, length, task].astype(float), ends)
        row = {
            "checkpoint": checkpoint,
            "recipe": recipe,
            "task": task,
            "length": length,
            "y": y,
            "low": low,
            "high": high,
        }
        row |= {"own": length == own_length[checkpoint, recipe], "extrapolates": beyond[checkpoint, recipe, length]}
        at_own = (checkpoint, recipe, own_length[checkpoint, recipe], task)
        if at_own in variants.y.index:
            apart = variants.draws[checkpoint, recipe, length, task] - variants.draws[at_own]
            low, high = np.quantile(apart.astype(float), ends)
            row |= {"difference": y - variants.y[at_own], "difference_low": low, "difference_high": high}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS).sort_values([*ENCODER, "task", "length"], ignore_index=True)
