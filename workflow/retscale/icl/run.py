"""The stage `icl`: one checkpoint on a batch of in-context tasks, <task>.json and <task>.parquet each."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from retscale.checkpoint.card import Card
from retscale.errors import UserError
from retscale.icl import items as icl_items
from retscale.icl import sandbox
from retscale.icl.answer import matches
from retscale.icl.average import centered
from retscale.icl.config import IclTask, Spec
from retscale.icl.decoder import Decoder
from retscale.icl.generate import generate
from retscale.icl.item import Item
from retscale.icl.prompt import Tokens, answer_length, build, cut, join, shots, tokens
from retscale.icl.result import IclResult
from retscale.icl.score import score
from retscale.icl.summary import accuracy, accuracy_by_normalization, bits_per_byte, mean_bits, oddities
from retscale.model import accelerator
from retscale.model.device import device, dtype, use_threads
from retscale.model.layout import tokens_at_once
from retscale.model.load import load_causal_lm, load_tokenizer
from retscale.model.tokenize import own_ends

MOST_TOKENS = 16384  # at once: of half of them, say, there are logits, each as many as words
TEMPERATURE = 0.2  # of programs, as released; all else is the most probable token


@dataclass(frozen=True)
class Reader:
    """A loaded checkpoint and how it is used."""

    decoder: Decoder
    tokenizer: PreTrainedTokenizerBase
    max_length: int | None
    tokens_per_batch: int
    seed: int


def run(values: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Score each task of `spec`, yielding its name when its files are written."""
    spec = Spec.model_validate(values)
    accelerator.ready()
    card = Card.read(inputs["card"])
    if card.id != spec.checkpoint:
        raise UserError(
            f"--card: {inputs['card']} is of the checkpoint {card.id!r}, but the spec says {spec.checkpoint!r}; "
            "correct one of them"
        )
    use_threads(spec.threads)
    folder = card.folder(inputs["card"])
    tokenizer = load_tokenizer(folder)
    model = load_causal_lm(folder, dtype(spec.precision)).to(device())
    decoder = Decoder(model, tokenizer.pad_token_id)
    at_once = tokens_at_once(min(spec.tokens_per_batch, MOST_TOKENS), model.config.hidden_size)
    reader = Reader(decoder, tokenizer, card.max_length, at_once, spec.seed)
    files = {path.parent.name: path for path in inputs.get("tasks", [])}
    for name, task in spec.tasks.items():
        try:
            result, table = evaluate(task, name, files.get(name), reader)
        except UserError as error:
            raise UserError(f"in-context task {name!r} on {folder}: {error}") from None
        table.to_parquet(out / f"{name}.parquet", index=False)
        result = {"checkpoint": spec.checkpoint, "task": name, **result}
        IclResult.write(out / f"{name}.json", result)
        yield name


def evaluate(task: IclTask, name: str, fetched: Path | None, reader: Reader) -> tuple[dict, pd.DataFrame]:
    """The result of one task, and its table of items."""
    all_items, source = icl_items.read(task, fetched)
    examples = shots(all_items, task)
    chosen = icl_items.sample(all_items, task)
    parts = tokens(reader.tokenizer, [build(all_items[i], [all_items[j] for j in examples[i]], task) for i in chosen])
    limit = min(task.max_length, reader.max_length or task.max_length)
    generated = answer_length(reader.tokenizer, all_items, task) if task.generated else 0
    longer = [sum(length > limit for length in lengths(part, generated)) for part in parts]
    if task.too_long == "skip":
        kept = [place for place, count in enumerate(longer) if not count]
        require_items([all_items[i] for i in chosen], [all_items[chosen[place]] for place in kept], task, limit)
        chosen, parts = [chosen[place] for place in kept], [parts[place] for place in kept]
    skipped, trimmed = (sum(map(bool, longer)), 0) if task.too_long == "skip" else (0, sum(longer))
    items = [all_items[i] for i in chosen]
    if task.generated:
        table = generate_answers(task, name, items, parts, generated, limit, reader)
    else:
        table = score_choices(task, name, items, parts, limit, reader)
    table.insert(0, "item", chosen)
    categories = [item.category if task.categories else "" for item in items]
    if task.categories:
        table.insert(1, "category", categories)
    baseline = icl_items.baseline(items, task)
    result = {
        "type": task.type,
        "metric": "accuracy",
        **summarize(table, categories, baseline, reader.seed, name),
        "n_items": len(table),
        "shots": task.shots,
        "max_length": limit,
        "trimmed": trimmed,
        "skipped": skipped,
        **source,
        "executed": task.execute if task.type == "code_evaluation" else None,
        "tied": int(table["tied"].sum()) if "tied" in table else 0,
        "odd": oddities(items, task, baseline),
        "whole": reader.decoder.unshareable,
    }
    if task.type == "multiple_choice":
        result["value_by"] = {"token": result["value"], **accuracy_by_normalization(table, items, categories)}
    if not task.generated:
        table["bits_per_byte"] = bits_per_byte(table, items)
        result |= mean_bits(table["bits_per_byte"], categories)
    return result, table


def lengths(part: Tokens, generated: int) -> list[int]:
    """Tokens of each text of an item: its context with what is scored, or with what will be generated."""
    ends = [len(end) for end in part.ends] or [generated]
    return [len(context) + end for context in part.contexts for end in ends]


def require_items(before: list[Item], after: list[Item], task: IclTask, limit: int) -> None:
    """UserError if no item is left to score, or none of a category."""
    emptied = {item.category for item in before} - {item.category for item in after}
    if not after or (task.categories and emptied):
        where = f"of the categories {', '.join(sorted(emptied))}" if task.categories else "of the task"
        raise UserError(
            f"all items {where} are longer than {limit} tokens, and too_long is `skip`; raise its `max_length`, cut "
            "them, or remove the task for this model"
        )


def summarize(table: pd.DataFrame, categories: list[str], baseline: float, seed: int, name: str) -> dict:
    """Accuracy and score, (accuracy - baseline) / (1 - baseline); all None where generated programs were not run."""
    if table["correct"].isna().any():
        return {"value": None, "stderr": None, "baseline": baseline, "score": None}
    result = accuracy(table["correct"], categories, seed, name)
    return result | {"baseline": baseline, "score": centered(result["value"], baseline)}


def score_choices(
    task: IclTask, name: str, items: list[Item], parts: list[Tokens], limit: int, reader: Reader
) -> pd.DataFrame:
    """One row per item: gold, prediction, correct; for each choice its mean log-probability and its number of tokens.

    The choice of lowest perplexity per token is predicted, the first one among equals (`tied`). language_modeling is
    correct (prediction 0, else -1) if every token of the continuation is the most probable one.
    """
    head = own_ends(reader.tokenizer)[0]
    pairs = [[(context, end) for context in part.contexts for end in part.ends] for part in parts]
    owners = np.repeat(np.arange(len(items)), [len(item_pairs) for item_pairs in pairs])
    joined = [join(context, end, limit, head) for item_pairs in pairs for context, end in item_pairs]
    mean, greedy = score(reader.decoder, joined, owners.tolist(), reader.tokens_per_batch, name)
    if not np.isfinite(mean).all():
        raise UserError("log-probabilities are not finite; the model has diverged, or needs fp32")
    cuts = np.flatnonzero(np.diff(owners)) + 1
    logprobs, sizes = np.split(mean, cuts), np.split(np.array([length for _, length in joined]), cuts)
    gold = np.array([item.gold for item in items])
    if task.type == "language_modeling":
        predicted, tied = np.where(greedy, 0, -1), np.zeros(len(items), dtype=bool)
    else:
        predicted = np.array([int(np.argmax(row)) for row in logprobs])
        tied = np.array([int((row == row.max()).sum() > 1) for row in logprobs], dtype=bool)
    columns = {"gold": gold, "prediction": predicted, "correct": predicted == gold, "tied": tied}
    return pd.DataFrame(columns | {"logprobs": logprobs, "tokens": sizes})


def generate_answers(
    task: IclTask, name: str, items: list[Item], parts: list[Tokens], new_tokens: int, limit: int, reader: Reader
) -> pd.DataFrame:
    """One row per item: the generated text and whether it is correct; both missing for programs that nothing runs."""
    code = task.type == "code_evaluation"
    if code and not task.execute:
        nothing = [None] * len(items)
        return pd.DataFrame(
            {"output": pd.array(nothing, dtype="string"), "correct": pd.array(nothing, dtype="boolean")}
        )
    if code:
        sandbox.require({item.program.language for item in items})
    room = limit - new_tokens
    if room < 1:
        raise UserError(f"answers of {new_tokens} tokens leave no room for a prompt in {limit}; remove the task")
    head = own_ends(reader.tokenizer)[0]
    prompts = [cut(part.contexts[0], room, head) for part in parts]
    outputs = generate(
        reader.decoder,
        reader.tokenizer,
        prompts,
        new_tokens,
        reader.tokens_per_batch,
        name,
        stop=task.stop,
        temperature=TEMPERATURE if code else 0.0,
        seed=reader.seed,
    )
    if code:
        correct = sandbox.passes([(item.context, output, item.program) for output, item in zip(outputs, items)], name)
    else:
        correct = [matches(output, item.choices, task) for output, item in zip(outputs, items)]
    return pd.DataFrame({"output": outputs, "correct": pd.array(correct, dtype="boolean")})
