"""One task's accuracy from its items: the mean, how sure it is, and what is odd about the data."""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pandas as pd

from retscale.common import seeds
from retscale.icl.answer import normalize
from retscale.icl.config import IclTask
from retscale.icl.item import Item

REPLICATES, INTERVAL = 2000, 0.95


def accuracy(correct: Sequence[bool], categories: Sequence[str], seed: int, name: str) -> dict:
    """The mean over categories of the share that is correct (one category: the plain share), and its uncertainty.

    `stderr` is binomial; `low` and `high` bound 95% of bootstrap replicates over the items of each category. The share
    of right ones among n items drawn with replacement is binomial, so replicates are drawn as such.
    """
    groups = pd.DataFrame({"correct": np.asarray(correct, dtype=float), "category": list(categories)})
    groups = groups.groupby("category")["correct"].agg(["mean", "size"])
    share, size = groups["mean"].to_numpy(), groups["size"].to_numpy()
    draws = seeds.stream(seed, name).binomial(size, share, (REPLICATES, len(size)))
    low, high = np.quantile((draws / size).mean(1), [(1 - INTERVAL) / 2, (1 + INTERVAL) / 2])
    return {
        "value": float(share.mean()),
        "stderr": math.sqrt(float((share * (1 - share) / size).sum())) / len(size),
        "low": float(low),
        "high": float(high),
    } | ({"categories": groups["mean"].to_dict()} if len(size) > 1 else {})


def accuracy_by_normalization(table: pd.DataFrame, items: list[Item], categories: list[str]) -> dict[str, float]:
    """The accuracy of a multiple-choice task had its choices been compared otherwise: by the sum of log-probabilities,
    or by that sum over the bytes of the choice.
    """
    sums = [logprobs * tokens for logprobs, tokens in zip(table["logprobs"], table["tokens"])]
    sizes = [np.array([len(choice.encode()) for choice in item.choices]) for item in items]
    scores = {"sum": sums, "byte": [total / size for total, size in zip(sums, sizes)]}
    correct = {
        normalization: [int(np.argmax(row)) == item.gold for row, item in zip(rows, items)]
        for normalization, rows in scores.items()
    }
    return {
        normalization: float(pd.Series(hits).groupby(categories).mean().mean())
        for normalization, hits in correct.items()
    }


def oddities(items: list[Item], task: IclTask, baseline: float) -> list[str]:
    """What in the data makes a score mean something else than it seems to, in words."""
    messages = []
    n = len(items)
    if task.type in ("multiple_choice", "schema"):
        position, count = Counter(item.gold for item in items).most_common(1)[0]
        if count == n and n > 1:
            messages.append(
                f"the right choice is always number {position}: a model that ties on every item scores {position == 0:d}"
            )
        elif count / n > baseline + 3 * math.sqrt(baseline * (1 - baseline) / n):
            messages.append(
                f"choice number {position} is right in {count / n:.0%} of the items: always taking it scores above the "
                f"baseline of {baseline:.0%}"
            )
    if task.type == "generation_task_with_answers" and task.normalise:
        empty = sum(any(not normalize(answer) for answer in item.choices) for item in items)
        if empty:
            messages.append(
                f"{empty} of {n} items accept an answer that is empty once normalized, so any answer is right"
            )
    duplicates = n - len(set(items))
    if duplicates:
        messages.append(f"{duplicates} of {n} items occur twice in the data")
    return messages
