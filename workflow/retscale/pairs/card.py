"""pairs.json: the sizes of a training data set, what it leaves out, and the sha256 of its tables."""

from typing import ClassVar

from retscale.common.artifact import Artifact


class PairsCard(Artifact):
    """Of the `rows` of the source those `excluded` are counted by reason, the rest are `usable` pairs, of which `pairs`
    were taken. `held_out` and `overlap`: texts of each test, and rows that overlap it. The revisions are commits.
    """

    sort_keys: ClassVar[bool] = True

    id: str
    rows: int
    excluded: dict[str, int]
    held_out: dict[str, int]
    overlap: dict[str, int]
    usable: int
    pairs: int
    queries: int
    positives: int
    passages: int
    revision: str | None
    collection_revision: str | None
    files: dict[str, str]
