"""Whether a token sees those behind it: a decoder by itself does not, and a recipe may have it do so.

transformers keeps this in a model's config as `is_causal`, by which it makes its masks, and config.json has it. The loss of
a causal model says nothing of one that sees ahead, so such a model is no decoder here: it continues no text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from retscale.errors import UserError
from retscale.model.kinds import PACKABLE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

# causal: as a model does by itself, so a BERT sees the whole text; bidirectional: a decoder sees it too.
Attention = Literal["causal", "bidirectional"]

# Decoders that were tried: those whose attention asks its `is_causal`, and MPT, which has one of ours.
SWITCHABLE = PACKABLE - {"bert"}


def sees_ahead(config: PreTrainedConfig) -> bool:
    """Whether a decoder was made to see the whole text."""
    return not getattr(config, "is_causal", True)


def set_attention(model: PreTrainedModel, attention: Attention) -> None:
    """Let every token of `model` see the whole text if `attention` is bidirectional, or if its config says so already.

    Positions stay as they are: rotary ones know no direction that matters, MPT's ALiBi falls with the distance on either
    side, and a sliding window reaches as far forward as back. UserError if the model cannot be switched.
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
