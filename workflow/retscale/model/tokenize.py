"""Texts to token ids: the one policy that fine-tuning and evaluation share."""

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

TEXTS_A_CALL = 4096


def token_ids(
    tokenizer: PreTrainedTokenizerBase, texts: list[str], *, max_length: int, prefix: str = "", append_eos: bool = False
) -> list[list[int]]:
    """Ids of `prefix + text`, cut to `max_length` tokens, with the special tokens that the tokenizer adds itself.

    `append_eos` ends every text with the end-of-text token, within `max_length`; tokenizers of transformers 5 ignore
    their own `add_eos_token`, so it is appended here. An empty text becomes one end-of-text (or padding) token.
    """
    eos = tokenizer.eos_token_id
    fallback = eos if eos is not None else tokenizer.pad_token_id
    ids: list[list[int]] = []
    for start in range(0, len(texts), TEXTS_A_CALL):
        chunk = [prefix + text for text in texts[start : start + TEXTS_A_CALL]]
        ids += tokenizer(
            chunk,
            truncation=True,
            max_length=max_length,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
    if append_eos:
        if eos is None:
            raise ValueError("this tokenizer has no end-of-text token to append")
        ids = [x if x and x[-1] == eos else [*x[: max_length - 1], eos] for x in ids]
    return [x or [fallback] for x in ids]


def pad(ids: list[list[int]], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and mask, both int64 (texts, longest)."""
    lengths = np.array([len(x) for x in ids])
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(mask.shape, pad_id, dtype=np.int64)
    padded[mask] = np.concatenate(ids)
    return torch.from_numpy(padded), torch.from_numpy(mask.astype(np.int64))
