"""Exact search: the k documents of highest inner product, in a total order.

Scores are float32. Documents of equal score are ordered by document id, descending, as trec_eval orders them, so a
ranking depends neither on the order of the corpus nor on how the work is cut. For that every score is packed with its
document into one integer, whose order is the ranking's.
"""

import numpy as np
import torch

QUERIES_A_BLOCK = 512
DOCUMENTS_A_BLOCK = 16384
_LOW = 0xFFFFFFFF
_NONE = torch.iinfo(torch.int64).min


def top_k(
    queries: np.ndarray,
    documents: np.ndarray,
    doc_ids: np.ndarray,
    k: int,
    *,
    exclude: np.ndarray,
    queries_a_block: int = QUERIES_A_BLOCK,
    documents_a_block: int = DOCUMENTS_A_BLOCK,
    device: torch.device | str = "cpu",
) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (queries, k) of the best documents and their float32 scores, best first.

    `queries` (n, d) and `documents` (m, d) are float32; `exclude` (n,) is the row of a document that a query must not
    retrieve, or -1. Rows are -1 and scores -inf where there are fewer than k documents. Memory is bounded by the blocks
    and by n x k.
    """
    order = _descending(doc_ids)
    k = min(k, len(documents))
    documents = torch.from_numpy(documents[order])
    place = np.where(exclude >= 0, np.argsort(order)[exclude], -1)
    found = []
    for first in range(0, len(queries), queries_a_block):
        block = torch.from_numpy(queries[first : first + queries_a_block]).to(device)
        best = torch.empty((len(block), 0), dtype=torch.int64, device=device)
        for start in range(0, len(documents), documents_a_block):
            some = documents[start : start + documents_a_block].to(device)
            keys = _keys(block @ some.T, torch.arange(start, start + len(some), device=device))
            column = place[first : first + queries_a_block] - start
            rows = np.flatnonzero((column >= 0) & (column < len(some)))
            keys[torch.from_numpy(rows), torch.from_numpy(column[rows])] = _NONE
            keys = torch.cat([best, keys.topk(min(k, len(some)), dim=1).values], 1)
            best = keys.topk(min(k, keys.shape[1]), dim=1).values
        found.append(best.cpu())
    return _unpack(torch.cat(found), order)


def rank_candidates(
    queries: np.ndarray, documents: np.ndarray, doc_ids: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], k: int
) -> tuple[np.ndarray, np.ndarray]:
    """As `top_k`, but each query ranks only its candidates: `pairs` are parallel row numbers of query and document."""
    order = _descending(doc_ids)
    place = np.argsort(order)
    asked, offered = pairs
    scores = np.einsum("pd,pd->p", queries[asked], documents[offered])
    keys = _keys(torch.from_numpy(scores), torch.from_numpy(place[offered])).numpy()
    by_query = np.lexsort((-keys, asked))
    asked, keys = asked[by_query], keys[by_query]
    rank = np.arange(len(asked)) - np.searchsorted(asked, asked)
    width = min(k, int(rank.max()) + 1)
    best = np.full((len(queries), width), _NONE)
    best[asked[rank < width], rank[rank < width]] = keys[rank < width]
    return _unpack(torch.from_numpy(best), order)


def _descending(doc_ids: np.ndarray) -> np.ndarray:
    return np.argsort(doc_ids.astype(object), kind="stable")[::-1].copy()


def _keys(scores: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """int64 keys that order by score, then by lower place: float32 bits that compare as integers, above the place."""
    bits = (scores + 0.0).view(torch.int32)  # + 0.0 makes -0.0 and 0.0 the same
    ordered = bits ^ ((bits >> 31) & 0x7FFFFFFF)
    return (ordered.to(torch.int64) << 32) | (_LOW - places)


def _unpack(keys: torch.Tensor, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ordered = (keys >> 32).to(torch.int32)
    scores = (ordered ^ ((ordered >> 31) & 0x7FFFFFFF)).view(torch.float32).numpy().copy()
    none = (keys == _NONE).numpy()
    rows = order[np.where(none, 0, _LOW - (keys & _LOW).numpy())]
    scores[none] = -np.inf
    return np.where(none, -1, rows), scores
