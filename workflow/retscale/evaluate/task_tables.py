"""A retrieval task as its stage wrote it, ready to be searched."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.errors import UserError
from retscale.model.prompt import instructed
from retscale.task.card import TaskCard


@dataclass(frozen=True)
class Task:
    """Ids of queries and documents, the queries under their instructions, and the judgments as row numbers of both with a score.

    A judged document that is not in the corpus has the number of documents for its row, which no ranking holds.
    `instructions` are those that precede queries, each once. `candidate` says of each judgment whether its document is ranked where only those judged are. `changed`: see
    evaluate/instructions.py.
    """

    card: TaskCard
    query_ids: np.ndarray
    queries: list[str]
    doc_ids: np.ndarray
    judged_queries: np.ndarray
    judged_documents: np.ndarray
    scores: np.ndarray
    candidate: np.ndarray
    changed: pd.DataFrame | None
    instructions: tuple[str, ...] = ()

    def own_document(self) -> np.ndarray:
        """For each query the row of the document with the query's own id, or -1."""
        return pd.Index(self.doc_ids).get_indexer(self.query_ids)


def read(path: Path) -> Task:
    """The task whose task.json is `path`."""
    corpus = path.parent / "corpus.parquet"
    queries, qrels = (pd.read_parquet(path.parent / f"{name}.parquet") for name in ("queries", "qrels"))
    doc_ids = pd.read_parquet(corpus, columns=["doc_id"])["doc_id"]
    document_rows = pd.Index(doc_ids).get_indexer(qrels["doc_id"])
    query_rows = pd.Index(queries["query_id"]).get_indexer(qrels["query_id"])
    if len(query_rows) and query_rows.min() < 0:
        raise UserError(
            f"{path.parent}: qrels.parquet judges the query {qrels['query_id'].iloc[query_rows.argmin()]!r}, which is "
            "missing from queries.parquet; delete the folder and run the task stage again"
        )
    instructions = queries.get("instruction", [None] * len(queries))
    return Task(
        card=TaskCard.read(path),
        query_ids=queries["query_id"].to_numpy(object),
        queries=[instructed(*query) for query in zip(instructions, queries["text"])],
        doc_ids=doc_ids.to_numpy(object),
        judged_queries=query_rows,
        judged_documents=np.where(document_rows < 0, len(doc_ids), document_rows),
        scores=qrels["score"].to_numpy(),
        candidate=np.asarray((document_rows >= 0) & qrels.get("candidate", True)),
        changed=pd.read_parquet(changed) if (changed := path.parent / "changed.parquet").exists() else None,
        instructions=tuple(dict.fromkeys(filter(None, instructions))),
    )
