"""The gauntlet's averages: categories of tasks, and means of categories.

Each is absent, never partial, if one of its parts is missing. (The release averages the categories that remain.)
"""

import math
from typing import NamedTuple


class Average(NamedTuple):
    """`kind` is category or average; score and stderr are None if any part is `missing`."""

    kind: str
    name: str
    score: float | None
    stderr: float | None
    missing: list[str]


def centered(value: float, baseline: float) -> float:
    """The share of the way from the baseline to 1; below the baseline it is negative."""
    return (value - baseline) / (1 - baseline)


def averages(scores: dict[str, tuple[float, float]], gauntlet: dict) -> list[Average]:
    """Every category and average of `gauntlet`, {"categories": {name: tasks}, "averages": {name: categories}}.

    `scores` gives each task's centered score with its standard error; tasks err independently, so errors add in squares.
    An average of one category that has its name, as DCLM's Core, is one entry, which names the tasks that it lacks.
    """
    categories = {name: _mean("category", name, tasks, scores) for name, tasks in gauntlet["categories"].items()}
    category_scores = {
        name: (category.score, category.stderr) for name, category in categories.items() if category.score is not None
    }
    means = [
        categories.pop(name)._replace(kind="average")
        if parts == [name]
        else _mean("average", name, parts, category_scores)
        for name, parts in gauntlet["averages"].items()
    ]
    return [*categories.values(), *means]


def _mean(kind: str, name: str, parts: list[str], scores: dict[str, tuple[float, float]]) -> Average:
    missing = [part for part in parts if part not in scores]
    if missing:
        return Average(kind, name, None, None, missing)
    error = math.sqrt(sum(scores[part][1] ** 2 for part in parts)) / len(parts)
    return Average(kind, name, sum(scores[part][0] for part in parts) / len(parts), error, [])
