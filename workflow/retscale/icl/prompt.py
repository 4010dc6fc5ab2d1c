"""Prompts as the MosaicML gauntlet builds them (llm-foundry, eval/datasets/in_context_learning_evaluation.py)."""

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from retscale.errors import UserError
from retscale.icl.config import IclTask
from retscale.icl.item import Item

EXTRA_TOKENS = 10  # tokens that an answer behind a chain of thought, or a program, may have beyond the longest


@dataclass(frozen=True)
class Prompt:
    """Solved examples, then a context, then what is scored (nothing where an answer is generated).

    Each part is tokenized by itself. Either there are several contexts (schema) or several ends (multiple choice).
    """

    examples: str
    contexts: tuple[str, ...]
    ends: tuple[str, ...]


def shots(items: list[Item], task: IclTask) -> list[list[int]]:
    """For each item the positions of its solved examples, in their order.

    One stream of random numbers runs through the items of a data set (of a category, where the task has them), so an
    item's examples do not depend on which items are scored.
    """
    members = defaultdict(list)
    for i, item in enumerate(items):
        members[item.category if task.categories else ""].append(i)
    examples: list[list[int]] = [[]] * len(items)
    for category, indices in members.items():
        if len(indices) <= task.shots:
            where = f"the category {category!r} has" if category else "there are"
            raise UserError(f"{where} {len(indices)} items, too few for {task.shots} shots")
        stream = random.Random(task.shot_seed)
        for position, i in enumerate(indices):
            examples[i] = [indices[other] for other in _others(position, len(indices), task.shots, stream)]
    return examples


def _others(index: int, size: int, count: int, stream: random.Random) -> Iterable[int]:
    """`count` positions below `size` without `index`, drawn as released: a set of integers, in that set's own order."""
    if not count:
        return []
    chosen = set(stream.sample(range(size), count))
    if index in chosen:
        chosen.remove(index)
        if len(chosen) < size - 1:
            other = stream.choice(range(size))
            while other in chosen or other == index:
                other = stream.choice(range(size))
            chosen.add(other)
    return chosen


def build(item: Item, examples: list[Item], task: IclTask) -> Prompt:
    """The prompt of `item` behind `examples`."""
    before = ""
    for example in examples:
        before += _with_delimiters(_question(example), task, before) + task.delimiter + _solution(example, task)
    if task.type == "schema":
        between = task.delimiter.rstrip() if before else ""
        return Prompt(before, tuple(_with_delimiters(o, task, before) + between for o in item.choices), (item.end,))
    context = _with_delimiters(item.context, task, before) + task.delimiter
    if task.type == "code_evaluation":
        return Prompt(before, (context,), ())
    # A prompt that ends in a blank would split the next word's token.
    return Prompt(before, (context.rstrip(),), () if task.type == "generation_task_with_answers" else item.choices)


def _question(item: Item) -> str:
    return item.choices[item.gold] if item.end else item.context


def _with_delimiters(text: str, task: IclTask, before: str) -> str:
    """A question behind the delimiters that open it; in a schema they stand in the other order."""
    between = task.example_delimiter if before else ""
    return task.prelimiter + between + text if task.type == "schema" else between + task.prelimiter + text


def _solution(item: Item, task: IclTask) -> str:
    """What stands behind the delimiter of a solved example."""
    if task.type == "schema":
        return item.end
    answer = item.choices[item.gold]
    if task.type == "generation_task_with_answers":
        answer = answer.strip()
        return answer if item.thought is None else f"{item.thought.strip()}{task.cot_delimiter}{answer}"
    return answer


@dataclass(frozen=True)
class Tokens:
    """Token ids of a prompt's parts: contexts with the examples before them, and ends."""

    contexts: list[list[int]]
    ends: list[list[int]]


def needs_prefix_space(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a word in mid-text starts with a blank: true of byte-level BPE, false of SentencePiece."""
    return len(tokenizer(" a", add_special_tokens=False)["input_ids"]) == 1


def tokens(tokenizer: PreTrainedTokenizerBase, prompts: list[Prompt]) -> list[Tokens]:
    """Special tokens come before the examples only. An end stands behind a blank where the tokenizer needs one.

    A prompt without any token becomes the one that starts (or separates) texts: something must precede what is scored.
    """
    blank = needs_prefix_space(tokenizer)
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    examples = _ids(tokenizer, {prompt.examples for prompt in prompts}, special=True)
    examples = {text: _without_eos(ids, tokenizer.eos_token_id) for text, ids in examples.items()}
    contexts = _ids(tokenizer, {text for prompt in prompts for text in prompt.contexts})
    spaced = {end: f" {end}" if blank and not end.startswith(" ") else end for p in prompts for end in p.ends}
    ends = _ids(tokenizer, set(spaced.values()))
    return [
        Tokens(
            [examples[prompt.examples] + contexts[text] or [start] for text in prompt.contexts],
            [ends[spaced[end]] for end in prompt.ends],
        )
        for prompt in prompts
    ]


def _ids(tokenizer: PreTrainedTokenizerBase, texts: set[str], special: bool = False) -> dict[str, list[int]]:
    ordered = sorted(texts)
    return dict(zip(ordered, tokenizer(ordered, add_special_tokens=special)["input_ids"])) if ordered else {}


def _without_eos(ids: list[int], eos: int | None) -> list[int]:
    """A tokenizer that ends texts would put its mark between the examples and the question."""
    return ids[:-1] if eos is not None and len(ids) > 1 and ids[-1] == eos else ids


def cut(context: list[int], room: int, head: list[int]) -> list[int]:
    """The last of the context's tokens in `room`, behind the `head` that it begins with.

    `head` is what the tokenizer puts before every text. The gauntlet cuts it off with the beginning (llm-foundry,
    trim_context), so that a model would read a text without the start that it has always seen: here it stays.
    """
    if len(context) <= room:
        return context
    kept_head = head if context[: len(head)] == head and len(head) < room else []
    return kept_head + context[len(context) - room + len(kept_head) :]


def join(context: list[int], end: list[int], max_length: int, head: list[int]) -> tuple[list[int], int]:
    """Both in at most `max_length` tokens, the context `cut`, and how many of the last tokens are scored.

    UserError if what is scored leaves no token of the context.
    """
    if len(end) >= max_length:
        raise UserError(
            f"a text of {len(end)} tokens is to be scored after a prompt, but only {max_length} tokens fit; raise the "
            "task's `max_length`, or remove the task for this model"
        )
    return cut(context, max_length - len(end), head) + end, len(end)


def answer_length(tokenizer: PreTrainedTokenizerBase, items: list[Item], task: IclTask) -> int:
    """Tokens to generate: those of the longest accepted answer of the data set, and some more behind a thought."""
    if task.type == "code_evaluation":
        texts = {item.choices[0] for item in items}
        return max(map(len, _ids(tokenizer, texts).values())) + EXTRA_TOKENS
    thoughts = [(item, "" if item.thought is None else item.thought + task.cot_delimiter) for item in items]
    texts = {thought + answer for item, thought in thoughts for answer in item.choices}
    longest = max(map(len, _ids(tokenizer, texts, special=True).values()))
    return longest + (EXTRA_TOKENS if task.cot_delimiter else 0)
