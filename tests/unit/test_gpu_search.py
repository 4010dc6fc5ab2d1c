"""Exact search on a GPU: a full sort where products are exact, and the same bits however the work is cut."""

import numpy as np
import pytest
import torch
from test_evaluate_search import by_sorting, copies, cut, excluded, random_task, unit, vectors

from retscale.evaluate.documents import Documents
from retscale.evaluate.search import top_k

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.mark.parametrize("k", [1, 17, 200])
def test_a_search_on_a_gpu_is_a_full_sort(k):
    rng = np.random.default_rng(k)
    task = random_task(rng)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    for size in (200, 13):
        rows, _ = top_k(queries, cut(documents, size), Documents.make(task.doc_ids), k, device="cuda")
        assert [task.doc_ids[row].tolist() for row in rows] == by_sorting(task, queries, documents, k)


def test_the_same_bits_however_a_gpus_work_is_cut():
    queries, documents, ids = copies()
    named, exclude = Documents.make(ids), excluded(np.where(np.arange(30) % 3, -1, np.arange(30) * 100))
    whole = top_k(queries, [documents], named, 100, exclude=exclude, device="cuda")
    for size in (1, 64, 1000, 2999):
        for part, expected in zip(
            top_k(queries, cut(documents, size), named, 100, exclude=exclude, device="cuda"), whole
        ):
            np.testing.assert_array_equal(part, expected)
    exact = queries.astype(np.float64) @ documents.T.astype(np.float64)
    exact[exclude] = -np.inf
    np.testing.assert_allclose(whole[1], -np.sort(-exact, axis=1)[:, :100], atol=3e-7)


def test_a_large_search_on_a_gpu_is_that_in_float64():
    """The sums of a pair differ in their last bits, so documents may change places within them."""
    rng = np.random.default_rng(2)
    queries, documents = (unit(rng.standard_normal((n, 256)).astype(np.float32)) for n in (500, 100_000))
    named = Documents.make(np.arange(len(documents)).astype(str).astype(object))
    rows, scores = top_k(queries, cut(documents, 30_000), named, 100, device="cuda")
    exact = torch.from_numpy(queries).double().cuda() @ torch.from_numpy(documents).double().cuda().T
    exact_scores, exact_rows = (x.cpu().numpy() for x in exact.topk(100, dim=1))
    np.testing.assert_allclose(scores, exact_scores, atol=3e-7)
    assert (rows == exact_rows).mean() > 0.999
