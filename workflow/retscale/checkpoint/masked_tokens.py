"""An encoder of the ModernBERT shape (rotary positions, gated layers, no biases), which predicts masked tokens.

Its gated layers have expansion 8/3 instead of 4, so that it has as many parameters as a decoder, and every layer sees the
whole text. The vocabulary has one token more, the mask, at its end.
"""

import numpy as np
import torch
from transformers import ModernBertConfig, ModernBertForMaskedLM, PreTrainedTokenizerBase

from retscale.checkpoint.config import Pretrain
from retscale.checkpoint.objective import autocast, cross_entropy, on

MASK = "<|mask|>"
MASKED = 0.3  # the share of tokens to predict, as in ModernBERT; BERT's .15 is too little where each token is seen once
# The shares of these that the mask and a random token replace; the rest stays as it is (Devlin et al. 2019).
BY_MASK, BY_OTHER = 0.8, 0.1


def build(source: Pretrain, tokenizer: PreTrainedTokenizerBase) -> ModernBertForMaskedLM:
    """The model with fresh weights, from torch's global generator; the tokenizer gets the mask."""
    tokenizer.add_special_tokens({"mask_token": MASK})
    eos = tokenizer.eos_token_id
    config = ModernBertConfig(
        hidden_size=source.hidden_size,
        num_hidden_layers=source.layers,
        num_attention_heads=source.heads,
        intermediate_size=round(source.hidden_size * 8 / 3),
        vocab_size=len(tokenizer),
        max_position_embeddings=source.max_length,
        initializer_range=source.initializer_range,
        layer_types=["full_attention"] * source.layers,
        decoder_bias=False,
        bos_token_id=eos,
        eos_token_id=eos,
        pad_token_id=eos,
        cls_token_id=eos,
        sep_token_id=eos,
    )
    return ModernBertForMaskedLM(config)


def block_loss(
    model: ModernBertForMaskedLM, batch: np.ndarray, dtype: torch.dtype, random: np.random.Generator
) -> torch.Tensor:
    """Mean cross entropy of the chosen tokens of blocks (n, length + 1), whose last token is not read."""
    vocabulary = model.config.vocab_size
    inputs, chosen = corrupt(batch[:, :-1], vocabulary - 1, random)
    targets = np.take_along_axis(batch, chosen, 1)
    with autocast(model.device, dtype):
        hidden = model.model(input_ids=on(model.device, inputs)).last_hidden_state
        places = on(model.device, chosen)[..., None].expand(-1, -1, hidden.shape[-1])
        hidden = model.head(hidden.gather(1, places))
    return cross_entropy(hidden, model.decoder.weight, on(model.device, targets))


def corrupt(tokens: np.ndarray, mask: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Blocks (n, length) with the chosen tokens replaced, and the places (n, chosen) of these, ascending.

    `mask`: the id of the mask; all other ids are below it. Every block has the same number of chosen tokens.
    """
    rows, length = tokens.shape
    chosen = np.sort(
        random.permuted(np.tile(np.arange(length), (rows, 1)), axis=1)[:, : round(MASKED * length)], axis=1
    )
    draw, other = random.random(chosen.shape), random.integers(0, mask, chosen.shape)
    kept = np.take_along_axis(tokens, chosen, 1)
    replaced = np.select([draw < BY_MASK, draw < BY_MASK + BY_OTHER], [mask, other], kept)
    inputs = tokens.astype(np.int64)
    np.put_along_axis(inputs, chosen, replaced, 1)
    return inputs, chosen
