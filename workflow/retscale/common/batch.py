"""Batches of texts of similar length under a token budget."""

from collections.abc import Sequence

import numpy as np


def batches(lengths: Sequence[int], budget: int, padding: float = 1.0) -> list[np.ndarray]:
    """Indices of texts in batches whose padded size (texts x longest) is at most `budget` tokens, longest first.

    At most the share `padding` of a batch is padding. A text longer than the budget gets a batch of its own. Equal
    lengths keep their order, so the same lengths give the same batches; longest first, so a shortage of memory shows at
    once.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    parts, start = [], 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = max(1, budget // longest)
        real = np.cumsum(lengths[order[start : start + size]])
        # Lengths fall, so the padding of a batch only grows with its texts.
        size = int((real >= (1 - padding) * longest * np.arange(1, len(real) + 1)).sum())
        parts.append(order[start : start + size])
        start += size
    return parts


def packs(lengths: Sequence[int], budget: int) -> list[np.ndarray]:
    """Indices of texts in batches of at most `budget` tokens, without padding, longest first.

    A text longer than the budget gets a batch of its own.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    ends = np.cumsum(lengths[order])
    parts, start = [], 0
    while start < len(order):
        before = ends[start - 1] if start else 0
        end = max(start + 1, int(np.searchsorted(ends, before + budget, side="right")))
        parts.append(order[start:end])
        start = end
    return parts
