"""Contrastive entropy: how surely an encoder picks a query's positive out of random documents.

-log softmax of the positive's cosine among those of NEGATIVES documents, at TEMPERATURE, mean over queries: the loss of
contrastive training on the task (Fang et al. 2024, whose quality over compute is a law), smooth where nDCG is not. One
sample of documents serves all queries, so that their vectors fit in memory while the corpus streams by; which of them are
a query's negatives is drawn for each. All draws depend on ids alone, so every encoder of every study sees the same.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from retscale.common.seeds import of_query, stream
from retscale.evaluate.documents import Documents
from retscale.evaluate.task_tables import Task

NEGATIVES, TEMPERATURE, SEED = 256, 0.05, 0
SAMPLE = 1024  # documents of which negatives are drawn


@dataclass
class Contrast:
    """Of one task: `queries` (m,) that have a positive in the corpus, the vectors of their `positives` (m,), those `sampled`
    (s,), and which of these are no negative of a query, `judged` (m, s). `vectors` holds what was seen, by `wanted`.
    """

    queries: np.ndarray
    positives: np.ndarray
    sampled: np.ndarray
    judged: np.ndarray
    ids: np.ndarray
    wanted: np.ndarray
    vectors: np.ndarray | None = None

    @classmethod
    def of(cls, task: Task, documents: Documents) -> "Contrast":
        """A query's positive is the document judged highest, of several the first. No relevant one is its negative."""
        inside = (task.judged_documents < len(task.doc_ids)) & (task.scores > 0)
        queries, rows, scores = task.judged_queries[inside], task.judged_documents[inside], task.scores[inside]
        best = np.lexsort((rows, -scores, queries))
        with_positive, first = np.unique(queries[best], return_index=True)
        count = min(SAMPLE, len(task.doc_ids))
        sampled = np.sort(stream(SEED, "contrastive", task.card.id).choice(len(task.doc_ids), count, replace=False))
        vectors = documents.vector[sampled]
        # A document with the vector of a relevant one is as relevant.
        judged = np.zeros((len(with_positive), count), bool)
        place = np.searchsorted(with_positive, queries)
        for at, vector in zip(place, documents.vector[rows], strict=True):
            judged[at] |= vectors == vector
        if task.card.ignore_identical_ids:
            own = task.own_document()[with_positive]
            judged |= (own >= 0)[:, None] & (vectors == documents.vector[own][:, None])
        positives = documents.vector[rows[best][first]]
        wanted = np.unique(np.concatenate([vectors, positives]))
        return cls(with_positive, positives, vectors, judged, task.query_ids[with_positive], wanted)

    def watch(self, shards: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The shards as they are, while the wanted vectors are kept."""
        start = 0
        for shard in shards:
            if self.vectors is None:
                self.vectors = np.zeros((len(self.wanted), shard.shape[1]), np.float32)
            here = slice(*np.searchsorted(self.wanted, [start, start + len(shard)]))
            self.vectors[here] = shard[self.wanted[here] - start]
            start += len(shard)
            yield shard

    def entropy(self, queries: np.ndarray) -> float | None:
        """In nats, of all queries' vectors (any, d), after the shards have passed; None without a positive or negative.

        Rounded, since the last digits of a product depend on the number of threads.
        """
        if self.vectors is None or not len(self.queries) or self.judged.all():
            return None
        own = queries[self.queries]
        positive = self.vectors[np.searchsorted(self.wanted, self.positives)]
        others = own @ self.vectors[np.searchsorted(self.wanted, self.sampled)].T
        losses = []
        for row, right, judged, id in zip(
            others, np.einsum("qd,qd->q", own, positive), self.judged, self.ids, strict=True
        ):
            allowed = np.flatnonzero(~judged)
            chosen = (
                allowed if len(allowed) <= NEGATIVES else of_query(SEED, id).choice(allowed, NEGATIVES, replace=False)
            )
            scores = np.append(right, row[chosen]).astype(float) / TEMPERATURE
            losses.append(np.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[0])
        return round(float(np.mean(losses)), 6)
