"""Texts that a causal language model writes itself, token by token."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from retscale.common.progress import progress
from retscale.errors import UserError
from retscale.icl.decoder import Decoder, Prefix
from retscale.icl.prompt import needs_prefix_space
from retscale.icl.score import WORTH_SHARING, common

SPREAD = 16  # tokens by which the prompts of a batch may differ in length at least


def generate(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[list[int]],
    new_tokens: int,
    tokens_per_batch: int,
    label: str,
    stop: Sequence[str] = (),
    temperature: float = 0.0,
    seed: int = 0,
) -> list[str]:
    """What follows each prompt: `new_tokens` tokens, or fewer up to the end-of-text token or through one of `stop`.

    Always the most probable token; with a `temperature` tokens are drawn, from a stream of each prompt's own. The
    common beginning of all prompts is read once. UserError if the model cannot continue from a cache.
    """
    if decoder.unshareable is not None:
        raise UserError(f"this model cannot generate answers: {decoder.unshareable}")
    start = min(common([tuple(prompt) for prompt in prompts]), min(map(len, prompts)) - 1) if len(prompts) > 1 else 0
    prefix = decoder.read(*decoder.batch([prompts[0][:start]])) if start >= WORTH_SHARING else None
    outputs = [""] * len(prompts)
    # A row behind the others costs a step for each token it lacks, a batch of its own as many steps as new tokens.
    spread = max(SPREAD, new_tokens // 2)
    batches = similar_batches([len(prompt) + new_tokens for prompt in prompts], tokens_per_batch, spread)
    for rows in progress(batches, label, unit="batches"):
        batch_prefix = prefix.select([0] * len(rows)) if prefix else decoder.empty_prefix(len(rows))
        sampler = Sampler(temperature, seed, rows)
        for row, ids in zip(
            rows,
            _generate_batch(decoder, tokenizer, [prompts[r] for r in rows], new_tokens, stop, batch_prefix, sampler),
        ):
            outputs[row] = text(tokenizer, ids)
    return outputs


class Sampler:
    """The next token of a row of logits."""

    def __init__(self, temperature: float, seed: int, rows: Sequence[int]):
        self.temperature = temperature
        # A generator on the CPU keeps 32 bits of its seed.
        self.streams = [torch.Generator().manual_seed(zlib.crc32(f"{seed} {row}".encode())) for row in rows]

    def __call__(self, place: int, logits: torch.Tensor) -> int:
        if not self.temperature:
            return int(logits.argmax())
        probabilities = (logits.double() / self.temperature).softmax(0).cpu()
        return int(torch.multinomial(probabilities, 1, generator=self.streams[place]))


def _generate_batch(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    new_tokens: int,
    stop: Sequence[str],
    prefix: Prefix,
    sampler: Sampler,
) -> list[list[int]]:
    """The tokens written behind each prompt; `prefix` holds what all of them begin with.

    Without padding: the prompts are read together up to the end of the shortest, then token by token, for each row the
    next one of its prompt or, after that, the one that it has just written.
    """
    texts, written, done = [list(prompt) for prompt in prompts], [[] for _ in prompts], [False] * len(prompts)
    start, read = prefix.mask.shape[1], min(map(len, prompts))
    while not all(done):
        chunk = [ids[start:read] if len(ids) >= read else [decoder.pad_id] for ids in texts]
        logits, prefix = decoder.step(chunk, prefix)
        for row, ids in enumerate(texts):
            if not done[row] and len(ids) == read:
                token = sampler(row, logits[row])
                ids.append(token)
                written[row].append(token)
                finished = token == tokenizer.eos_token_id or len(written[row]) == new_tokens
                done[row] = finished or (bool(stop) and any(end in text(tokenizer, written[row]) for end in stop))
        start, read = read, read + 1
    return written


def text(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Without special tokens. SentencePiece swallows the blank before a first word, so it is put back."""
    decoded = tokenizer.decode(ids, skip_special_tokens=True)
    return decoded if needs_prefix_space(tokenizer) else f" {decoded}"  # ty: ignore[invalid-explicit-return] - one list of ids is one text


def similar_batches(lengths: Sequence[int], budget: int, spread: int) -> list[np.ndarray]:
    """Indices in batches of at most `budget` tokens, lengths at most `spread` apart, longest first."""
    order = np.argsort(-np.asarray(lengths), kind="stable")
    batches, first = [], 0
    for end in range(1, len(order) + 1):
        longest = lengths[order[first]]
        full = (end + 1 - first) * longest > budget
        if end == len(order) or full or longest - lengths[order[end]] > spread:
            batches.append(order[first:end])
            first = end
    return batches
