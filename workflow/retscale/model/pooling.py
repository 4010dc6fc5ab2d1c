"""Pooling: how the token vectors of a text become one, by name.

Every stage that needs a pooling asks here, and a new one is a function and its entry in POOLINGS. torch is imported where
it is used: a study is checked without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor


def mean(hidden: Tensor, mask: Tensor) -> Tensor:
    return _weighted(hidden, mask, mask.float())


def weighted_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Weights the i-th token of a text by i, as SGPT does (Muennighoff 2022): later positions saw more and count more."""
    return _weighted(hidden, mask, (mask.long().cumsum(1) * mask).float())


def last(hidden: Tensor, mask: Tensor) -> Tensor:
    return _at(hidden, mask.long().cumsum(1).argmax(1))  # the first of the greatest: where the last token was counted


def cls(hidden: Tensor, mask: Tensor) -> Tensor:
    return _at(hidden, mask.long().argmax(1))


@dataclass(frozen=True)
class Method:
    """`pool` takes token vectors (batch, tokens, d), float32, and a mask (batch, tokens), and gives (batch, d). Padding
    may be on either side, and every text has a token. `sentence_transformers` is its name there.
    """

    pool: Callable[[Tensor, Tensor], Tensor]
    sentence_transformers: str


POOLINGS = {
    "mean": Method(mean, "mean"),
    "weighted_mean": Method(weighted_mean, "weightedmean"),
    "last": Method(last, "lasttoken"),
    "cls": Method(cls, "cls"),
}
Pooling = Literal[tuple(POOLINGS)]  # ty: ignore[invalid-type-form] - the names, as pydantic checks them


def pool(hidden: Tensor, mask: Tensor, how: Pooling) -> Tensor:
    """Pool (batch, tokens, d) over the tokens that `mask` (batch, tokens) marks; float32 (batch, d), computed in it.

    Under autocast as well, so that training pools as evaluation does.
    """
    import torch

    with torch.autocast(hidden.device.type, enabled=False):
        return POOLINGS[how].pool(hidden.float(), mask.to(hidden.device))


def l2_normalize(vectors: Tensor) -> Tensor:
    """Unit vectors, in float32 whatever the input."""
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1, eps=1e-12)


def _weighted(hidden: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    import torch

    # Padded positions may hold anything, even inf: zero weight alone would let nan through.
    hidden = hidden.masked_fill((mask == 0).unsqueeze(-1), 0.0)
    return torch.einsum("bt,btd->bd", weights / weights.sum(1, keepdim=True), hidden)


def _at(hidden: Tensor, position: Tensor) -> Tensor:
    import torch

    return hidden[torch.arange(len(hidden), device=hidden.device), position]
