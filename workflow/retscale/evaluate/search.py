"""Exact search: the k documents of highest cosine, in a total order, while their vectors stream by.

Vectors come in shards, of which one is in memory at a time, so memory is bounded by a shard and by queries x k.
Documents of equal score are ordered by document id, descending, as trec_eval orders them. A matrix product rounds a
score differently in another block or with another number of threads, so it only selects the candidates: the score that
orders and is returned is computed again, one pair at a time, for those that may be among the k best of all shards so
far. Scores and ranking therefore have the same bits however the work is split. Documents that share a vector are
searched as one, and separated at the end.
"""

from collections.abc import Iterable

import numpy as np
import torch

from retscale.errors import UserError
from retscale.evaluate.documents import Documents
from retscale.evaluate.products import Products, blocks, products_on

Pairs = tuple[np.ndarray, np.ndarray]  # parallel row numbers of query and document

SPARE = 16  # candidates beyond k: what rounding may have put on the wrong side of the cut
ROUNDING = 1e-5  # relative error of a product in float32, generously
CELLS = 2**24  # scores or candidates held at a time
PAIRS = 2**20  # queries x k whose documents are told apart at a time
_LOW = 0xFFFFFFFF
_NONE = np.iinfo(np.int64).min


def top_k(
    queries: np.ndarray,
    shards: Iterable[np.ndarray],
    documents: Documents,
    k: int,
    *,
    exclude: Pairs = (np.empty(0, int), np.empty(0, int)),
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (queries, at most k) of the best documents and their float32 scores, best first.

    `queries` (n, d) are unit vectors in float32; `shards` are those (any, d) of all documents in the order of their
    numbers, each once, float32 or float16, none of them empty. `exclude` are documents that a query must not retrieve.
    Rows are -1 and scores -inf where there are fewer than k documents. UserError names the first document whose vector
    is not finite.
    """
    # A vector ranks as the first of its documents does, so k documents are found among the k best vectors. Each vector
    # of which a query excludes a document may take one of these places.
    firsts = documents.firsts
    query_rows, excluded_rows = exclude
    extra = np.unique(query_rows * len(firsts) + documents.vector[excluded_rows]) // len(firsts)
    reach = min(k + _most(extra), len(firsts))
    products = products_on(device)
    asked, lengths = products.put(queries), np.linalg.norm(queries, axis=1)
    best = np.full((len(queries), reach), _NONE)
    start = 0
    for shard in shards:
        vectors = np.asarray(shard, dtype=np.float32)
        rows_of_shard = firsts[start : start + len(vectors)]
        check_finite(vectors, documents.ids[rows_of_shard], "document")
        slack = ROUNDING * lengths * np.einsum("md,md->m", vectors, vectors).max() ** 0.5
        held = products.put(vectors)
        for block in blocks(len(queries), CELLS // (reach + SPARE)):
            _improve(best[block], asked[block], held, documents.place[rows_of_shard], slack[block], products)
        start += len(vectors)
    assert start == len(firsts), "shards and documents must have the same vectors"
    rankings = [
        _documents(best[block], block.start, documents, min(k, len(documents.ids)), exclude)
        for block in blocks(len(queries), PAIRS // reach)
    ]
    return _unpack(np.concatenate(rankings), documents)


def rank_candidates(
    queries: np.ndarray,
    shards: Iterable[np.ndarray],
    documents: Documents,
    pairs: Pairs,
    k: int,
    *,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """As `top_k`, but each query ranks only its candidates, `pairs`; IndexError if one names no query or document."""
    for rows, count in zip(pairs, (len(queries), len(documents.ids))):
        if len(rows) and not 0 <= rows.min() <= rows.max() < count:
            raise IndexError(f"candidates {rows.min()} to {rows.max()}, where there are 0 to {count - 1}")
    by_vector = np.argsort(documents.vector[pairs[1]], kind="stable")
    query_rows, document_rows = pairs[0][by_vector], pairs[1][by_vector]
    vector = documents.vector[document_rows]
    scores = np.empty(len(query_rows), np.float32)
    firsts, start = documents.firsts, 0
    for shard in shards:
        vectors = np.asarray(shard, dtype=np.float32)
        check_finite(vectors, documents.ids[firsts[start : start + len(vectors)]], "document")
        in_shard = slice(*np.searchsorted(vector, [start, start + len(vectors)]))
        scores[in_shard] = cosines(queries, vectors, query_rows[in_shard], vector[in_shard] - start, device=device)
        start += len(vectors)
    keys = _keys(scores, documents.place[document_rows])
    return _unpack(_ranked(query_rows, keys, len(queries), min(k, max(1, _most(query_rows)))), documents)


def cosines(
    queries: np.ndarray,
    vectors: np.ndarray,
    query_rows: np.ndarray,
    rows: np.ndarray,
    *,
    device: torch.device | str = "cpu",
) -> np.ndarray:
    """The inner product of each pair of a query and a vector, given by parallel row numbers: float32 (pairs,)."""
    products = products_on(device)
    return products.of_pairs(products.put(queries), products.put(vectors), query_rows, rows)


def check_finite(vectors: np.ndarray, ids: np.ndarray, kind: str) -> None:
    """Raises UserError if an embedding is not finite: it would silently be ranked last."""
    bad = np.flatnonzero(~np.isfinite(vectors.sum(1)))  # a sum of unit vectors cannot overflow
    if len(bad):
        raise UserError(
            f"{len(bad)} of {len(ids)} embeddings are not finite, first that of the {kind} {ids[bad[0]]!r}; the "
            "encoder has diverged: fine-tune it with a lower learning rate"
        )


def _improve(
    best: np.ndarray,
    queries: torch.Tensor,
    vectors: torch.Tensor,
    places: np.ndarray,
    slack: np.ndarray,
    products: Products,
) -> None:
    """Put those vectors of a shard that belong there into `best` (n, k), keys of the best vectors of each query so far.

    A matrix product and the product of a pair differ by at most `slack` (n,).
    """
    k, count = best.shape[1], len(places)
    fetched = min(k + SPARE, count)
    scores, rows = products.nearest(queries, vectors, fetched)
    least = _scores(best.min(1)) - slack
    if k <= count:
        least = np.maximum(least, scores[:, k - 1] - 2 * slack)
    may_belong = scores >= least[:, None]
    # A query whose cut runs through a crowd of equals looks at all that may belong above it.
    crowded = may_belong[:, -1] & (fetched < count)
    may_belong[crowded] = False
    query, rank = np.nonzero(may_belong)
    candidates = rows[query, rank]
    keys = np.full((len(best), int(may_belong.sum(1).max(initial=0))), _NONE)
    keys[query, rank] = _keys(products.of_pairs(queries, vectors, query, candidates), places[candidates])
    improved = np.flatnonzero(may_belong[:, 0])
    best[improved] = _largest(np.concatenate([best[improved], keys[improved]], 1), k)
    for query in np.flatnonzero(crowded):
        candidates = products.above(queries[query], vectors, float(least[query]))
        scores_of_query = products.of_pairs(queries, vectors, np.full(len(candidates), query), candidates)
        keys_of_query = np.concatenate([best[query], _keys(scores_of_query, places[candidates])])
        best[query] = _largest(keys_of_query[None], k)


def _documents(best: np.ndarray, first: int, documents: Documents, k: int, exclude: Pairs) -> np.ndarray:
    """Keys (n, k) of documents, best first, of those (n, any) of vectors; the queries are `first` and the following."""
    query_rows, excluded_rows = (rows[(exclude[0] >= first) & (exclude[0] < first + len(best))] for rows in exclude)
    enough = k + _most(query_rows)
    best = np.sort(best, axis=1)[:, ::-1]
    vectors, scores = _unpack(best, documents)
    vectors = documents.vector[vectors]
    sizes = np.where(best == _NONE, 0, np.diff(documents.starts)[vectors])
    # Only vectors that tie with one of the first that have enough documents between them may have one of the k best.
    last = np.count_nonzero(np.cumsum(sizes, axis=1) - sizes < enough, axis=1) - 1
    query, at = np.nonzero((best != _NONE) & (scores >= scores[np.arange(len(best)), last][:, None]))
    sizes = np.minimum(sizes[query, at], enough)
    nth = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    rows = documents.members[np.repeat(documents.starts[vectors[query, at]], sizes) + nth]
    scores, query = np.repeat(scores[query, at], sizes), np.repeat(query, sizes)
    count = len(documents.ids)
    allowed = ~np.isin((first + query) * count + rows, query_rows * count + excluded_rows)
    return _ranked(query[allowed], _keys(scores[allowed], documents.place[rows[allowed]]), len(best), k)


def _ranked(query_rows: np.ndarray, keys: np.ndarray, queries: int, k: int) -> np.ndarray:
    """The k largest keys of each query, best first, of parallel arrays of query and key: (queries, k)."""
    if not ((query_rows[1:] > query_rows[:-1]) | (query_rows[1:] == query_rows[:-1]) & (keys[1:] < keys[:-1])).all():
        by_query = np.lexsort((-keys, query_rows))
        query_rows, keys = query_rows[by_query], keys[by_query]
    rank = np.arange(len(query_rows)) - np.searchsorted(query_rows, np.arange(queries))[query_rows]
    best = np.full((queries, k), _NONE)
    kept = rank < k
    best[query_rows[kept], rank[kept]] = keys[kept]
    return best


def _keys(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    """int64 keys that order by score, then by lower place: float32 bits that compare as integers, above the place.

    Scores are cosines: one that rounding has put beyond 1 or -1 is cut before it orders.
    """
    bits = (scores.clip(-1, 1) + np.float32(0)).view(np.int32)  # + 0 makes -0.0 and 0.0 the same
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.astype(np.int64) << 32) | (_LOW - places.astype(np.int64))


def _largest(keys: np.ndarray, k: int) -> np.ndarray:
    """The k largest keys of each row, in any order."""
    return keys if keys.shape[1] <= k else torch.from_numpy(keys).topk(k, dim=1, sorted=False).values.numpy()


def _unpack(keys: np.ndarray, documents: Documents) -> tuple[np.ndarray, np.ndarray]:
    """Rows of documents and scores of keys; -1 and -inf where there is none."""
    none = keys == _NONE
    return np.where(none, -1, documents.order[np.where(none, 0, _LOW - (keys & _LOW))]), _scores(keys)


def _scores(keys: np.ndarray) -> np.ndarray:
    """The scores of keys, float32; -inf where there is none."""
    ordered = (keys >> 32).astype(np.int32)
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(np.float32)
    scores[keys == _NONE] = -np.inf
    return scores


def _most(rows: np.ndarray) -> int:
    """How often the most frequent of `rows` occurs."""
    return int(np.bincount(rows).max(initial=0))
