"""Inner products of queries and vectors, on the CPU or on an accelerator.

Two kinds: matrix products, which are fast and round a score differently in another block, and those of pairs, which sum
each pair in one order whatever else is computed, so that equal vectors tie to the bit.
"""

import numpy as np
import torch

CELLS = 2**24  # products held at a time
CELLS_IN_CACHE = 2**18  # numbers of the pairs that a CPU multiplies at a time


def products_on(device: torch.device | str) -> "Products":
    device = torch.device(device)
    return OnCpu(device) if device.type == "cpu" else Products(device)


class Products:
    """Of float32 vectors that were `put` on the device; what is computed lies in memory."""

    def __init__(self, device: torch.device):
        self.device = device

    def put(self, vectors: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(vectors)).to(self.device)

    def nearest(self, queries: torch.Tensor, vectors: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
        """By a matrix product: the `count` highest scores (queries, count), best first, and the rows of the vectors."""
        # A search allows for the rounding of float32; TensorFloat-32 would be a thousand times coarser.
        assert torch.get_float32_matmul_precision() == "highest"
        best = [
            (queries[block] @ vectors.T).topk(count, dim=1) for block in blocks(len(queries), CELLS // len(vectors))
        ]
        scores, rows = (torch.cat(tensors).cpu().numpy() for tensors in zip(*best))
        return scores, rows

    def above(self, query: torch.Tensor, vectors: torch.Tensor, least: float) -> np.ndarray:
        """By a matrix product: the rows of all vectors whose score for a query (d,) is at least `least`."""
        return (vectors @ query >= least).nonzero()[:, 0].cpu().numpy()

    def of_pairs(
        self, queries: torch.Tensor, vectors: torch.Tensor, query_rows: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """float32 (pairs,) of the pairs that parallel row numbers give."""
        query_of, row_of = (torch.from_numpy(numbers).to(self.device) for numbers in (query_rows, rows))
        scores = torch.empty(len(rows), device=self.device)
        for block in blocks(len(rows), CELLS // queries.shape[1]):
            scores[block] = _folded(queries[query_of[block]] * vectors[row_of[block]])
        return scores.cpu().numpy()


class OnCpu(Products):
    """The same by the libraries that are fastest there."""

    def nearest(self, queries: torch.Tensor, vectors: torch.Tensor, count: int) -> tuple[np.ndarray, np.ndarray]:
        import faiss

        faiss.cvar.distance_compute_blas_threshold = 1  # a few queries, too, are a matrix product
        return faiss.knn(queries.numpy(), vectors.numpy(), count, metric=faiss.METRIC_INNER_PRODUCT)

    def of_pairs(
        self, queries: torch.Tensor, vectors: torch.Tensor, query_rows: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        scores = np.empty(len(rows), np.float32)
        for block in blocks(len(rows), CELLS_IN_CACHE // queries.shape[1]):
            pairs = queries.numpy()[query_rows[block]], vectors.numpy()[rows[block]]
            scores[block] = np.einsum("pd,pd->p", *pairs)
        return scores


def _folded(terms: torch.Tensor) -> torch.Tensor:
    """The sums of the rows of `terms` (n, d): the halves of a row are added until one number is left.

    torch.sum would choose its order by n, and by the machine; additions of whole tensors leave it no choice.
    """
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        odd = terms[:, 2 * half :]
        terms = terms[:, :half] + terms[:, half : 2 * half]
        if odd.shape[1]:
            terms = torch.cat([terms, odd], 1)
    return terms[:, 0]


def blocks(count: int, size: int) -> list[slice]:
    """0 to `count`, `size` at a time, at least one."""
    size = max(1, size)
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
