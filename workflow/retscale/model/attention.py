"""MPT run with torch's fused attention, which transformers 5.23 does not use for it, and with an ALiBi that bfloat16 keeps.

Counted from the last key, as transformers counts it, a bias is a large number near the query, where bfloat16 has steps of
several: it is the distance to the query that matters, and that is small wherever a weight is not.

Where MPT is made to see ahead, its ALiBi, which is one-sided as it comes, falls with the distance on either side.
"""

from types import MethodType
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import Cache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions

from retscale.model.causality import sees_ahead
from retscale.model.packed import Segments, packed_attention

if TYPE_CHECKING:
    from transformers.models.mpt.modeling_mpt import MptAttention, MptModel

EXACT = 256  # integers up to this, and as many multiples of it, are exact in bfloat16
SLOPE_PARTS = 3  # so many numbers of bfloat16 hold one of float32


class Packed(NamedTuple):
    """Texts in one row, and ALiBi as dimensions for their queries and keys; see packed_bias."""

    segments: Segments
    queries: torch.Tensor
    keys: torch.Tensor


def use_fused(model: PreTrainedModel) -> None:
    """Make an MPT `model`, with or without its head, run fused; other models are left unchanged.

    It keeps a cache only where one is passed. A mask is needed only for texts that are padded on the left: without one,
    a single (heads, tokens, keys) bias, ALiBi and causality, serves the whole batch.
    """
    if model.config.model_type == "mpt":
        model.config.use_cache = False
        model.base_model.forward = MethodType(_model_forward, model.base_model)
        for block in model.base_model.blocks:
            block.attn.forward = MethodType(_attention_forward, block.attn)


def _model_forward(
    self: "MptModel",
    input_ids: torch.Tensor | None = None,
    past_key_values: Cache | None = None,
    attention_mask: torch.Tensor | None = None,
    inputs_embeds: torch.Tensor | None = None,
    position_ids: torch.Tensor | None = None,
    segments: Segments | None = None,
    **_,
) -> BaseModelOutputWithPastAndCrossAttentions:
    """As MptModel.forward; attention_mask (batch, keys), 0 on padding; position_ids and segments are those of
    packed texts."""
    hidden = self.get_input_embeddings()(input_ids) if inputs_embeds is None else inputs_embeds
    past = past_key_values.get_seq_length() if past_key_values is not None else 0
    # Beyond the context that the config states ALiBi falls on: a longer text is read all the same.
    longest = max(self.config.max_seq_len, past + hidden.shape[1])
    alibi = self.build_mpt_alibi_tensor(self.num_heads, longest, device=hidden.device)
    if segments is None:
        device = hidden.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        if sees_ahead(self.config):
            bias = two_sided_bias(alibi, hidden.shape[1], dtype, attention_mask)
        else:
            bias = position_bias(alibi, hidden.shape[1], past + hidden.shape[1], dtype, attention_mask)
    else:
        bias = Packed(segments, *packed_bias(alibi, self.blocks[0].attn.softmax_scale, position_ids[0]))
    for block in self.blocks:
        hidden = block(hidden, position_bias=bias, attention_mask=None, layer_past=past_key_values)[0]
    return BaseModelOutputWithPastAndCrossAttentions(self.norm_f(hidden), past_key_values)


def position_bias(
    alibi: torch.Tensor, tokens: int, keys: int, dtype: torch.dtype, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """What is added to the scores of the last `tokens` of `keys` tokens: (1 or batch, heads, tokens, keys).

    alibi: (heads, 1, longest), float32, 0 at the last token. mask: (batch, keys), 0 on padding, on whatever side.
    """
    bias = alibi[:, :, -keys:].expand(-1, tokens, -1)
    if dtype != torch.float32:
        bias = bias - alibi[:, :, -tokens:].mT
    bias = bias.to(dtype)[None]
    unseen = torch.ones(tokens, keys, dtype=torch.bool, device=bias.device).triu(1 + keys - tokens)
    if mask is None:
        return bias.masked_fill(unseen, -torch.inf)
    # A padding token on the left sees nothing: a finite number keeps its softmax finite where -inf would not. The lowest
    # one would overflow as soon as a kernel adds or scales.
    return bias.masked_fill(unseen | (mask == 0)[:, None, None, :], torch.finfo(dtype).min / 4)


def two_sided_bias(
    alibi: torch.Tensor, tokens: int, dtype: torch.dtype, mask: torch.Tensor | None = None
) -> torch.Tensor:
    """The same where every one of `tokens` tokens sees all others: slope x their distance. Takes no cache."""
    places = torch.arange(tokens, device=alibi.device)
    bias = (alibi[:, :, -2:-1] * (places[:, None] - places).abs()).to(dtype)[None]
    return bias if mask is None else bias.masked_fill((mask == 0)[:, None, None, :], torch.finfo(dtype).min / 4)


def packed_bias(alibi: torch.Tensor, scale: float, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Dimensions for queries (heads, 1, n) and keys (tokens, n) whose products are slope x position of the key / `scale`.

    It lacks slope x position of the query, which is the same for all keys of a query. alibi: (heads, 1, longest).
    positions: (tokens,), of each token in its text. Every number is exact in bfloat16, and products add up in float32.
    """
    rest, slopes = -alibi[:, :, -2:-1] / scale, []
    for _ in range(SLOPE_PARTS):
        slopes.append(rest.bfloat16().float())
        rest = rest - slopes[-1]
    low = positions % EXACT
    keys = torch.stack([positions - low] * SLOPE_PARTS + [low] * SLOPE_PARTS, -1)
    return torch.cat(slopes * 2, -1), keys.float()


def _attention_forward(
    self: "MptAttention",
    hidden_states: torch.Tensor,
    position_bias: torch.Tensor | Packed,
    past_key_values: Cache | None = None,
    **_,
) -> tuple[torch.Tensor, None]:
    """As MptAttention.forward; hidden_states (batch, tokens, d), with a cache behind the tokens of earlier calls."""
    batch, tokens, _ = hidden_states.shape
    mixed = self.Wqkv(hidden_states)
    if self.clip_qkv:
        mixed = mixed.clamp(min=-self.clip_qkv, max=self.clip_qkv)
    query, key, value = (
        x.view(batch, tokens, self.n_heads, self.head_dim).transpose(1, 2) for x in mixed.chunk(3, dim=2)
    )
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, self.layer_idx)
    if isinstance(position_bias, Packed):
        segments, queries, keys = position_bias
        query = torch.cat([query, queries.to(query.dtype).expand(batch, -1, tokens, -1)], -1)
        key = torch.cat([key, keys.to(key.dtype).expand(batch, self.n_heads, -1, -1)], -1)
        context = packed_attention(query, key, value, segments, True, self.softmax_scale)
    else:
        context = scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=position_bias,
            dropout_p=self.attn_dropout_p if self.training else 0.0,
            scale=self.softmax_scale,
        ).transpose(1, 2)
    return self.out_proj(context.reshape(batch, tokens, -1)), None
