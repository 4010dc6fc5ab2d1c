"""TASK.json of `leakage`: how many texts of a task occur in the training data."""

from typing import ClassVar

from pydantic import BaseModel

from retscale.common.artifact import Artifact


class Overlap(BaseModel):
    """Of the `texts` in a `part` of the task, those found in each side of the training data set `pairs`: equal to one
    of its texts, or sharing a `run` of words with one.
    """

    part: str
    texts: int
    pairs: str
    exact: dict[str, int]
    run: dict[str, int]


class Leakage(Artifact):
    """`words`: the length of a run."""

    ensure_ascii: ClassVar[bool] = True

    task: str
    words: int
    overlap: list[Overlap]
