"""The stage `icl`: one checkpoint on a batch of in-context tasks, <task>.json and <task>.parquet each."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from retscale.errors import UserError
from retscale.icl import items as icl_items
from retscale.icl.config import IclTask
from retscale.icl.items import Item
from retscale.icl.score import context_ids, continuation_ids, join, score
from retscale.model.device import device, dtype
from retscale.model.load import load_causal_lm, load_tokenizer


LONGEST_PROMPT = 2048  # tokens, for a model whose configuration names no limit


def run(spec: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Score each task of `spec`, yielding its name when its files are written."""
    card = json.loads(inputs["card"].read_text(encoding="utf-8"))
    folder = inputs["card"].parent / card["model"]
    model = load_causal_lm(folder, dtype(spec["precision"])).to(device())
    tokenizer = load_tokenizer(folder)
    for name, config in spec["tasks"].items():
        task = IclTask.model_validate(config)
        found, dropped = icl_items.read(task)
        chosen = icl_items.sample(found, task)
        if len(found) <= task.shots:
            raise UserError(f"in-context task {name!r} has {len(found)} items, too few for {task.shots} shots")
        items = [found[i] for i in chosen]
        prompts = [icl_items.prompt(found, i, task) for i in chosen]
        owners, joined, trimmed = sequences(tokenizer, prompts, items, card["max_length"] or LONGEST_PROMPT)
        mean, greedy = score(model, joined, tokenizer.pad_token_id, spec["tokens_per_batch"], name)
        if not np.isfinite(mean).all():
            raise UserError(f"{folder}: log-probabilities on {name!r} are not finite; it has diverged, or needs fp32")
        table = per_item(task.type, items, owners, mean, greedy)
        table.insert(0, "item", chosen)
        table.to_parquet(out / f"{name}.parquet", index=False)
        value, baseline = float(table["correct"].mean()), icl_items.baseline(items, task)
        result = {
            "checkpoint": spec["checkpoint"],
            "task": name,
            "type": task.type,
            "metric": "accuracy",
            "value": value,
            "baseline": baseline,
            "score": (value - baseline) / (1 - baseline),
            "stderr": math.sqrt(value * (1 - value) / len(table)),
            "n_items": len(table),
            "trimmed": trimmed,
            "dropped": dropped,
        }
        (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        yield name


def sequences(
    tokenizer: PreTrainedTokenizerBase, prompts: list[str], items: list[Item], max_length: int
) -> tuple[np.ndarray, list[tuple[list[int], int]], int]:
    """For each choice of each item: the number of its item, and its (ids, length of continuation) behind the prompt.

    Last, how many of them had to be cut to `max_length` tokens.
    """
    owners = np.repeat(np.arange(len(items)), [len(item.choices) for item in items])
    contexts = context_ids(tokenizer, prompts)
    choices = continuation_ids(tokenizer, [choice for item in items for choice in item.choices])
    pairs = [(contexts[owner], ids) for owner, ids in zip(owners, choices, strict=True)]
    joined = [join(*pair, max_length) for pair in pairs]
    trimmed = sum(len(context) + len(choice) > max_length for context, choice in pairs)
    return owners, joined, trimmed


def per_item(kind: str, items: list[Item], owners: np.ndarray, mean: np.ndarray, greedy: np.ndarray) -> pd.DataFrame:
    """One row an item: gold, prediction, correct, and the mean log-probability of each choice.

    multiple_choice predicts the choice of lowest perplexity per token, the first one among equals. language_modeling is
    correct (prediction 0, else -1) if every token of the continuation is the most probable one.
    """
    gold = np.array([item.gold for item in items])
    logprobs = np.split(mean, np.flatnonzero(np.diff(owners)) + 1)
    if kind == "language_modeling":
        predicted = np.where(greedy, 0, -1)
    else:
        predicted = np.array([int(np.argmax(row)) for row in logprobs])
    return pd.DataFrame({"gold": gold, "prediction": predicted, "correct": predicted == gold, "logprobs": logprobs})
