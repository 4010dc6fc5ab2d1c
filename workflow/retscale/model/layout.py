"""How the texts of a step are laid out for a model, and what that leaves of them beside padding. Imports no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from retscale.common.batch import batches, packs
from retscale.model.kinds import PACKABLE

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

# padded: one rectangle of tokens a forward, texts of like length together. bucketed: the same in rectangles so even that
# little of one is padding. packed: all texts in one row, without padding.
Layout = Literal["padded", "bucketed", "packed"]

PADDING = 0.05  # of a bucket at most
WIDE = 2048  # a model of this width reads as many tokens at once as a study says

# The names that their configs have for the share of attention that is dropped in training.
ATTENTION_DROPOUT = ("attention_dropout", "attn_pdrop", "attention_probs_dropout_prob")


def best_layout(config: "PreTrainedConfig", accelerator: bool, half: bool, longest: int, training: bool) -> Layout:
    """How texts of up to `longest` tokens reach a model of this `config`.

    half: whether it computes in bfloat16, which the kernels of packed texts need. These drop no attention in training
    and, here, know no window of attention that is shorter than a text, nor an ALiBi on both sides.
    """
    if not accelerator:
        return "padded"
    config_of_attention = getattr(config, "attn_config", config)  # MPT has it apart
    drops = training and any(getattr(config_of_attention, name, 0) for name in ATTENTION_DROPOUT)
    window = getattr(config, "sliding_window", None)
    two_sided = config.model_type == "mpt" and not getattr(config, "is_causal", True)
    fits = config.model_type in PACKABLE and not drops and not two_sided and (window is None or longest <= window)
    return "packed" if half and fits else "bucketed"


def tokens_at_once(tokens_per_batch: int, width: int) -> int:
    """Tokens of a forward of a model of this width: what it makes of them is as large at any width beyond WIDE."""
    return min(tokens_per_batch, max(1, tokens_per_batch * WIDE // width))


def plan(lengths: Sequence[int], budget: int, layout: Layout) -> list[np.ndarray]:
    """Indices of the texts of each forward, of at most `budget` tokens with padding, longest first."""
    if layout == "packed":
        return packs(lengths, budget)
    return batches(lengths, budget, PADDING if layout == "bucketed" else 1.0)


def encoded(lengths: Sequence[int], parts: Sequence[np.ndarray], layout: Layout) -> int:
    """Tokens, with padding, that the forwards of a plan encode."""
    lengths = np.asarray(lengths)
    return sum(int(lengths[part].sum() if layout == "packed" else len(part) * lengths[part].max()) for part in parts)


def real_share(lengths: Sequence[int], budget: int, layout: Layout) -> float:
    """The share of real tokens among those that are encoded for texts of these lengths, all of one micro-batch."""
    return sum(map(int, lengths)) / encoded(lengths, plan(lengths, budget, layout), layout)
