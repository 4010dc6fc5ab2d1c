"""The table of backbones against the dimensions of Luo et al. 2024, one row per backbone as in the paper."""

from typing import Any

import pandas as pd

from retscale.collect.means import MEAN
from retscale.figure.words import interval, short
from retscale.fit.comparisons import KIND, TUNED
from retscale.fit.dimensions import EFFICIENCY
from retscale.report.results import rows


def table(dimensions: pd.DataFrame, checkpoints: pd.DataFrame) -> dict:
    """`columns`: (dimension, measure) in order. `rows`: each backbone with its `cells`, one a column: a phrase or None."""
    columns = list(dimensions[["dimension", "measure"]].drop_duplicates().itertuples(index=False, name=None))
    cells = {
        (row.checkpoint, row.dimension, row.measure): phrase(row)
        for row in dimensions.sort_values("recipe", kind="stable").itertuples()
    }
    about = checkpoints.sort_values(["n_params", "checkpoint"])
    shown = [
        {
            "checkpoint": row.checkpoint,
            "family": row.family,
            "n_params": row.n_params,
            "cells": [cells.get((row.checkpoint, *column)) for column in columns],
        }
        for row in about.itertuples()
        if row.checkpoint in set(dimensions["checkpoint"])
    ]
    return {"columns": columns, "rows": shown if dimensions["dimension"].nunique() > 1 else []}


def equals(comparisons: pd.DataFrame) -> list[dict]:
    """Checkpoints of equal parameters and tokens, and tuned ones and their bases: the mean of one minus the other's."""
    wanted = comparisons["kind"].isin([KIND, TUNED]) & (comparisons["task"] == MEAN)
    return rows(comparisons[wanted].sort_values(["kind", "of_family", "against_family", "checkpoint"]))


def phrase(row: Any) -> str:
    """The value with its interval, where numbers of queries are shortened."""
    if row.dimension == EFFICIENCY and row.measure.startswith("queries"):
        ends = "" if pd.isna(row.low) else f" [{short(row.low)}, {short(row.high)}]"
        return f"{short(row.value)}{ends}"
    return interval(row.value, row.low, row.high)
