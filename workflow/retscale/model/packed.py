"""Texts packed in one row without padding: what a model is told of them, and the attention that keeps them apart."""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from retscale.common.batch import batches
from retscale.model.device import to
from retscale.model.pooling import Pooling, pool

ATTENTION = "packed"
POOLED_AT_ONCE = 8  # parts in which the token vectors of a row are pooled: the padding of each part is in memory alone
HEAD_MULTIPLE = 8  # of a head's dimensions, as the kernels want it


@dataclass(frozen=True)
class Segments:
    """Where the texts of a row end: `lengths` of each and the `longest`, on the host, and `bounds` (texts + 1) from 0,
    int32, on the device."""

    lengths: list[int]
    longest: int
    bounds: torch.Tensor

    @classmethod
    def of(cls, lengths: list[int], device: torch.device) -> "Segments":
        return cls(lengths, max(lengths), to(device, torch.from_numpy(np.cumsum([0, *lengths], dtype=np.int32))))


def use_packed(model: PreTrainedModel) -> None:
    """Let `model` read packed texts, and from here on nothing that is padded; layout.py says which models can."""
    model.config._attn_implementation = ATTENTION


def is_packed(model: PreTrainedModel) -> bool:
    return model.config._attn_implementation == ATTENTION


def pack(ids: list[np.ndarray], device: torch.device) -> dict:
    """What a model is called with to read these texts: ids and restarted positions (1, tokens), and their segments."""
    lengths = [len(x) for x in ids]
    positions = np.concatenate([np.arange(n) for n in lengths])
    return {
        "input_ids": to(device, torch.from_numpy(np.concatenate(ids).astype(np.int64)))[None],
        "position_ids": to(device, torch.from_numpy(positions))[None],
        "segments": Segments.of(lengths, device),
    }


def pool_packed(hidden: torch.Tensor, lengths: list[int], how: Pooling) -> torch.Tensor:
    """The vectors (texts, d), float32, of texts whose token vectors are hidden (1, tokens, d).

    A pooling takes a padded batch, so some texts of like length are padded at a time.
    """
    starts, sizes, device = np.cumsum([0, *lengths]), np.array(lengths), hidden.device
    parts = batches(lengths, max(1, starts[-1] // POOLED_AT_ONCE))
    pooled = []
    for part in parts:
        mask = np.arange(sizes[part].max()) < sizes[part][:, None]
        source = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in part])
        source, target = (to(device, torch.from_numpy(x)) for x in (source, np.flatnonzero(mask)))
        padded = hidden.new_zeros(mask.size, hidden.shape[-1]).index_copy(0, target, hidden[0].index_select(0, source))
        mask = to(device, torch.from_numpy(mask.astype(np.int64)))
        pooled.append(pool(padded.view(*mask.shape, -1), mask, how))
    return torch.cat(pooled).index_select(0, to(device, torch.from_numpy(np.argsort(np.concatenate(parts)))))


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    is_causal: bool | None = None,
    segments: Segments | None = None,
    **_,
) -> tuple[torch.Tensor, None]:
    """An attention as transformers calls it: query, key and value (1, heads, tokens, dimensions), of which key and value
    may have fewer heads; gives (1, tokens, heads, dimensions). Without segments each row is one text."""
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    # Under autocast rotary positions come in float32; what a kernel is for is the format of the products.
    query, key = query.to(value.dtype), key.to(value.dtype)
    if segments is None:
        return _plain(query, key, value, causal, scaling).transpose(1, 2), None
    return packed_attention(query, key, value, segments, causal, scaling), None


def packed_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    segments: Segments,
    causal: bool,
    scaling: float | None,
) -> torch.Tensor:
    """(1, tokens, heads, dimensions) from (1, heads, tokens, dimensions): one kernel for all texts on an accelerator in
    half precision, elsewhere text by text."""
    if not has_kernel(query):
        parts = zip(*(x.split(segments.lengths, dim=2) for x in (query, key, value)))
        return torch.cat([_plain(*part, causal, scaling) for part in parts], dim=2).transpose(1, 2)
    scaling, size = scaling or query.shape[-1] ** -0.5, value.shape[-1]
    room = -(-max(size, query.shape[-1]) // HEAD_MULTIPLE) * HEAD_MULTIPLE
    query, key, value = (_widened(x[0].transpose(0, 1), room) for x in (query, key, value))
    out = varlen_attn(
        query,
        key,
        value,
        segments.bounds,
        segments.bounds,
        segments.longest,
        segments.longest,
        scale=scaling,
        window_size=(-1, 0) if causal else (-1, -1),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out[None, ..., :size]


def _widened(x: torch.Tensor, room: int) -> torch.Tensor:
    """To pad by nothing would be a copy."""
    return x if x.shape[-1] == room else pad(x, (0, room - x.shape[-1]))


def has_kernel(query: torch.Tensor) -> bool:
    return query.is_cuda and query.dtype in (torch.bfloat16, torch.float16)


def _plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, causal: bool, scaling: float | None
) -> torch.Tensor:
    grouped = query.shape[1] != key.shape[1]
    return scaled_dot_product_attention(query, key, value, is_causal=causal, scale=scaling, enable_gqa=grouped)


AttentionInterface.register(ATTENTION, attend)
