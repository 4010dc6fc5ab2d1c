"""An encoder-decoder of the T5 shape (relative positions, no biases, tied embeddings, expansion 4), which restores spans.

Raffel et al. 2020: a mark replaces each of some spans of a text, and the decoder predicts the span of each mark. The
encoder half becomes the retriever and has as many parameters as a decoder. The marks are at the end of the vocabulary.
"""

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase, T5Config, T5ForConditionalGeneration

from retscale.checkpoint.config import Pretrain
from retscale.checkpoint.objective import autocast, cross_entropy, on

MARK = "<|span_{}|>"
CUT, SPAN = 0.15, 3  # the share of tokens that is cut out, and the mean length of a span, as in T5


def build(source: Pretrain, tokenizer: PreTrainedTokenizerBase) -> T5ForConditionalGeneration:
    """The model with fresh weights, from torch's global generator; the tokenizer gets the marks."""
    _, spans = amounts(source.block_length)
    tokenizer.add_special_tokens({"additional_special_tokens": [MARK.format(i) for i in range(spans)]})
    eos = tokenizer.eos_token_id
    config = T5Config(
        d_model=source.hidden_size,
        d_kv=source.hidden_size // source.heads,
        d_ff=4 * source.hidden_size,
        num_layers=source.layers,
        num_heads=source.heads,
        vocab_size=len(tokenizer),
        dropout_rate=0.0,
        initializer_factor=source.initializer_range,
        use_cache=False,
        eos_token_id=eos,
        pad_token_id=eos,
        decoder_start_token_id=eos,  # ty: ignore[unknown-argument] - every config has it
    )
    return T5ForConditionalGeneration(config)


def block_loss(
    model: T5ForConditionalGeneration, batch: np.ndarray, dtype: torch.dtype, random: np.random.Generator
) -> torch.Tensor:
    """Mean cross entropy of the decoder's tokens for blocks (n, length + 1), whose last token is not read."""
    config = model.config
    inputs, targets = corrupt(batch[:, :-1], config.vocab_size, config.eos_token_id, random)
    tokens = on(model.device, targets)
    with autocast(model.device, dtype):
        encoded = model.encoder(input_ids=on(model.device, inputs)).last_hidden_state
        shifted = torch.cat([torch.full_like(tokens[:, :1], config.decoder_start_token_id), tokens[:, :-1]], 1)
        hidden = model.decoder(input_ids=shifted, encoder_hidden_states=encoded, use_cache=False).last_hidden_state
    return cross_entropy(hidden * config.d_model**-0.5, model.lm_head.weight, tokens)


def amounts(length: int) -> tuple[int, int]:
    """How many tokens of a block are cut out, and in how many spans."""
    cut = max(1, round(CUT * length))
    return cut, max(1, round(cut / SPAN))


def corrupt(
    tokens: np.ndarray, vocabulary: int, eos: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The inputs of encoder and decoder for blocks (n, length). Encoder: the text with marks, (n, length - cut + spans).
    Decoder: each mark with its span, and `eos`, (n, cut + spans + 1).

    A block begins with text and ends with a span; all other divisions are equally likely.
    """
    rows, length = tokens.shape
    cut, spans = amounts(length)
    lengths = np.stack([parts(length - cut, spans, rows, random), parts(cut, spans, rows, random)], -1)
    is_cut = np.repeat(np.tile([False, True], rows * spans), lengths.ravel()).reshape(rows, length)
    first = is_cut & ~np.pad(is_cut, ((0, 0), (1, 0)))[:, :-1]
    marks = vocabulary - spans + np.arange(spans)
    text = tokens.astype(np.int64)
    inside = text[is_cut].reshape(rows, cut)
    number = np.cumsum(first, axis=1)[is_cut].reshape(rows, cut)  # of the span, from 1
    targets = np.empty((rows, cut + spans + 1), dtype=np.int64)
    is_mark = np.ones(targets.shape, dtype=bool)
    np.put_along_axis(targets, np.arange(cut) + number, inside, 1)
    np.put_along_axis(is_mark, np.arange(cut) + number, False, 1)
    targets[is_mark] = np.tile([*marks, eos], rows)
    text[first] = np.tile(marks, rows)
    return text[~is_cut | first].reshape(rows, -1), targets


def parts(total: int, count: int, rows: int, random: np.random.Generator) -> np.ndarray:
    """(rows, count) positive integers whose rows add up to `total`; all such rows are equally likely."""
    borders = random.permuted(np.tile(np.arange(total - 1) < count - 1, (rows, 1)), axis=1)
    ends = np.nonzero(borders)[1].reshape(rows, count - 1) + 1
    return np.diff(ends, axis=1, prepend=0, append=total)
