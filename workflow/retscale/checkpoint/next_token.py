"""A decoder of the MPT shape (ALiBi, no biases, tied embeddings, expansion 4), which predicts each next token."""

import numpy as np
import torch
from transformers import MptConfig, MptForCausalLM, PreTrainedTokenizerBase

from retscale.checkpoint.config import Pretrain
from retscale.checkpoint.objective import autocast, cross_entropy, on
from retscale.model.attention import use_fused


def build(source: Pretrain, tokenizer: PreTrainedTokenizerBase) -> MptForCausalLM:
    """The model with fresh weights, from torch's global generator."""
    eos = tokenizer.eos_token_id
    config = MptConfig(
        d_model=source.hidden_size,
        n_layers=source.layers,
        n_heads=source.heads,
        vocab_size=len(tokenizer),
        max_seq_len=source.max_length,
        initializer_range=source.initializer_range,
        learned_pos_emb=False,
        no_bias=True,
        tie_word_embeddings=True,
        use_cache=False,
        bos_token_id=eos,
        eos_token_id=eos,
        pad_token_id=eos,
    )
    model = MptForCausalLM(config)
    use_fused(model)
    return model


def block_loss(
    model: MptForCausalLM, batch: np.ndarray, dtype: torch.dtype, random: np.random.Generator
) -> torch.Tensor:
    """Mean cross entropy of each next token, for blocks (n, length + 1); logits in float32."""
    tokens = on(model.device, batch)
    with autocast(model.device, dtype):
        hidden = model.transformer(input_ids=tokens[:, :-1]).last_hidden_state
    return cross_entropy(hidden, model.lm_head.weight, tokens[:, 1:])
