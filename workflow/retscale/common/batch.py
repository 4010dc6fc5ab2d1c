"""Batches of texts of similar length under a token budget."""

from collections.abc import Sequence

import numpy as np


def batches(lengths: Sequence[int], budget: int) -> list[np.ndarray]:
    """Indices of texts in batches whose padded size (texts x longest) is at most `budget` tokens, longest first.

    A text longer than the budget gets a batch of its own. Equal lengths keep their order, so the same lengths give
    the same batches; longest first, so a shortage of memory shows at once.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-lengths, kind="stable")
    parts, start = [], 0
    while start < len(order):
        size = max(1, budget // max(1, int(lengths[order[start]])))
        parts.append(order[start : start + size])
        start += size
    return parts
