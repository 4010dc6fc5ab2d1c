"""InfoNCE over cosine similarity (van den Oord et al. 2018), with the negatives that a recipe chooses."""

from collections.abc import Sequence

import torch


def info_nce(
    queries: torch.Tensor, passages: torch.Tensor, masked: torch.Tensor, temperature: float, first: int | None = None
) -> torch.Tensor:
    """Mean cross-entropy of each query's positive among its passages.

    queries: (q, d) unit vectors.
    passages: (p, 1 + n, d) unit vectors, a group a query, its positive first.
    masked: passages that must not count as negatives, true where masked; see `own_mask` and `pool_mask`.
    first: None scores each query against its own group (p = q, masked (q, 1 + n)). A number scores it against all
        groups (masked (q, p * (1 + n))), the groups of these queries being first, first + 1, ...
    Logits are float32 at least, whatever the dtype of the vectors.
    """
    dtype = torch.promote_types(queries.dtype, torch.float32)
    queries, passages = queries.to(dtype), passages.to(dtype)
    if first is None:
        logits = torch.einsum("qd,qnd->qn", queries, passages)
        target = torch.zeros(len(queries), dtype=torch.long, device=queries.device)
    else:
        logits = queries @ passages.flatten(0, 1).T
        target = (first + torch.arange(len(queries), device=queries.device)) * passages.shape[1]
    logits = (logits / temperature).masked_fill(masked, -torch.inf)
    return torch.nn.functional.cross_entropy(logits, target)


def nested(
    queries: torch.Tensor,
    passages: torch.Tensor,
    masked: torch.Tensor,
    temperature: float,
    first: int | None = None,
    dimensions: Sequence[int] = (),
) -> torch.Tensor:
    """`info_nce`, averaged over the whole vectors and their first `dimensions` components (Matryoshka representation
    learning, Kusupati et al. 2022, eq. 1 with equal weights)."""
    losses = [info_nce(queries, passages, masked, temperature, first)]
    for d in dimensions:
        truncated = (torch.nn.functional.normalize(x[..., :d], dim=-1) for x in (queries, passages))
        losses.append(info_nce(*truncated, masked, temperature, first))
    return torch.stack(losses).mean()


def own_mask(ids: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    """(q, 1 + n), true for negatives that are a positive of the query, or that occur earlier in its group.

    ids: (q, 1 + n) passages of each group; positives: (q, m) all known positives of each query, padded with -1. Copies
    have one number.
    """
    known = (ids[:, :, None] == positives[:, None, :]).any(2)
    repeated = (ids[:, :, None] == ids[:, None, :]).tril(-1).any(2)
    masked = known | repeated
    masked[:, 0] = False
    return masked


def pool_mask(ids: torch.Tensor, positives: torch.Tensor, first: int) -> torch.Tensor:
    """(q, p * (1 + n)), as `own_mask` when all groups `ids` (p, 1 + n) are scored and those of the queries are
    first, first + 1, ...: a passage counts once for a query, however many groups hold it."""
    flat = ids.flatten()
    known = (flat[None, :, None] == positives[:, None, :]).any(2)
    repeated = (flat[:, None] == flat[None, :]).tril(-1).any(1)
    masked = known | repeated
    rows = torch.arange(len(positives), device=ids.device)
    masked[rows, (first + rows) * ids.shape[1]] = False
    return masked
