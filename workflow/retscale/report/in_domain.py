"""The metrics that a study computes of its training tasks beside the one that is fitted."""

import pandas as pd

from retscale.collect.means import own_tasks
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

    A checkpoint has none on a task of other recipes' training data. Empty unless the study names metrics beyond the standard
    ones: those are shown, and ALWAYS. Of a recipe with several seeds it is the training with the study's own.
    """
    further = [name for name in scores["metric"].unique() if name not in (*STANDARD, *INSTRUCTION)]
    trained = {
        recipe: {task for name in own_tasks(study, recipe) for task in study.in_domain[name]}
        for recipe in study.recipes
    }
    own = firsts(scores[scores["recipe"].isin(study.recipes)], study)
    own = own[[task in trained[recipe] for task, recipe in zip(own["task"], own["recipe"], strict=True)]]
    every = [task for parts in study.in_domain.values() for task in parts if task in set(own["task"])]
    columns = [(task, name) for task in every if further for name in (*ALWAYS, *further)]
    values = own.set_index(["checkpoint", "task", "metric"])["value"].to_dict()
    rows = [
        {"checkpoint": checkpoint, "values": [values.get((checkpoint, *column)) for column in columns]}
        for checkpoint in checkpoints
        if any((checkpoint, *column) in values for column in columns)
    ]
    return {"columns": [(task, label(name)) for task, name in columns], "rows": rows}
