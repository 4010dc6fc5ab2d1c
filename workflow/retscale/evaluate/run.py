"""The stage `evaluate`: one encoder on a batch of retrieval tasks, <task>.json and <task>.parquet each."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.errors import UserError
from retscale.evaluate import metrics, task_tables
from retscale.evaluate.config import EvaluateConfig
from retscale.evaluate.search import rank_candidates, top_k
from retscale.evaluate.task_tables import Task
from retscale.model.device import device
from retscale.model.encoder import Embed, load_encoder


def run(spec: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Score each task of `spec`, yielding its name when its files are written."""
    k = EvaluateConfig(k=spec["k"]).k
    embed = load_encoder(inputs["encoder"], spec["precision"], spec["tokens_per_batch"])
    for name, path in zip(spec["tasks"], inputs["tasks"], strict=True):
        task = task_tables.read(path)
        if task.facts["id"] != name:
            raise UserError(
                f"{path} is the task {task.facts['id']!r}, where the spec has {name!r}; give --tasks in the order of the spec"
            )
        rows, scores = rank(task, embed, k)
        table = per_query(task, rows, scores)
        table.to_parquet(out / f"{name}.parquet", index=False)
        result = {
            "checkpoint": spec["checkpoint"],
            "recipe": spec["recipe"],
            "task": name,
            "metrics": {metric: float(table[metric].mean()) for metric in METRICS},
            "n_queries": len(task.queries),
            "n_documents": len(task.documents),
            "judged_only": task.facts["judged_only"],
            "ties": int((np.isfinite(scores[:, 1:]) & (scores[:, 1:] == scores[:, :-1])).any(1).sum()),
            "k": k,
        }
        (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        yield name


METRICS = ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10")


def rank(task: Task, embed: Embed, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers and cosine scores (queries, at most k) of each query's best documents."""
    name = task.facts["id"]
    queries = embed(task.queries, "query", f"{name}: queries")
    documents = embed(task.documents, "passage", f"{name}: documents")
    own = task.own_document() if task.facts["ignore_identical_ids"] else np.full(len(queries), -1)
    if task.facts["judged_only"]:
        offered = task.judged_documents != own[task.judged_queries]
        pairs = task.judged_queries[offered], task.judged_documents[offered]
        return rank_candidates(queries, documents, task.doc_ids, pairs, k)
    return top_k(queries, documents, task.doc_ids, k, exclude=own, device=device())


def per_query(task: Task, rows: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """One row a query: the metrics, and the ranking they were computed from."""
    gains = metrics.ranked_gains(rows, task.judged_queries, task.judged_documents, task.scores)
    ideal = metrics.ideal_gains(len(rows), task.judged_queries, task.scores, 10)
    relevant = np.bincount(task.judged_queries[task.scores > 0], minlength=len(rows))
    found = rows >= 0
    return pd.DataFrame(
        {
            "query_id": task.query_ids,
            "ndcg_at_10": metrics.ndcg(gains, ideal, 10),
            "recall_at_10": metrics.recall(gains, relevant, 10),
            "recall_at_100": metrics.recall(gains, relevant, 100),
            "mrr_at_10": metrics.mrr(gains, 10),
            "doc_ids": [task.doc_ids[row[there]].tolist() for row, there in zip(rows, found)],
            "scores": [row[there] for row, there in zip(scores, found)],
        }
    )
