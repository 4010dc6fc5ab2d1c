"""From a ranking to scores: what `evaluate` writes of it, and an audit computes again, without a model."""

import numpy as np
import pandas as pd

from retscale.errors import UserError
from retscale.evaluate import metrics
from retscale.evaluate.config import Scoring, Spec
from retscale.evaluate.matches import match
from retscale.evaluate.task_tables import Task


def instruction_metrics(task: Task) -> list[str]:
    """The metric of a task with instructions; empty for other tasks."""
    return [name for name in [task.card.follows] if name]


def check_grades(task: Task, relevant: int) -> None:
    """Raises UserError if no judgment reaches the score `relevant`: the binary measures would be 0 for every encoder."""
    if relevant > 1 and task.scores.max(initial=0) < relevant:
        raise UserError(
            f"relevant is {relevant}, but the judgments of the task {task.card.id!r} reach {task.scores.max()}, "
            f"so its {metrics.ungraded()} would be 0; lower `evaluate.relevant`, or remove the task"
        )


def depth(config: Scoring, task: Task) -> int:
    """How many documents a ranking holds at most; p-MRR wants more than others."""
    return max([config.k, *(metrics.INSTRUCTION[name].depth for name in instruction_metrics(task))])


def per_query(task: Task, rows: np.ndarray, scores: np.ndarray, names: list[str], relevant: int = 1) -> pd.DataFrame:
    """One row per query: the metrics `names`, that of instructions, and the ranking they were computed from.

    `rows` (queries, k) are the documents, best first, and `scores` their cosines; -1 and -inf where there is none.
    """
    matches = match(rows, task.judged_queries, task.judged_documents, task.scores)
    ranked = rows >= 0
    return pd.DataFrame(
        {
            "query_id": task.query_ids,
            **{name: metrics.values(name, matches, relevant) for name in names},
            **{
                name: metrics.INSTRUCTION[name].compute(task, rows, metrics.values("ndcg_at_10", matches))
                for name in instruction_metrics(task)
            },
            "doc_ids": [task.doc_ids[row[found]].tolist() for row, found in zip(rows, ranked)],
            "scores": [row[found] for row, found in zip(scores, ranked)],
        }
    )


def summary(config: Spec, task: Task, table: pd.DataFrame) -> dict:
    """What a Result says of the rankings and scores in `table`."""
    return {
        "checkpoint": config.checkpoint,
        "recipe": config.recipe,
        "step": config.step,
        "task": task.card.id,
        "metrics": {metric: mean(table[metric]) for metric in [*config.names, *instruction_metrics(task)]},
        "n_queries": len(task.queries),
        "n_documents": len(task.doc_ids),
        "judged_only": task.card.judged_only,
        "ties": sum(bool((scores[1:] == scores[:-1]).any()) for scores in table["scores"]),
        "k": config.k,
        "relevant": config.relevant,
    }


def mean(values: pd.Series) -> float | None:
    """Over the queries that have a value; None if there is none."""
    return None if values.isna().all() else float(values.mean())
