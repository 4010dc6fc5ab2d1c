import pytest
import torch

from retscale.finetune.loss import info_nce, nested, own_mask, pool_mask

Q, N, D, T = 5, 4, 8, 0.07


@pytest.fixture
def vectors():
    torch.manual_seed(0)
    normal = torch.nn.functional.normalize
    return (
        normal(torch.randn(Q, D, dtype=torch.float64), dim=-1),
        normal(torch.randn(Q, N, D, dtype=torch.float64), dim=-1),
    )


def free(*shape):
    return torch.zeros(shape, dtype=torch.bool)


def by_hand(queries, candidates, targets):
    """Mean cross-entropy with plain loops; `candidates` is a list of the vectors that each query meets."""
    losses = []
    for query, vectors, target in zip(queries, candidates, targets):
        logits = torch.stack([(query * v).sum() / T for v in vectors])
        losses.append(torch.nn.functional.cross_entropy(logits[None], torch.tensor([target])))
    return sum(losses) / len(losses)


def test_own_negatives_by_hand(vectors):
    queries, passages = vectors
    expected = by_hand(queries, list(passages), [0] * Q)
    torch.testing.assert_close(info_nce(queries, passages, free(Q, N), T), expected)


def test_pooled_negatives_by_hand(vectors):
    queries, passages = vectors
    pooled = [v for group in passages for v in group]
    expected = by_hand(queries, [pooled] * Q, [i * N for i in range(Q)])
    torch.testing.assert_close(info_nce(queries, passages, free(Q, Q * N), T, first=0), expected)


def test_a_process_scores_its_queries_against_all_groups(vectors):
    queries, passages = vectors
    whole = info_nce(queries, passages, free(Q, Q * N), T, first=0)
    parts = [
        info_nce(queries[:2], passages, free(2, Q * N), T, first=0) * 2,
        info_nce(queries[2:], passages, free(3, Q * N), T, first=2) * 3,
    ]
    torch.testing.assert_close(sum(parts) / Q, whole)


def test_masked_passages_do_not_count(vectors):
    queries, passages = vectors
    masked = free(Q, N)
    masked[1, 2] = masked[3, 1] = True
    candidates = [[v for n, v in enumerate(group) if not masked[q, n]] for q, group in enumerate(passages)]
    torch.testing.assert_close(info_nce(queries, passages, masked, T), by_hand(queries, candidates, [0] * Q))


@pytest.mark.parametrize("first", [None, 0])
def test_gradient_against_finite_differences(vectors, first):
    masked = free(Q, N if first is None else Q * N)
    masked[2, 3] = True
    inputs = [v.requires_grad_() for v in vectors]
    assert torch.autograd.gradcheck(lambda q, p: info_nce(q, p, masked, T, first), inputs)


def test_logits_are_float32_whatever_comes_in(vectors):
    queries, passages = (v.bfloat16() for v in vectors)
    loss = info_nce(queries, passages, free(Q, N), 0.01)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, info_nce(queries.float(), passages.float(), free(Q, N), 0.01))


def test_own_mask():
    ids = torch.tensor([[1, 2, 3, 2], [4, 1, 5, 6], [7, 7, 8, 9]])
    positives = torch.tensor([[1, 3], [4, -1], [7, -1]])
    assert own_mask(ids, positives).int().tolist() == [[0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_pool_mask():
    ids = torch.tensor([[1, 2], [3, 2], [1, 3]])  # the third query has the first's positive
    positives = torch.tensor([[1, -1], [3, -1], [1, 3]])
    expected = [
        [0, 0, 0, 1, 1, 1],  # 2 again, 1 is its positive again, 3 again
        [0, 0, 0, 1, 1, 1],
        [1, 0, 1, 1, 0, 1],  # both its positives elsewhere, and 2 again
    ]
    assert pool_mask(ids, positives, 0).int().tolist() == expected
    assert pool_mask(ids, positives[1:], 1).int().tolist() == expected[1:]


def test_no_mask_ever_hides_a_target():
    ids = torch.zeros(3, 2, dtype=torch.long)
    positives = torch.zeros(3, 1, dtype=torch.long)
    assert not own_mask(ids, positives)[:, 0].any()
    masked = pool_mask(ids, positives, 0)
    assert masked.sum() == 15 and not masked[torch.arange(3), torch.arange(3) * 2].any()


@pytest.mark.parametrize("first", [None, 0])
@pytest.mark.parametrize("dimensions", [[], [3, 5]])
def test_gradients_against_finite_differences(vectors, first, dimensions):
    queries, passages = (x.clone().requires_grad_() for x in vectors)
    masked = free(Q, N) if first is None else free(Q, Q * N)
    masked[1, 2] = True
    assert torch.autograd.gradcheck(lambda q, p: nested(q, p, masked, T, first, dimensions), (queries, passages))


def test_matryoshka_is_the_mean_over_lengths(vectors):
    queries, passages = vectors
    short = [(torch.nn.functional.normalize(x[..., :3], dim=-1)) for x in vectors]
    expected = (info_nce(queries, passages, free(Q, N), T) + info_nce(*short, free(Q, N), T)) / 2
    torch.testing.assert_close(nested(queries, passages, free(Q, N), T, None, [3]), expected, rtol=1e-6, atol=1e-6)
