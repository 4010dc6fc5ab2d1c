"""The metrics that a study computes of its training tasks beside the one that is fitted."""

import pandas as pd

from retscale.collect.summary import StudySummary
from retscale.evaluate.metrics import INSTRUCTION, STANDARD, label
from retscale.fit.dimensions import firsts
from retscale.report.results import Results

ALWAYS = ("mrr_at_10", "recall_at_10")


def table(results: Results) -> dict:
    """See `rows_of`; in the order of the checkpoints."""
    return rows_of(results.collected("scores"), results.study, list(results.checkpoints["checkpoint"]))


def rows_of(scores: pd.DataFrame, study: StudySummary, checkpoints: list[str]) -> dict:
    """`columns`: (task, label of a metric), and `rows`: a checkpoint, with a value for each, under its first recipe.

    Empty unless the study names metrics beyond the standard ones: those are shown, and ALWAYS. Of a recipe with several
    seeds it is the training with the study's own.
    """
    further = [name for name in scores["metric"].unique() if name not in (*STANDARD, *INSTRUCTION)]
    tasks = [task for parts in study.in_domain.values() for task in parts] if further else []
    columns = [(task, name) for task in tasks for name in (*ALWAYS, *further)]
    own = firsts(scores[scores["recipe"].isin(study.recipes)], study)
    values = own.set_index(["checkpoint", "task", "metric"])["value"].to_dict()
    rows = [
        {"checkpoint": checkpoint, "values": [values.get((checkpoint, *column)) for column in columns]}
        for checkpoint in checkpoints
        if any((checkpoint, *column) in values for column in columns)
    ]
    return {"columns": [(task, label(name)) for task, name in columns], "rows": rows}
