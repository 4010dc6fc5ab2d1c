"""Attention to later tokens: a decoder has none by itself, and a recipe may turn it on.

transformers keeps this as `is_causal` in a model's config, and so in config.json, and makes its masks by it. A model that
sees later tokens cannot continue a text, so it does not count as a decoder here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from retscale.errors import UserError
from retscale.model.kinds import PACKABLE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# causal: the model's own attention, so a BERT still sees the whole text; bidirectional: a decoder sees the whole text too.
Attention = Literal["causal", "bidirectional"]

# Decoders that were tested: those whose attention reads `is_causal`, and MPT, whose attention is model/attention.py.
SWITCHABLE = PACKABLE - {"bert"}


def sees_ahead(config: PreTrainedConfig) -> bool:
    """Whether the config lets a decoder see later tokens."""
    return not getattr(config, "is_causal", True)


def set_attention(model: PreTrainedModel, attention: Attention) -> None:
    """Let every token of `model` see the whole text if `attention` is bidirectional, or if its config says so already.

    Positions stay as they are: rotary ones depend on distance only, MPT's ALiBi falls with the distance on either side,
    and a sliding window reaches as far forward as back. UserError if the model cannot be switched.
    """
    if attention == "bidirectional":
        if (kind := model.config.model_type) not in SWITCHABLE:
            raise UserError(refusal(kind))
        model.config.is_causal = False
    if sees_ahead(model.config):
        for module in model.modules():
            if hasattr(module, "is_causal"):
                module.is_causal = False


def refusal(kind: str) -> str:
    """Why a model of this type of transformers cannot be switched."""
    return (
        f"attention: bidirectional is for decoders, of the types {', '.join(sorted(SWITCHABLE))}; a {kind} "
        "sees the whole text by itself or was never tried: remove `attention` from its recipe"
    )
