"""Texts to vectors, at the cost of their tokens rather than of their padding."""

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.model.pool import Pooling, l2_normalize, pool
from retscale.model.prompt import Prompt, Side
from retscale.model.tokenize import pad, token_ids
from retscale.progress import progress
from retscale.text.batch import batches


@torch.inference_mode()
def encode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: list[str],
    prompt: Prompt,
    side: Side,
    *,
    pooling: Pooling = "mean",
    normalize: bool = True,
    tokens_per_batch: int = 8192,
    what: str = "encode",
) -> np.ndarray:
    """Embeddings of `texts`, all of one side of `prompt`, in their order: float32 (texts, d).

    Each text is tokenised once; batches gather texts of like length up to `tokens_per_batch` tokens, padding included.
    Runs where the model is and in the model's dtype; pooling and normalisation are in float32.
    """
    ids = token_ids(tokenizer, texts, prompt, side).ids
    vectors = np.empty((len(ids), model.config.hidden_size), dtype=np.float32)
    plan = batches([len(x) for x in ids], tokens_per_batch)
    for rows in progress(plan, what, unit="batches"):
        vectors[rows] = (
            encode_ids(model, [ids[i] for i in rows], tokenizer.pad_token_id, pooling, normalize).cpu().numpy()
        )
    return vectors


def encode_ids(
    model: PreTrainedModel, ids: list[np.ndarray], pad_id: int, pooling: Pooling, normalize: bool = True
) -> torch.Tensor:
    """Vectors (texts, d) in float32 of one batch of token ids, with gradients if the caller's mode has them."""
    tokens, mask = (x.to(model.device) for x in pad(ids, pad_id))
    vectors = pool(model(input_ids=tokens, attention_mask=mask).last_hidden_state, mask, pooling)
    return l2_normalize(vectors) if normalize else vectors
