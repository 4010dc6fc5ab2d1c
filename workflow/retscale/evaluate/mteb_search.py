"""Our encoding and search behind mteb's SearchProtocol: mteb evaluates any of its retrieval tasks with them.

    mteb.evaluate(MtebSearch(load_encoder(path, "auto", 16384)), mteb.get_task("SciFact"))

The stage `evaluate` needs no mteb and gives the same scores, p-MRR and robustness@10 among them; this is for what mteb
alone computes, and for checking one against the other.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from mteb.models import ModelMeta

from retscale.evaluate import search
from retscale.model.device import device
from retscale.model.encoder import Encoder

DOCUMENTS_AT_A_TIME = 2**16


class MtebSearch:
    """An encoder as a SearchProtocol. Its revision is the hash of the encoder, so no cached score is another's."""

    def __init__(self, encoder: Encoder, name: str = "retscale/encoder"):
        self.encoder = encoder
        self.mteb_model_meta = ModelMeta.create_empty({"name": name, "revision": encoder.sha256})

    def index(self, corpus, **_) -> None:
        self.corpus = corpus

    def search(self, queries, *, top_k: int, top_ranked: dict | None = None, **_) -> dict[str, dict[str, float]]:
        """Scores of the best `top_k` documents a query, or of its candidates in `top_ranked`."""
        ids, doc_ids = np.array(queries["id"], object), np.array(self.corpus["id"], object)
        vectors = self.encoder.embed(self.encoder.tokens(_texts(queries), "query"), "queries")
        search.check_finite(vectors, ids, "query")
        if top_ranked is None:
            rows, scores = search.top_k(
                vectors, self._documents(), doc_ids, top_k, exclude=np.full(len(ids), -1), device=device()
            )
        else:
            pairs = [(i, doc) for i, id in enumerate(ids) for doc in top_ranked.get(id, ())]
            asked, offered = np.array([i for i, _ in pairs]), pd.Index(doc_ids).get_indexer([doc for _, doc in pairs])
            rows, scores = search.rank_candidates(vectors, self._documents(), doc_ids, (asked, offered), top_k)
        return {
            id: dict(zip(doc_ids[row[row >= 0]], score[row >= 0].tolist())) for id, row, score in zip(ids, rows, scores)
        }

    def _documents(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self.corpus), DOCUMENTS_AT_A_TIME):
            some = self.corpus[start : start + DOCUMENTS_AT_A_TIME]
            titles = some.get("title") or [""] * len(some["text"])
            texts = [f"{title or ''} {text}".strip() for title, text in zip(titles, some["text"])]
            yield self.encoder.embed(self.encoder.tokens(texts, "passage"), f"documents from {start + 1}")


def _texts(queries) -> list[str]:
    """A query is followed by its instruction, if it has one, as in mteb."""
    texts = list(queries["text"])
    if "instruction" not in queries.column_names:
        return texts
    return [text if more is None else f"{text} {more}" for text, more in zip(texts, queries["instruction"])]
