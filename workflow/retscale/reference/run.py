"""The stage `reference`: BM25 on a batch of retrieval tasks, with the outputs of `evaluate`: <task>.json, <task>.parquet."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.common.phrase import counted
from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.evaluate import task_tables
from retscale.evaluate.documents import Documents
from retscale.evaluate.result import Result
from retscale.evaluate.scored import check_grades, depth, per_query, summary
from retscale.evaluate.task_tables import Task
from retscale.mine.bm25 import Index
from retscale.mine.config import Bm25
from retscale.reference.config import Spec
from retscale.task.inputs import by_task

Ranking = tuple[np.ndarray, np.ndarray]  # rows of documents, best first, and their scores, for one query


def run(values: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Score each task of `values`, yielding its name when its files are written."""
    spec = Spec.model_validate(values)
    for name, path in by_task(spec.tasks, inputs["tasks"]):
        task = task_tables.read(path)
        check_grades(task, spec.relevant)
        corpus = pd.read_parquet(path.parent / "corpus.parquet", columns=["title", "text"])
        rows, scores = padded(rankings(task, corpus["title"] + " " + corpus["text"], spec.system, depth(spec, task)))
        table = per_query(task, rows, scores, spec.names, spec.relevant)
        table.to_parquet(out / f"{name}.parquet", index=False)
        unranked = int((rows[:, 0] < 0).sum())
        if unranked:
            say(f"{spec.id} on {name}: nothing is ranked for {counted(unranked, 'query')}, for want of a shared term")
        Result.write(out / f"{name}.json", {**summary(spec, task, table), "unranked": unranked})
        yield name


def rankings(task: Task, texts: pd.Series, system: Bm25, k: int) -> list[Ranking]:
    """For each query at most k documents that share a term with it. Ties rank the higher id first, as in trec_eval.

    `texts` (documents,) are in the order of the task. UserError if no document has a term.
    """
    documents = Documents.make(task.doc_ids)
    order, place = documents.order, documents.place  # the index breaks ties by number, so it numbers by place
    index = Index(texts.to_numpy(object)[order].tolist(), system)
    if not len(index.passages):
        raise UserError(
            f"the task {task.card.id!r} has no document with a term that BM25 could index; remove the task, or change "
            "`stopwords` of the reference"
        )
    own = task.own_document() if task.card.ignore_identical_ids else np.full(len(task.queries), -1)
    if task.card.judged_only:
        allowed = task.candidate & (task.judged_documents != own[task.judged_queries])
        queries, numbers = task.judged_queries[allowed], place[task.judged_documents[allowed]]
        by_query = np.lexsort((numbers, queries))
        ends = np.searchsorted(queries[by_query], np.arange(1, len(own)))
        candidates = np.split(numbers[by_query], ends)
        return [
            best(index.scores(text, of_query), of_query, order, k) for text, of_query in zip(task.queries, candidates)
        ]
    excluded = [place[[row]] if row >= 0 else np.empty(0, np.int32) for row in own]
    return [(order[numbers], scores) for numbers, scores in index.top(task.queries, excluded, k)]


def best(scores: np.ndarray, numbers: np.ndarray, order: np.ndarray, k: int) -> Ranking:
    """The k best of the documents with these `numbers`, which ascend; those with score 0 are left out."""
    ranked = np.argsort(-scores, kind="stable")[: min(k, int((scores > 0).sum()))]
    return order[numbers[ranked]], scores[ranked]


def padded(rankings: list[Ranking]) -> tuple[np.ndarray, np.ndarray]:
    """The rankings as two arrays (queries, longest ranking), padded with -1 and -inf."""
    longest = max([1, *(len(rows) for rows, _ in rankings)])
    rows = np.full((len(rankings), longest), -1)
    scores = np.full((len(rankings), longest), -np.inf, np.float32)
    for q, (numbers, values) in enumerate(rankings):
        rows[q, : len(numbers)], scores[q, : len(numbers)] = numbers, values
    return rows, scores
