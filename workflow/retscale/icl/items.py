"""The items of an in-context task, wherever they come from, and which of them are scored."""

import random
import re
from collections import Counter
from pathlib import Path

from retscale.common.wheel import WheelSource, rows
from retscale.errors import UserError
from retscale.icl import built, released
from retscale.icl.config import IclTask, Rows
from retscale.icl.item import Item


def read(task: IclTask, fetched: Path | None = None) -> tuple[list[Item], dict]:
    """All items of `task` before sampling, and facts about them: rows dropped by reason, or the file's sha256.

    `fetched` is the items.json of a task whose source has to be fetched. UserError if a category is missing.
    """
    if task.items.kind == "released":
        items, digest = released.read(released.locate(task.source, fetched), task.source, task.type)
        if task.categories and not all(item.category for item in items):
            raise UserError(f"{task.source.file}: the task has categories, but some items have no `category`")
        return items, {"sha256": digest}
    if task.items.kind == "rows":
        items, dropped = from_rows(task.source, task.items)
        return items, {"dropped": dropped}
    texts = [str(row[task.items.text]) for row in rows(task.source)]
    triples = built.BUILDERS[task.items.kind](task.items, texts, random.Random(task.seed))
    return [Item(*parts) for parts in triples], {"dropped": {}}


def sample(items: list[Item], task: IclTask) -> list[int]:
    """Indices of the items to score, in order."""
    if task.max_items is None or task.max_items >= len(items):
        return list(range(len(items)))
    return sorted(random.Random(task.seed).sample(range(len(items)), task.max_items))


def baseline(items: list[Item], task: IclTask) -> float:
    """The accuracy that scores 0 on `items`."""
    if task.baseline == "majority":
        return max(Counter(item.choices[item.gold] for item in items).values()) / len(items)
    if task.baseline == "chance":
        guessed = task.type in ("multiple_choice", "schema")
        return sum(1 / len(item.choices) for item in items) / len(items) if guessed else 0.0
    return task.baseline


def from_rows(source: WheelSource, config: Rows) -> tuple[list[Item], dict[str, int]]:
    items: list[Item] = []
    dropped: Counter[str] = Counter()
    for row in rows(source):
        try:
            context, answer = config.context.format(**row).strip(), row[config.answer]
            options = row[config.options] if isinstance(config.options, str) else config.options
        except KeyError as error:
            raise UserError(
                f"a row of {source.wheel} {source.files} has no field {error}; it has: {', '.join(row)}"
            ) from None
        if options is None:
            choices, gold = [str(answer).strip()], 0
        elif isinstance(options, dict):
            choices, gold = list(options.values()), _position(list(options), str(answer))
        else:
            choices = split_options(options)
            gold = _gold(choices, answer)
        if not all(choices):
            dropped["empty choice"] += 1
        elif gold is None:
            dropped["answer is not among the options"] += 1
        else:
            items.append(Item(context, tuple(choices), gold))
    return items, dict(dropped)


def split_options(text: str) -> list[str]:
    """The texts of "A. one\\nB. two"; letters count up from A, each at the start of a line. Empty if there are none."""
    starts: list[re.Match] = []
    while match := _option(len(starts)).search(text, starts[-1].end() if starts else 0):
        starts.append(match)
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [text[match.end() : end].strip() for match, end in zip(starts, ends)]


def _option(position: int) -> re.Pattern:
    return re.compile(rf"^[ \t]*{chr(ord('A') + position)}[.)]", re.MULTILINE)


def _gold(choices: list[str], answer: str | list[str]) -> int | None:
    answer = str(answer[0] if isinstance(answer, list) else answer).strip()
    letter = ord(answer[0]) - ord("A") if re.match(r"[A-Z][.)]", answer) else None
    if letter is not None and letter < len(choices) and choices[letter] == answer[2:].strip():
        return letter
    return _position(choices, answer)


def _position(values: list[str], value: str) -> int | None:
    return values.index(value) if value in values else None
