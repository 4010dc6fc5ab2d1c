"""Published results in the tables of `collect`, as if they were a study's own."""

import os
from pathlib import Path

import pandas as pd

from retscale.collect.config import Spec
from retscale.collect.means import shown_tasks
from retscale.common.files import sha256
from retscale.common.flops import flops
from retscale.common.phrase import hint
from retscale.errors import UserError
from retscale.external import mteb_results, table
from retscale.external.config import PUBLISHED, Published
from retscale.external.models import Model, read_models
from retscale.external.table import Row


def checkpoint_rows(path: Path, results: Path) -> list[dict]:
    """One row per model of the table `path`, in the columns of a checkpoint; `file` is relative to `results`."""
    source = {"file": os.path.relpath(path, results), "sha256": sha256(path)}
    return [checkpoint_row(model) | source for model in read_models(path).values()]


def checkpoint_row(model: Model) -> dict:
    compute = flops(model.n_params, model.n_tokens) if model.n_tokens else None
    unknown = "" if model.n_tokens else "in no fit, for its pretraining tokens are unknown and so are its FLOPs"
    return {
        "checkpoint": model.model,
        "family": model.family,
        "size": model.size,
        "n_params": model.n_params,
        "n_params_non_embedding": None,
        "n_params_matmul": None,
        "n_tokens": model.n_tokens,
        "flops": compute,
        "tokens_per_param": model.n_tokens and model.n_tokens / model.n_params,
        "schedule_finished": True,
        "role": model.role if model.n_tokens else "external",
        "reason": unknown or ("" if model.role == "fit" else "in no fit"),
        "source": PUBLISHED,
        "revision": model.evidence,
        "loss_train": None,
        "loss_heldout": None,
    }


def score_rows(spec: Spec, published: Published, paths: list[Path], models: set[str], results: Path) -> list[dict]:
    """One row per model and task, or group that counts as one: its own value, or the mean of those of its tasks.

    UserError for a model that the table of models lacks, and for one that has a group and tasks of it.
    """
    if len(paths) == 1 and paths[0].suffix == ".csv":
        rows, _ = table.read(paths[0], published)
    else:
        rows, _ = mteb_results.read_results(paths, published)
    origins = {path: sha256(path) for path in paths}
    by_model: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row.model not in models:
            raise UserError(f"{row.file}: {row.model} is not in the table of models{hint(row.model, models)}")
        by_model.setdefault(row.model, {})[row.task] = row
    scores = []
    for model, own in by_model.items():
        for name, parts in shown_tasks(spec).items():
            values = [own[task] for task in ([name] if name in own else parts) if task in own]
            if name in own and parts != [name] and own.keys() & set(parts):
                raise UserError(
                    f"{paths[0]}: {model} has a value for {name} and for tasks of it; leave one of them out"
                )
            if name in own or len(values) == len(parts):
                path = values[0].file
                scores.append(
                    {
                        "checkpoint": model,
                        "recipe": spec.main_recipe,
                        "seed": spec.seed,
                        "task": name,
                        "metric": published.metric,
                        "value": sum(row.value for row in values) / len(values),
                        "n_queries": None,
                        "n_documents": None,
                        "ties": 0,
                        "contrastive_entropy": None,
                        "file": os.path.relpath(path, results),
                        "sha256": origins[path],
                    }
                )
    return scores


def tables(
    spec: Spec, published: Published, models: Path, paths: list[Path], results: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables `checkpoints` (only models that have a score) and `scores`; of scores no query's value is known."""
    checkpoints = pd.DataFrame(checkpoint_rows(models, results))
    scores = pd.DataFrame(score_rows(spec, published, paths, set(checkpoints["checkpoint"]), results))
    if scores.empty:
        raise UserError(f"{paths[0]} holds no value of a task of this study")
    checkpoints = checkpoints[checkpoints["checkpoint"].isin(scores["checkpoint"])]
    return checkpoints.sort_values("checkpoint", ignore_index=True), scores
