"""Tokens to vectors, at the cost of the tokens rather than of their padding."""

import numpy as np
import torch
from transformers import PreTrainedModel

from retscale.common.progress import progress
from retscale.model.device import to
from retscale.model.distinct import digests, distinct
from retscale.model.layout import Layout, plan
from retscale.model.load import is_decoder
from retscale.model.packed import is_packed, pack, pool_packed
from retscale.model.pooling import Pooling, l2_normalize, pool
from retscale.model.tokenize import pad


@torch.inference_mode()
def encode(
    model: PreTrainedModel,
    ids: list[np.ndarray],
    pad_id: int,
    *,
    pooling: Pooling = "mean",
    normalize: bool = True,
    tokens_per_batch: int = 8192,
    label: str = "encode",
) -> np.ndarray:
    """Embeddings of texts given as token ids, in their order: float32 (texts, d).

    Batches gather texts of similar length up to `tokens_per_batch` tokens, padding included. Runs on the model's device
    and in its dtype; pooling and normalization are in float32. The last bits of a vector depend on the other texts in
    its batch, so equal sequences are encoded once: within a call their vectors have the same bits.
    """
    firsts, number = distinct(digests(ids))
    parts = plan([len(ids[i]) for i in firsts], tokens_per_batch, layout_of(model))
    # They stay on the device to the end, so that it never waits for this process to fetch a batch.
    vectors = torch.empty((len(firsts), model.config.hidden_size), dtype=torch.float32, device=model.device)
    for rows in progress(parts, label, unit="batches"):
        batch = [ids[i] for i in firsts[rows]]
        vectors[to(model.device, torch.from_numpy(rows))] = encode_ids(model, batch, pad_id, pooling, normalize)
    vectors = vectors.cpu().numpy()
    return vectors if len(firsts) == len(ids) else vectors[number]


def layout_of(model: PreTrainedModel) -> Layout:
    """How `model`, where it is, reads texts."""
    if is_packed(model):
        return "packed"
    return "padded" if model.device.type == "cpu" else "bucketed"


def encode_ids(
    model: PreTrainedModel, ids: list[np.ndarray], pad_id: int, pooling: Pooling, normalize: bool = True
) -> torch.Tensor:
    """Vectors (texts, d) in float32 of one batch of token ids, with gradients if the caller's mode has them."""
    vectors = pooled(
        model, ids, pad_id, pooling, model.device, needs_mask=not is_decoder(model.config), packed=is_packed(model)
    )
    return l2_normalize(vectors) if normalize else vectors


def pooled(
    model: torch.nn.Module,
    ids: list[np.ndarray],
    pad_id: int,
    pooling: Pooling,
    device: torch.device,
    *,
    needs_mask: bool,
    packed: bool,
) -> torch.Tensor:
    """Pooled vectors (texts, d) in float32 of one batch.

    needs_mask: whether the model must be told where padding is, which a causal one, padded on the right, need not.
    """
    if packed:
        hidden = model(**pack(ids, device)).last_hidden_state
        return pool_packed(hidden, [len(x) for x in ids], pooling)
    tokens, mask = (to(device, x) for x in pad(ids, pad_id))
    hidden = model(input_ids=tokens, attention_mask=mask if needs_mask else None).last_hidden_state
    return pool(hidden, mask, pooling)
