"""Texts that a causal language model writes itself, token by token."""

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from retscale.common.progress import progress
from retscale.errors import UserError
from retscale.icl.cache import bytes_per_token, preallocated
from retscale.icl.decoder import Decoder, Prefix
from retscale.icl.prompt import needs_prefix_space
from retscale.icl.score import WORTH_SHARING, common
from retscale.model.device import to

SPREAD = 16  # tokens by which the prompts of a batch may differ in length at least
LOOK = 8  # steps after which the host looks which texts have ended
SHARE = 0.7  # of a GPU's memory beside the weights, for what is kept of the texts of a batch


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
    prefix = decoder.read([prompts[0][:start]]) if start >= WORTH_SHARING else None
    outputs = [""] * len(prompts)
    # A row behind the others costs a step for each token it lacks, a batch of its own as many steps as new tokens.
    spread = max(SPREAD, new_tokens // 2)
    room = tokens_of_batch(decoder, tokens_per_batch)
    batches = similar_batches([len(prompt) + new_tokens for prompt in prompts], room, spread)
    for rows in progress(batches, label, unit="batches"):
        batch_prefix = prefix.select([0] * len(rows)) if prefix else decoder.empty_prefix(len(rows))
        sampler = Sampler(temperature, seed, rows)
        own_prompts = [prompts[row] for row in rows]
        written = _generate_batch(
            decoder, tokenizer, own_prompts, new_tokens, stop, batch_prefix, sampler, tokens_per_batch
        )
        for row, ids in zip(rows, written, strict=True):
            outputs[row] = text(tokenizer, ids)
    return outputs


def tokens_of_batch(decoder: Decoder, tokens_per_batch: int) -> int:
    """Tokens of a batch: as many as a GPU has room for beside the weights, but on a CPU `tokens_per_batch`.

    By the memory of the card, and not by what is free, so that the batches are the same each time.
    """
    device = decoder.model.device
    if device.type != "cuda":
        return tokens_per_batch
    memory = torch.cuda.get_device_properties(device).total_memory - decoder.model.get_memory_footprint()
    return max(tokens_per_batch, int(SHARE * memory) // bytes_per_token(decoder))


class Sampler:
    """The next token of each row of logits, without a wait for the device.

    The random numbers of a row come from a stream of its own on the CPU, whatever the device, so that they depend on
    neither the device nor the batch.
    """

    def __init__(self, temperature: float, seed: int, rows: Sequence[int]):
        self.temperature = temperature
        # A generator on the CPU keeps 32 bits of its seed.
        self.streams = [torch.Generator().manual_seed(zlib.crc32(f"{seed} {row}".encode())) for row in rows]

    def __call__(self, logits: torch.Tensor, drawing: list[bool]) -> torch.Tensor:
        """int64 (rows,) from logits (rows, vocabulary); only the rows that are `drawing` use up their streams."""
        if not self.temperature:
            return logits.argmax(1)
        # The likeliest of p / q, q exponential, is a draw from p: what torch.multinomial does with one stream.
        waits = torch.ones(logits.shape, dtype=torch.float64)
        for wait, stream, draws in zip(waits, self.streams, drawing):
            if draws:
                wait.exponential_(1, generator=stream)
        return ((logits.double() / self.temperature).softmax(1) / to(logits.device, waits)).argmax(1)


@torch.inference_mode()
def _generate_batch(
    decoder: Decoder,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    new_tokens: int,
    stop: Sequence[str],
    prefix: Prefix,
    sampler: Sampler,
    tokens_per_batch: int,
) -> list[list[int]]:
    """The tokens written behind each prompt; `prefix` holds what all of them begin with.

    Without padding: the prompts are read together up to the end of the shortest, `tokens_per_batch` at a time, then
    token by token, for each row the next one of its prompt or, after that, the one that it has just written. What was
    written stays on the device; every LOOK steps the host looks which texts have ended, and cuts off what goes beyond.
    """
    device, lengths, start = decoder.model.device, [len(prompt) for prompt in prompts], prefix.mask.shape[1]
    longest = max(lengths) + new_tokens
    ids = torch.full((len(prompts), longest), decoder.pad_id)
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = torch.tensor(prompt)
    ids, given = to(device, ids), to(device, torch.tensor(lengths))
    written: list[list[int] | None] = [None] * len(prompts)
    cache = preallocated(prefix.cache, longest)
    read = min(lengths)
    at_a_time = max(1, tokens_per_batch // len(prompts))
    while read - start > at_a_time:
        decoder.next_logits(ids[:, start : start + at_a_time], cache, start)
        start += at_a_time
    seen = [0] * len(prompts)  # how many of its tokens were searched for stop strings
    for steps in range(1, longest - min(lengths) + 1):
        logits = decoder.next_logits(ids[:, start:read], cache, start)
        tokens = sampler(logits, [length <= read and row is None for length, row in zip(lengths, written)])
        ids[:, read] = torch.where(given <= read, tokens, ids[:, read])
        start, read = read, read + 1
        if steps % LOOK == 0 or read == longest:
            for row, line in enumerate(ids[:, :read].cpu().tolist()):
                if written[row] is None and lengths[row] < read:
                    answer = line[lengths[row] :]
                    written[row] = _finished(tokenizer, answer[:new_tokens], seen[row], new_tokens, stop)
                    seen[row] = len(answer)
            if None not in written:
                break
    return [answer for answer in written if answer is not None]


def _finished(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], seen: int, new_tokens: int, stop: Sequence[str]
) -> list[int] | None:
    """`ids` through the end-of-text token or the first of `stop`, or all `new_tokens`; None if there is more to come.

    In the first `seen` of them there is no stop.
    """
    end = ids.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in ids else len(ids)
    over = end < len(ids) or end == new_tokens or ids[-1] == tokenizer.eos_token_id
    if stop and _holds(tokenizer, ids[:end], stop):
        return next(ids[:n] for n in range(seen + 1, end + 1) if _holds(tokenizer, ids[:n], stop))
    return ids[:end] if over else None


def _holds(tokenizer: PreTrainedTokenizerBase, ids: list[int], stop: Sequence[str]) -> bool:
    written = text(tokenizer, ids)
    return any(end in written for end in stop)


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
