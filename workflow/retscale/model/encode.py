"""Tokens to vectors, at the cost of the tokens rather than of their padding."""

import numpy as np
import torch
from transformers import PreTrainedModel

from retscale.common.batch import batches
from retscale.common.progress import progress
from retscale.model.distinct import digests, distinct
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
    vectors = np.empty((len(firsts), model.config.hidden_size), dtype=np.float32)
    plan = batches([len(ids[i]) for i in firsts], tokens_per_batch)
    for rows in progress(plan, label, unit="batches"):
        batch = [ids[i] for i in firsts[rows]]
        vectors[rows] = encode_ids(model, batch, pad_id, pooling, normalize).cpu().numpy()
    return vectors if len(firsts) == len(ids) else vectors[number]


def encode_ids(
    model: PreTrainedModel, ids: list[np.ndarray], pad_id: int, pooling: Pooling, normalize: bool = True
) -> torch.Tensor:
    """Vectors (texts, d) in float32 of one batch of token ids, with gradients if the caller's mode has them."""
    tokens, mask = (x.to(model.device) for x in pad(ids, pad_id))
    vectors = pool(model(input_ids=tokens, attention_mask=mask).last_hidden_state, mask, pooling)
    return l2_normalize(vectors) if normalize else vectors
