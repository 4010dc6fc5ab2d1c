"""Results as mteb writes them: MODEL/REVISION/TASK.json, one file per model and task."""

import json
from dataclasses import replace
from pathlib import Path

from retscale.common import jsonl
from retscale.common.phrase import hint
from retscale.errors import UserError
from retscale.evaluate.metrics import metric
from retscale.external.config import Published
from retscale.external.table import SPLITS, Row, read_sizes, require_consistent, value_of

META = "model_meta.json"
UNSTATED = (None, "unknown")  # revisions of data; the second is what an export says of a task that mteb does not have


def read_results(paths: list[Path], published: Published) -> tuple[list[Row], int]:
    """The rows of the study's tasks in these files, and how many files are of other tasks.

    UserError names the file and what is wrong: no result of mteb, data of another revision than the study's, a split or a
    metric that is missing, a task that a model has twice (as of two revisions), a model without files.
    """
    rows, elsewhere, models = [], 0, {model_of(path) for path in paths}
    for model in published.models or ():
        if model not in models:
            raise UserError(f"there is no result of the model {model!r} in the folder of mteb{hint(model, models)}")
    for path in paths:
        if published.models is not None and model_of(path) not in published.models:
            continue
        if path.name == META or (task := published.names.get(path.stem)) is None:
            elsewhere += path.name != META
            continue
        rows.append(_row(path, task, published))
    if not rows:
        raise UserError(f"{paths[0].parent if paths else 'the folder'} holds no result of a task of this study")
    require_consistent(rows)
    return rows, elsewhere


def read_with_sizes(paths: list[Path], table: Path, published: Published) -> tuple[list[Row], int]:
    """The same with parameters and tokens from a table; UserError for a model that it lacks."""
    rows, elsewhere = read_results(paths, published)
    sizes = read_sizes(table, published.columns)
    for row in rows:
        if row.model not in sizes:
            raise UserError(
                f"{table}: has no row of {row.model}, of which there is {row.file}{hint(row.model, sizes)}; add one, or list "
                "the models to take under `models`"
            )
    named = [(row, *sizes[row.model]) for row in rows]
    return [replace(row, n_params=n, n_tokens=d, origin=origin) for row, n, d, origin in named], elsewhere


def _row(path: Path, task: str, published: Published) -> Row:
    try:
        content = json.loads(jsonl.content(path))
        scores, revision = content["scores"], content.get("dataset_revision")
        if revision not in (*UNSTATED, (expected := published.revisions.get(task, revision))):
            raise UserError(
                f"{path}: is on revision {revision} of {path.stem}, this study's is {expected}, so they do not compare; leave "
                "it out"
            )
        splits = {SPLITS.get(split, split): entries for split, entries in scores.items()}
        split = SPLITS.get(wanted := published.splits.get(task, "test"), wanted)
        if split not in splits:
            raise UserError(f"{path}: has no scores of the split {split!r}, only of {', '.join(splits) or 'none'}")
        values = [entry.get(published.columns.value or published.metric) for entry in splits[split]]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise UserError(f"{path} is not a result of mteb: it needs `scores`, by split; leave it out") from None
    if not values or any(value is None for value in values):
        raise UserError(f"{path}: has no {published.columns.value or published.metric}; leave it out")
    numbers = [value_of(str(value), metric(published.metric), str(path)) for value in values]
    # Of a task with subsets mteb's own score is their mean.
    return Row(model_of(path), task, sum(numbers) / len(numbers), None, None, "", path, None)


def model_of(path: Path) -> str:
    """ORG/MODEL of a result file: mteb names the folder of a model ORG__MODEL."""
    return path.parent.parent.name.replace("__", "/", 1)
