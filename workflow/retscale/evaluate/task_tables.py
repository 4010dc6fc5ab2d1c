"""A retrieval task as its stage left it, ready to be searched."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Task:
    """Ids and texts of queries and documents, and the judgements as row numbers of both with a score."""

    facts: dict
    query_ids: np.ndarray
    queries: list[str]
    doc_ids: np.ndarray
    documents: list[str]
    judged_queries: np.ndarray
    judged_documents: np.ndarray
    scores: np.ndarray

    def own_document(self) -> np.ndarray:
        """For each query the row of the document with the query's own id, or -1."""
        return pd.Index(self.doc_ids).get_indexer(self.query_ids)


def read(path: Path) -> Task:
    """The task whose task.json is `path`. A document's text is its title and text joined by a blank, as in mteb."""
    queries, corpus, qrels = (
        pd.read_parquet(path.parent / f"{name}.parquet") for name in ("queries", "corpus", "qrels")
    )
    return Task(
        facts=json.loads(path.read_text(encoding="utf-8")),
        query_ids=queries["query_id"].to_numpy(object),
        queries=queries["text"].tolist(),
        doc_ids=corpus["doc_id"].to_numpy(object),
        documents=[f"{title} {text}".strip() for title, text in zip(corpus["title"], corpus["text"])],
        judged_queries=pd.Index(queries["query_id"]).get_indexer(qrels["query_id"]),
        judged_documents=pd.Index(corpus["doc_id"]).get_indexer(qrels["doc_id"]),
        scores=qrels["score"].to_numpy(),
    )
