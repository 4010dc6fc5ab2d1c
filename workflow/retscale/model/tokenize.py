"""Texts to token ids: the one policy that fine-tuning and evaluation share."""

import hashlib
import json
from typing import NamedTuple

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from retscale.errors import UserError
from retscale.model.prompt import Policy, Prompt, Side

TEXTS_A_CALL = 4096

# What a fingerprint is taken of: digits, blanks and case; scripts, composed and decomposed marks, ligature, emoji;
# nothing; more tokens than a length.
PROBES = (
    "What did 2,048 GPUs cost in 1999?  It's (far) too-much\n\tto say...",
    "Größe café cafe\u0301 naïve \ufb01n 検索 поиск بحث \u00a0\u200b🔎",
    "",
    " ".join(map(str, range(10_000))),
)


class Tokens(NamedTuple):
    """Token ids of each text (int32), and how many of the texts were cut to their length."""

    ids: list[np.ndarray]
    cut: int


def token_ids(tokenizer: PreTrainedTokenizerBase, texts: list[str], prompt: Prompt, side: Side) -> Tokens:
    """Ids of each text of `side` under `prompt`: its prefix and itself, cut so that suffix and special tokens always fit.

    Special tokens are added as ids, because the effect of `add_bos_token` and `add_eos_token` depends on a tokenizer's
    class and version; no chat template is applied. A text without any token becomes one end-of-text (or padding) token.
    Raises UserError if the policy adds a token that the tokenizer lacks.
    """
    head, tail = ends(tokenizer, prompt)
    prefix, suffix = prompt.prefix(side), _bodies(tokenizer, [prompt.suffix(side)])[0] if prompt.suffix(side) else []
    room = prompt.length(side) - len(head) - len(suffix) - len(tail)
    if room < 1:
        raise UserError(
            f"prompt: {side}_length {prompt.length(side)} leaves no room for a text besides "
            f"{len(head) + len(tail)} special tokens{f' and {len(suffix)} of its suffix' if suffix else ''}; raise it"
        )
    empty = tokenizer.pad_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
    ids, cut = [], 0
    for start in range(0, len(texts), TEXTS_A_CALL):
        for body in _bodies(tokenizer, [prefix + text for text in texts[start : start + TEXTS_A_CALL]]):
            if prompt.bos == "add" and body[:1] == head:  # the text already has one
                body = body[1:]
            cut += len(body) > room
            body = body[:room]
            if prompt.eos == "add" and body[-1:] == tail:
                body = body[:-1]
            ids.append(np.array([*head, *body, *suffix, *tail] or [empty], dtype=np.int32))
    return Tokens(ids, cut)


def check_room(tokenizer: PreTrainedTokenizerBase, instruction: str, prompt: Prompt, what: str) -> None:
    """Raises UserError if no query of `what` would be read, since its instruction alone fills the length of queries."""
    if token_ids(tokenizer, [f"{instruction} a"], prompt, "query").cut:
        raise UserError(
            f"the instruction of {what} leaves no room for a query in query_length {prompt.query_length}; raise that, or "
            "shorten the instruction"
        )


def fingerprint(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    """sha256 of the prompt and of what it makes of a few texts with this tokenizer.

    It changes with any key of the prompt, and with a tokenizer, or a version of its library, that reads text
    differently.
    """
    probes = {
        side: [x.tolist() for x in token_ids(tokenizer, PROBES, prompt, side).ids] for side in ("query", "passage")
    }
    text = json.dumps({"prompt": prompt.model_dump(mode="json"), "ids": probes}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def pad(ids: list[np.ndarray], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Right-padded ids and mask, both int64 (texts, longest)."""
    lengths = np.array([len(x) for x in ids])
    mask = np.arange(lengths.max()) < lengths[:, None]
    padded = np.full(mask.shape, pad_id, dtype=np.int64)
    padded[mask] = np.concatenate(ids)
    return torch.from_numpy(padded), torch.from_numpy(mask.astype(np.int64))


def _bodies(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    """Ids without special tokens, never truncated, whatever the tokenizer's files say."""
    return tokenizer(
        texts,
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]


def own_ends(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The ids that a tokenizer adds before and after a text by default."""
    probe = tokenizer("a", padding=False, return_special_tokens_mask=True)
    ids, added = probe["input_ids"], probe["special_tokens_mask"]
    return ids[: added.index(0)], ids[len(ids) - added[::-1].index(0) :]


def ends(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> tuple[list[int], list[int]]:
    """The ids before and after every text; UserError as for `token_ids`."""
    head, tail = own_ends(tokenizer)
    return (
        _end("bos", prompt.bos, head, tokenizer.bos_token_id),
        _end("eos", prompt.eos, tail, tokenizer.eos_token_id),
    )


def _end(name: str, policy: Policy, own: list[int], token: int | None) -> list[int]:
    if policy == "add" and token is None:
        raise UserError(
            f"prompt: {name}: add, but this tokenizer has no {name} token; use `tokenizer` "
            f"({'which adds a token of its own here' if own else 'which adds none here'}) or `none`"
        )
    return {"tokenizer": own, "add": [] if token is None else [token], "none": []}[policy]
