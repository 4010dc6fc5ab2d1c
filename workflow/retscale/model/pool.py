"""One vector per text from its token vectors."""

from typing import Literal

import torch

Pooling = Literal["mean", "weighted_mean", "last", "cls"]


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: Pooling) -> torch.Tensor:
    """Pool (batch, tokens, d) over the tokens that `mask` (batch, tokens) marks; float32 (batch, d).

    Padding may be on either side; every text needs a token. `weighted_mean` weights the i-th token of a text by i,
    as SGPT does (Muennighoff 2022), so that later positions, which saw more, count more.
    """
    hidden, mask = hidden.float(), mask.to(hidden.device)
    if how == "mean":
        weights = mask.float()
    elif how == "weighted_mean":
        weights = (mask.long().cumsum(1) * mask).float()
    elif how in ("last", "cls"):
        positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        at = positions.masked_fill(mask == 0, -1).amax(1) if how == "last" else mask.long().argmax(1)
        return hidden[torch.arange(len(hidden), device=hidden.device), at]
    else:
        raise ValueError(f"unknown pooling {how!r}")
    # Padded positions may hold anything, even inf: zero weight alone would let nan through.
    hidden = hidden.masked_fill((mask == 0).unsqueeze(-1), 0.0)
    return torch.einsum("bt,btd->bd", weights / weights.sum(1, keepdim=True), hidden)


def l2_normalize(vectors: torch.Tensor) -> torch.Tensor:
    """Unit vectors, in float32 whatever the input."""
    return torch.nn.functional.normalize(vectors.float(), dim=-1, eps=1e-12)
