"""Our encoding and search as mteb's SearchProtocol: mteb can evaluate any of its retrieval tasks with them.

    mteb.evaluate(MtebSearch(load_encoder(path, "auto", 16384)), mteb.get_task("SciFact"))

The stage `evaluate` needs no mteb and gives the same scores, p-MRR and robustness@10 among them; this is for what mteb
alone computes, and for checking one against the other.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from mteb.models import ModelMeta

from retscale.errors import UserError
from retscale.evaluate import search
from retscale.evaluate.documents import Documents
from retscale.evaluate.vectors import shards, shards_ahead
from retscale.model.device import device
from retscale.model.encoder import Encoder
from retscale.tokens.file import TEXTS_AT_A_TIME, write


class MtebSearch:
    """An encoder as a SearchProtocol. Its revision is the hash of the encoder, so no cached score is another's."""

    def __init__(self, encoder: Encoder, name: str = "retscale/encoder"):
        self.encoder = encoder
        self.mteb_model_meta = ModelMeta.create_empty({"name": name, "revision": encoder.sha256})

    def index(self, corpus: Dataset, **_) -> None:
        self.corpus = corpus

    def search(
        self, queries: Dataset, *, top_k: int, top_ranked: dict | None = None, **_
    ) -> dict[str, dict[str, float]]:
        """Scores of the best `top_k` documents a query, or of its candidates in `top_ranked`.

        UserError if a candidate is not in the corpus.
        """
        ids, doc_ids = np.array(queries["id"], object), np.array(self.corpus["id"], object)
        pairs = None if top_ranked is None else _candidates(ids, doc_ids, top_ranked)
        vectors = self.encoder.embed(self.encoder.tokens(_texts(queries), "query"), "queries")
        search.check_finite(vectors, ids, "query")
        with tempfile.TemporaryDirectory() as folder:
            passages = write(Path(folder) / "corpus.ids", map(self._tokens, self._documents()))
            documents = Documents.make(doc_ids, passages.number)

            def embed(rows: slice, replica: int) -> np.ndarray:
                return self.encoder.embed(passages[rows], f"documents from {rows.start + 1}", replica)

            where, replicas = device(), len(self.encoder.models)
            with contextlib.closing(shards(len(passages), embed, replicas, shards_ahead(where, replicas))) as held:
                if pairs is None:
                    rows, scores = search.top_k(vectors, held, documents, top_k, device=where)
                else:
                    rows, scores = search.rank_candidates(vectors, held, documents, pairs, top_k, device=where)
        return {
            id: dict(zip(doc_ids[row[row >= 0]], score[row >= 0].tolist())) for id, row, score in zip(ids, rows, scores)
        }

    def _tokens(self, texts: list[str]) -> list[np.ndarray]:
        return self.encoder.tokens(texts, "passage")

    def _documents(self) -> Iterator[list[str]]:
        for start in range(0, len(self.corpus), TEXTS_AT_A_TIME):
            batch = self.corpus[start : start + TEXTS_AT_A_TIME]
            titles = batch.get("title") or [""] * len(batch["text"])
            yield [f"{title or ''} {text}".strip() for title, text in zip(titles, batch["text"])]


def _candidates(ids: np.ndarray, doc_ids: np.ndarray, top_ranked: dict) -> search.Pairs:
    """Row numbers of each query and its candidates, each once; UserError names one that is not in the corpus."""
    pairs = [(i, doc) for i, id in enumerate(ids) for doc in dict.fromkeys(top_ranked.get(id, ()))]
    query_rows = np.array([i for i, _ in pairs], int)
    document_rows = pd.Index(doc_ids).get_indexer([doc for _, doc in pairs])
    if (unknown := document_rows < 0).any():
        i, doc = pairs[unknown.argmax()]
        raise UserError(
            f"{unknown.sum()} of {len(pairs)} candidates are missing from the corpus, first {doc!r} of the query "
            f"{ids[i]!r}; take top_ranked and corpus from the same revision of the task"
        )
    return query_rows, document_rows


def _texts(queries: Dataset) -> list[str]:
    """A query is followed by its instruction, if it has one, as in mteb."""
    texts = list(queries["text"])
    if "instruction" not in queries.column_names:
        return texts
    return [
        text if instruction is None else f"{text} {instruction}"
        for text, instruction in zip(texts, queries["instruction"])
    ]
