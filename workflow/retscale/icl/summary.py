"""One task's accuracy and bits per byte from its items: means, how sure they are, and what is odd about the data."""

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


def bits_per_byte(table: pd.DataFrame, items: list[Item]) -> np.ndarray:
    """Of each item (float64): what the gold answer costs the model in bits, over the bytes of its text in UTF-8.

    -(sum of the log-probabilities of its tokens) / ln 2 / bytes. The text is that of the gold choice as the data hold it:
    of a schema the continuation behind the gold context. The blank that a tokenizer needs before it is not counted, so
    all tokenizers divide by the same number.
    """
    nats = [-row.logprobs[row.gold] * row.tokens[row.gold] for row in table.itertuples()]
    sizes = [len((item.end or item.choices[item.gold]).encode()) for item in items]
    return np.array(nats) / math.log(2) / np.array(sizes)


def mean_bits(bits: Sequence[float], categories: Sequence[str]) -> dict:
    """The mean over items, of categories over them, as that of accuracies; its standard error, None of a single item.

    A mean of ratios and not a ratio of sums: each item counts once, however long its answer (as OLMES has it).
    """
    groups = pd.Series(np.asarray(bits, dtype=float)).groupby(list(categories))
    error = math.sqrt(float((groups.var(ddof=1) / groups.size()).sum(skipna=False))) / groups.ngroups
    value = float(groups.mean().mean())
    return {"bits_per_byte": value, "bits_per_byte_stderr": None if math.isnan(error) else error}


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
