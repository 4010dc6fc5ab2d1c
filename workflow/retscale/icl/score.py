"""Log-probabilities of ends of texts under a causal language model, as the MosaicML Evaluation Gauntlet scores them."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np
import torch

from retscale.common.batch import batches
from retscale.common.progress import progress
from retscale.icl.decoder import Decoder, Prefix

WORTH_SHARING = 16  # tokens; for less, a second pass costs more than it saves


class Part(NamedTuple):
    """One forward pass: the rest of each of `reads` after `starts` tokens, which are those of `contexts[rows]`, read
    before it, or those of `prefix`, read before all parts.
    """

    reads: list[tuple[int, ...]]
    starts: list[int]
    contexts: Sequence[list[int]] = ()
    rows: Sequence[int] = ()
    prefix: Prefix | None = None


def score(
    decoder: Decoder,
    joined: Sequence[tuple[list[int], int]],
    owners: Sequence[int],
    tokens_per_batch: int,
    label: str,
) -> tuple[np.ndarray, np.ndarray]:
    """For each (ids, number of last ones that are scored): the mean of their log-probabilities (float64), and whether
    each of them is the most probable one at its place (bool). Texts of one owner (ascending) are choices of a question.

    Runs where the model is and in the model's dtype; log-probabilities are float32. The last token is predicted but
    never read, so choices of one token share a single pass over their context; the common beginning of a question's
    other choices is read once as well, and so is that of all texts where no question has several.
    """
    texts_by_read: dict[tuple[int, ...], list[int]] = {}
    for i, (ids, _) in enumerate(joined):
        texts_by_read.setdefault(tuple(ids[:-1]), []).append(i)
    total, greedy = np.zeros(len(joined)), np.ones(len(joined), dtype=bool)
    for part in progress(list(_plan(decoder, joined, owners, texts_by_read, tokens_per_batch)), label, unit="batches"):
        prefix = part.prefix and part.prefix.select([0] * len(part.reads))
        if part.contexts:
            prefix = decoder.read(list(part.contexts)).select(part.rows)
        ids, mask = decoder.batch([list(read[start:]) for read, start in zip(part.reads, part.starts)])
        # One line for each predicted token: whose it is, where it is predicted, and which one it is.
        predictions = [
            (i, row, len(joined[i][0]) - 2 - back - start, joined[i][0][-1 - back])
            for row, (read, start) in enumerate(zip(part.reads, part.starts))
            for i in texts_by_read[read]
            for back in range(joined[i][1])
        ]
        owner, row, column, target = torch.tensor(predictions, device=ids.device).T
        logits = decoder.logits(ids, mask, row, column, prefix)
        logprobs = logits.gather(1, target[:, None]).squeeze(1) - logits.logsumexp(1)
        np.add.at(total, owner.cpu().numpy(), logprobs.double().cpu().numpy())
        np.logical_and.at(greedy, owner.cpu().numpy(), (logits.argmax(1) == target).cpu().numpy())
    return total / np.array([length for _, length in joined]), greedy


def _plan(
    decoder: Decoder,
    joined: list[tuple[list[int], int]],
    owners: list[int],
    texts_by_read: dict[tuple[int, ...], list[int]],
    budget: int,
) -> Iterator[Part]:
    """Every text once, longest first within each way of sharing."""
    # The first token that is predicted must follow a token of the same pass.
    unscored = {read: min(len(joined[i][0]) - joined[i][1] for i in texts) - 1 for read, texts in texts_by_read.items()}
    owner = {read: owners[texts[0]] for read, texts in texts_by_read.items()}
    separate, shared = [], []
    for _, group in groupby(texts_by_read, key=owner.get):
        reads = list(group)
        length = min(common(reads), *(unscored[read] for read in reads))
        if len(reads) > 1 and length >= WORTH_SHARING and decoder.unshareable is None:
            shared.append((reads, length))
        else:
            separate += reads
    for chosen in batches([length * len(reads) for reads, length in shared], budget):
        questions = [shared[q] for q in chosen]
        yield Part(
            [read for reads, _ in questions for read in reads],
            [length for reads, length in questions for _ in reads],
            contexts=[list(reads[0][:length]) for reads, length in questions],
            rows=[row for row, (reads, _) in enumerate(questions) for _ in reads],
        )
    start, prefix = 0, None
    if len(separate) > 1 and not shared and decoder.unshareable is None:
        start = min(common(separate), *(unscored[read] for read in separate))
    if start >= WORTH_SHARING:
        prefix = decoder.read([list(separate[0][:start])])
    for chosen in batches([len(read) for read in separate], budget):
        yield Part([separate[i] for i in chosen], [start if prefix else 0] * len(chosen), prefix=prefix)


def common(texts: list[Sequence[int]]) -> int:
    """How many tokens all of `texts` begin with."""
    low, high = min(texts), max(texts)
    return next((at for at, (a, b) in enumerate(zip(low, high)) if a != b), min(len(low), len(high)))
