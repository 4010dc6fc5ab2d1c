"""Stored rankings scored again, without a model: against the judgments they must give the scores that are stored."""

from pathlib import Path

import numpy as np
import pandas as pd

from retscale.audit import difference
from retscale.audit.rerun import Rerun
from retscale.common import jsonl, parquet
from retscale.errors import UserError
from retscale.evaluate.documents import Documents
from retscale.evaluate.scored import depth, per_query, summary
from retscale.evaluate.task_tables import Task
from retscale.stages import spec_model

# Sums and logarithms may round their last bit otherwise on another processor.
ROUNDING = 1e-9
BROKEN = (UserError, OSError, LookupError, TypeError, ValueError, AttributeError)  # of files that no job wrote


def wrong(job: Rerun, task: Task, tolerance: float) -> tuple[Path, str] | None:
    """The file that is wrong in an evaluation on `task`, its ranking or its scores, and in what; None if they are right.

    Scores must be those that the rankings have, within `tolerance`.
    """
    run = job.target.with_suffix(".parquet")
    try:
        config = spec_model(job.stage).model_validate(job.spec)
        ranking = parquet.read(run)
        rows, scores = arrays(ranking, task, depth(config, task))
        if flaw := flaw_of(rows, scores, task):
            return run, flaw
        computed = per_query(task, rows, scores, config.names, config.relevant)
        lists = ["doc_ids", "scores"]  # from which all else was computed
        if place := difference.of_tables(ranking.drop(columns=lists), computed.drop(columns=lists), tolerance):
            return run, f"is not what its ranking scores: {place}"
        described, result = summary(config, task, computed), jsonl.whole(job.target)
        if place := difference.of_objects({key: result.get(key) for key in described}, described, tolerance):
            return job.target, f"is not what the ranking beside it scores: {place}"
    except BROKEN as error:
        return run, f"cannot be scored: {error}"
    return None


def arrays(ranking: pd.DataFrame, task: Task, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Stored rankings as the search gives them: rows of documents (queries, `depth`), -1 for none, and their scores.

    ValueError unless they are of the task's queries and documents, and no deeper.
    """
    if ranking["query_id"].tolist() != task.query_ids.tolist():
        raise ValueError("the queries are not those of the task")
    lengths = ranking["doc_ids"].map(len).to_numpy(int)
    if (lengths != ranking["scores"].map(len)).any() or lengths.max(initial=0) > depth:
        raise ValueError(f"a query has more than {depth} documents, or not one score for each")
    filled = np.arange(max(1, lengths.max(initial=0))) < lengths[:, None]
    rows, scores = np.full(filled.shape, -1), np.full(filled.shape, -np.inf, np.float32)
    rows[filled] = pd.Index(task.doc_ids).get_indexer(np.concatenate([*ranking["doc_ids"], []]).astype(object))
    scores[filled] = np.concatenate([*ranking["scores"], np.empty(0, np.float32)])
    if (rows[filled] < 0).any():
        raise ValueError("there are documents that are none of the task")
    return rows, scores


def flaw_of(rows: np.ndarray, scores: np.ndarray, task: Task) -> str:
    """Why no search has returned these rankings: arrays (queries, k) as `arrays` gives them."""
    places = Documents.make(task.doc_ids).place
    ranked = rows[:, 1:] >= 0
    higher = scores[:, 1:] > scores[:, :-1]
    later = (scores[:, 1:] == scores[:, :-1]) & (places[rows[:, 1:]] <= places[rows[:, :-1]])
    if len(bad := np.flatnonzero((ranked & (higher | later)).any(1))):
        return f"does not rank the documents of the query {task.query_ids[bad[0]]!r} by their scores"
    ordered = np.sort(rows, 1)
    if len(bad := np.flatnonzero(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any(1))):
        return f"ranks a document of the query {task.query_ids[bad[0]]!r} twice"
    if task.card.ignore_identical_ids:
        own = task.own_document()
        if len(bad := np.flatnonzero(((rows == own[:, None]) & (rows >= 0)).any(1))):
            return f"ranks the query {task.query_ids[bad[0]]!r} itself"
    if task.card.judged_only:
        judged = set(zip(task.judged_queries[task.candidate], task.judged_documents[task.candidate]))
        for query, rank in np.argwhere(rows >= 0):
            if (query, rows[query, rank]) not in judged:
                return f"ranks a document of the query {task.query_ids[query]!r} that is not judged"
    return ""
