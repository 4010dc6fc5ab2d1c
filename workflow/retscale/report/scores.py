"""Scores of checkpoints, encoders made elsewhere, references, and models that others published."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from retscale.collect.means import MEAN, in_domain_of, shown_tasks
from retscale.common.phrase import counted
from retscale.common.tables import read_table
from retscale.encoder.config import NO_RECIPE
from retscale.external.summary import ExternalSummary
from retscale.report.results import Results

OPTIONAL = ("n_params_non_embedding", "loss_heldout")  # columns that are left out if no checkpoint has a value


def score_table(results: Results) -> dict:
    """One row per checkpoint: its columns, the averages of each recipe with intervals, and the main recipe's tasks.

    Encoders made elsewhere, systems without a model, and checkpoints that were not fine-tuned have their scores in the
    columns of the main recipe. The last have a row of their own.
    """
    study, averages = results.study, results.averages
    points = results.table("points").query("y.notna()")
    values = {(point.checkpoint, point.recipe, point.task): point for point in points.itertuples()}
    tasks = sorted(set(points["task"]) - set(averages), key=lambda task: (task not in shown_tasks(study), task))
    others = set(study.recipes) - {study.main_recipe}
    best_scores = points[~points["recipe"].isin(others)].groupby("task")["y"].max()
    table = []
    unranked = unranked_words(results)
    for row, main in systems(results, points):
        name = row["checkpoint"]
        recipes = [main if recipe == study.main_recipe else recipe for recipe in study.recipes]
        means = [values.get((name, recipe, average)) for average in averages for recipe in recipes]
        scores = [values.get((name, main, task)) for task in tasks]
        cells = [
            {"y": score.y, "best": score.y == best_scores[task]} if score else None
            for score, task in zip(scores, tasks, strict=True)
        ]
        means = [{"y": mean.y, "low": mean.low, "high": mean.high} if mean else None for mean in means]
        named = {"checkpoint": f"{name}, {main}"} if main not in (study.main_recipe, *NO_RECIPE) else {}
        named |= {"reason": f"{row['reason']}; {unranked[name]}"} if name in unranked else {}
        table.append(row | named | {"means": means, "scores": cells})
    marked = [f"{task} (in-domain)" if in_domain_of(task, study, study.main_recipe) else task for task in tasks]
    known = {name for name in OPTIONAL if results.checkpoints[name].notna().any()}
    return {"tasks": marked, "rows": table, "known": known}


def systems(results: Results, points: pd.DataFrame) -> Iterator[tuple[dict, str]]:
    """Each row of the table: the columns of a checkpoint, and the recipe (or word of NO_RECIPE) of the scores in it."""
    trained = {*results.study.recipes, *NO_RECIPE}
    for row in results.checkpoints.to_dict("records"):
        own = set(points.loc[points["checkpoint"] == row["checkpoint"], "recipe"])
        if own <= trained or own & trained:
            yield row, row["source"] if row["source"] in NO_RECIPE else results.study.main_recipe
        for recipe in sorted(own - trained):
            reason = "random weights, not fine-tuned" if row["source"] == "random" else "not fine-tuned"
            yield row | {"role": "reference", "reason": reason}, recipe


def unranked_words(results: Results) -> dict[str, str]:
    """Reference -> on which tasks how many queries have no document ranked; such a query counts as 0."""
    scores = results.collected("scores")
    if "unranked" not in scores:
        return {}
    rows = scores[scores["unranked"] > 0].drop_duplicates(["checkpoint", "task"])
    words: dict[str, list[str]] = {}
    for row in rows.itertuples():
        counts = f"{row.unranked:,.0f} of {counted(row.n_queries, 'query')} of {row.task}"
        words.setdefault(row.checkpoint, []).append(counts)
    return {name: f"nothing ranked for {', '.join(counts)}" for name, counts in words.items()}


def external(path: Path) -> dict:
    """The published tables, and one row per model: its columns, its mean and its score on each task."""
    summary, points = ExternalSummary.read(path), read_table(path, "external")
    values = {(row.model, row.task): row.y for row in points.itertuples()}
    tasks = [name for name in summary.headline if name in set(points["task"])]
    tasks += sorted(set(points["task"]) - {MEAN, *tasks})
    models = points.drop_duplicates("model").sort_values(["flops", "model"]).to_dict("records")
    number_of = {table.source: number for number, table in enumerate(summary.tables, 1)}
    return {
        **summary.model_dump(),
        "tasks": tasks,
        "rows": [
            row
            | {
                "scores": [values.get((row["model"], task)) for task in [MEAN, *tasks]],
                "from": number_of[row["source"]],
            }
            for row in models
        ],
    }
