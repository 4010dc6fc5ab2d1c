"""One vector per text from its token vectors."""

import torch

from retscale.model.pooling import POOLINGS, Pooling


def pool(hidden: torch.Tensor, mask: torch.Tensor, how: Pooling) -> torch.Tensor:
    """Pool (batch, tokens, d) over the tokens that `mask` (batch, tokens) marks; float32 (batch, d)."""
    return POOLINGS[how].pool(hidden.float(), mask.to(hidden.device))


def l2_normalize(vectors: torch.Tensor) -> torch.Tensor:
    """Unit vectors, in float32 whatever the input."""
    return torch.nn.functional.normalize(vectors.float(), dim=-1, eps=1e-12)
