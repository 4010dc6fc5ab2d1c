"""The stage `icl`: one checkpoint on a batch of in-context tasks, <task>.json and <task>.parquet each."""

import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.errors import UserError
from retscale.icl import items as icl_items
from retscale.icl.config import IclTask
from retscale.icl.score import context_ids, continuation_ids, join, score
from retscale.model.device import device, dtype
from retscale.model.load import load_causal_lm, load_tokenizer


def run(spec: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Score each task of `spec`, yielding its name when its files are written."""
    card = json.loads(inputs["card"].read_text(encoding="utf-8"))
    folder = inputs["card"].parent / card["model"]
    model = load_causal_lm(folder, dtype(spec["precision"])).to(device())
    tokenizer = load_tokenizer(folder)
    for name, config in spec["tasks"].items():
        started = time.monotonic()
        task = IclTask.model_validate(config)
        all_items, dropped = icl_items.read(task)
        chosen = icl_items.sample(all_items, task)
        if len(chosen) <= task.shots:
            raise UserError(f"in-context task {name!r} has {len(chosen)} items, too few for {task.shots} shots; look at its source")
        table, trimmed = answer(model, tokenizer, task, all_items, chosen, card["max_length"], spec["tokens_per_batch"], name)
        table.to_parquet(out / f"{name}.parquet", index=False)
        value, baseline = float(table["correct"].mean()), icl_items.baseline([all_items[i] for i in chosen], task)
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
            "seconds": round(time.monotonic() - started, 3),
        }
        (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        yield name


def answer(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    task: IclTask,
    items: list[icl_items.Item],
    chosen: list[int],
    max_length: int,
    tokens_per_batch: int,
    name: str,
) -> tuple[pd.DataFrame, int]:
    """One row for each item of `chosen`, and how many texts had to be cut to `max_length` tokens.

    The prediction is the choice of lowest perplexity per token, the first one among equals. A language_modeling item is
    correct if every token of its continuation is the most probable one.
    """
    contexts = context_ids(tokenizer, [icl_items.prompt(items, i, task) for i in chosen])
    owners = np.repeat(np.arange(len(chosen)), [len(items[i].choices) for i in chosen])
    continuations = continuation_ids(tokenizer, [choice for i in chosen for choice in items[i].choices])
    joined = [join(contexts[owner], ids, max_length) for owner, ids in zip(owners, continuations)]
    trimmed = sum(len(contexts[o]) + len(c) > len(ids) for o, c, (ids, _) in zip(owners, continuations, joined))
    mean, greedy = score(model, joined, tokenizer.pad_token_id, tokens_per_batch, name)
    if not np.isfinite(mean).all():
        raise UserError(f"in-context task {name!r}: the model gives log-probabilities that are not finite; it has diverged, or needs fp32")
    starts = np.searchsorted(owners, np.arange(len(chosen) + 1))
    logprobs = [mean[a:b].tolist() for a, b in zip(starts[:-1], starts[1:])]
    gold = np.array([items[i].gold for i in chosen])
    if task.type == "language_modeling":
        predicted, correct = np.where(greedy, 0, -1), greedy
    else:
        predicted = np.array([int(np.argmax(row)) for row in logprobs])
        correct = predicted == gold
    table = pd.DataFrame({"item": chosen, "gold": gold, "prediction": predicted, "correct": correct, "logprobs": logprobs})
    return table, int(trimmed)
