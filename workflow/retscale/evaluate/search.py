"""Exact search: the k documents of highest inner product, in a total order, while the documents stream by.

Documents come in shards, of which one is in memory at a time, so memory is bounded by a shard and by queries x k.
Documents of equal score are ordered by document id, descending, as trec_eval orders them. A matrix product rounds a
score differently in another block or with another number of threads, so it only selects the candidates: the score that
orders and is returned is computed again, one pair at a time. Scores and ranking are therefore the same bits however the
work is cut.
"""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from retscale.errors import UserError

SPARE = 16  # candidates beyond k: what rounding may have put on the wrong side of the cut
ROUNDING = 1e-5  # relative error of a product in float32, generously
CELLS = 2**24  # scores or candidates held at a time
_LOW = 0xFFFFFFFF
_NONE = np.iinfo(np.int64).min


def top_k(
    queries: np.ndarray,
    shards: Iterable[np.ndarray],
    doc_ids: np.ndarray,
    k: int,
    *,
    exclude: np.ndarray,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (queries, at most k) of the best documents and their float32 scores, best first.

    `queries` (n, d) is float32; `shards` are the vectors (any, d) of all documents in the order of `doc_ids`, float32
    or float16, none of them empty. `exclude` (n,) is the row of a document that a query must not retrieve, or -1. Rows
    are -1 and scores -inf where there are fewer than k documents. UserError names the first document whose vector is
    not finite.
    """
    places = _places(doc_ids)
    best = np.full((len(queries), 0), _NONE)
    start = 0
    for shard in shards:
        documents = np.ascontiguousarray(shard, dtype=np.float32)
        rows = slice(start, start + len(documents))
        check_finite(documents, doc_ids[rows], "document")
        keys = _best(queries, documents, places[rows], k, exclude - start, device)
        best = _largest(np.concatenate([best, keys], 1), k)
        start += len(documents)
    assert start == len(doc_ids), "shards and ids must be of the same documents"
    return _unpack(np.sort(best, axis=1)[:, ::-1], places)


def rank_candidates(
    queries: np.ndarray,
    shards: Iterable[np.ndarray],
    doc_ids: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """As `top_k`, but each query ranks only its candidates: `pairs` are parallel row numbers of query and document."""
    places = _places(doc_ids)
    by_document = np.argsort(pairs[1], kind="stable")
    asked, offered = pairs[0][by_document], pairs[1][by_document]
    scores = np.empty(len(asked), np.float32)
    start = 0
    for shard in shards:
        documents = np.asarray(shard, dtype=np.float32)
        check_finite(documents, doc_ids[start : start + len(documents)], "document")
        first, last = np.searchsorted(offered, [start, start + len(documents)])
        for at in range(first, last, step := max(1, CELLS // queries.shape[1])):
            some = slice(at, min(at + step, last))
            scores[some] = np.einsum("pd,pd->p", queries[asked[some]], documents[offered[some] - start])
        start += len(documents)
    keys = _keys(scores, places[offered])
    by_query = np.lexsort((-keys, asked))
    asked, keys = asked[by_query], keys[by_query]
    rank = np.arange(len(asked)) - np.searchsorted(asked, asked)
    best = np.full((len(queries), min(k, int(rank.max(initial=0)) + 1)), _NONE)
    kept = rank < best.shape[1]
    best[asked[kept], rank[kept]] = keys[kept]
    return _unpack(best, places)


def check_finite(vectors: np.ndarray, ids: np.ndarray, what: str) -> None:
    """UserError if an embedding is not finite: it would be ranked last, and nobody would know."""
    bad = np.flatnonzero(~np.isfinite(vectors.sum(1)))  # a sum of unit vectors cannot overflow
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(ids)} embeddings are not finite, first that of the {what} {ids[bad[0]]!r}; the encoder "
            "has diverged: fine-tune it with a lower learning rate"
        )


def _best(
    queries: np.ndarray,
    documents: np.ndarray,
    places: np.ndarray,
    k: int,
    exclude: np.ndarray,
    device: torch.device | str,
) -> np.ndarray:
    """Keys (n, at most k + SPARE) of the documents of one shard, the k best of each query among them."""
    fetch = min(k + SPARE, len(documents))
    scores, rows = _nearest(queries, documents, fetch, device)
    keys = _keys(_dots(queries, documents, rows), places[rows])
    if fetch < len(documents):
        # A query whose cut runs through a crowd of equals looks at all that may belong above it.
        own = (exclude >= 0) & (exclude < len(documents))
        least = scores[np.arange(len(queries)), k - 1 + own]
        longest = np.einsum("md,md->m", documents, documents).max() ** 0.5
        slack = ROUNDING * longest * np.linalg.norm(queries, axis=1)
        for query in np.flatnonzero(scores[:, -1] >= least - slack):
            one = queries[query : query + 1]
            crowd = np.flatnonzero(documents @ one[0] >= least[query] - 2 * slack[query])[None]
            rows[query] = crowd[0, :fetch]  # only its exclusion is looked at below
            crowd_keys = _keys(_dots(one, documents, crowd), places[crowd])
            crowd_keys[crowd == exclude[query]] = _NONE
            keys[query] = _largest(crowd_keys, fetch)
    keys[rows == exclude[:, None]] = _NONE
    return keys


def _nearest(
    queries: np.ndarray, documents: np.ndarray, count: int, device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and rows (n, count) of the documents of highest score up to rounding, best first."""
    if torch.device(device).type != "cpu":
        return _nearest_on(queries, documents, count, device)
    import faiss

    faiss.cvar.distance_compute_blas_threshold = 1  # a few queries, too, are a matrix product
    return faiss.knn(queries, documents, count, metric=faiss.METRIC_INNER_PRODUCT)


def _nearest_on(
    queries: np.ndarray, documents: np.ndarray, count: int, device: torch.device | str
) -> tuple[np.ndarray, np.ndarray]:
    held = torch.from_numpy(documents).to(device)
    step = max(1, CELLS // len(documents))
    found = [
        (torch.from_numpy(queries[at : at + step]).to(device) @ held.T).topk(count, dim=1)
        for at in range(0, len(queries), step)
    ]
    return tuple(torch.cat(part).cpu().numpy() for part in zip(*found))


def _dots(queries: np.ndarray, documents: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Scores (n, any) of each query and the documents `rows` (n, any) of it, each pair summed in the same order."""
    scores = np.empty(rows.shape, np.float32)
    held = np.empty((rows.shape[1], documents.shape[1]), np.float32)
    for query, (one, some) in enumerate(zip(queries, rows)):
        documents.take(some, axis=0, out=held, mode="clip")
        np.einsum("kd,d->k", held, one, out=scores[query])
    return scores


def _places(doc_ids: np.ndarray) -> np.ndarray:
    """The place of each document among all ids in descending order; bytes of UTF-8 order as code points do."""
    places = np.empty(len(doc_ids), np.int64)
    order = pc.sort_indices(pa.array(doc_ids, pa.large_string()), sort_keys=[("", "descending")])
    places[order.to_numpy()] = np.arange(len(doc_ids))
    return places


def _keys(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    """int64 keys that order by score, then by lower place: float32 bits that compare as integers, above the place."""
    bits = (scores + np.float32(0)).view(np.int32)  # + 0 makes -0.0 and 0.0 the same
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.astype(np.int64) << 32) | (_LOW - places)


def _largest(keys: np.ndarray, k: int) -> np.ndarray:
    """The k largest keys of each row, in any order."""
    return keys if keys.shape[1] <= k else torch.from_numpy(keys).topk(k, dim=1, sorted=False).values.numpy()


def _unpack(keys: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and scores of sorted keys."""
    order = np.empty_like(places)
    order[places] = np.arange(len(places))
    ordered = (keys >> 32).astype(np.int32)
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)
    none = keys == _NONE
    scores[none] = -np.inf
    return np.where(none, -1, order[np.where(none, 0, _LOW - (keys & _LOW))]), scores
