"""The scores of a study that has run, each by what it is of, with the file that it was read from."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from retscale.common.tables import read_table
from retscale.errors import UserError

IN_CONTEXT = "in context"


class Key(NamedTuple):
    """What a score is of. `step` is None of a last encoder; `recipe` is IN_CONTEXT of a checkpoint before fine-tuning;
    `length` is None where documents have the encoder's own."""

    checkpoint: str
    recipe: str
    step: int | None
    task: str
    metric: str
    length: int | None = None

    @property
    def encoder(self) -> str:
        step = [] if self.step is None else [f"step {self.step}"]
        length = [] if self.length is None else [f"{self.length} tokens"]
        return " / ".join([self.checkpoint, self.recipe, *step, *length])

    def __str__(self) -> str:
        return f"{self.encoder} / {self.task}  {self.metric}"


@dataclass(frozen=True)
class Score:
    """`file`: the result that it was read from, relative to the study's results; `sha256` of that."""

    value: float
    file: str
    sha256: str

    def distance(self, other: "Score") -> float:
        """How far apart the two values are; two that are no numbers are the same."""
        unknown = math.isnan(self.value), math.isnan(other.value)
        return abs(self.value - other.value) if not any(unknown) else 0.0 if all(unknown) else math.inf


def read(root: Path) -> dict[Key, Score]:
    """Of the study whose results lie in `root`; UserError if they have not been collected."""
    collect = root / "collect" / "collect.json"
    if not collect.is_file():
        raise UserError(f"{root} holds no collected results (no {collect.relative_to(root)}); run the study first")
    last, curves, icl = (read_table(collect, name) for name in ("scores", "curves", "icl"))
    try:
        icl = icl.assign(recipe=IN_CONTEXT, step=None)
        tables = [last.assign(step=None), curves, icl.assign(metric="value")]
        if "bits_per_byte" in icl:  # older tables have none
            bits = icl[icl["bits_per_byte"].notna()]
            tables.append(bits.assign(metric="bits_per_byte", value=bits["bits_per_byte"]))
        if (collect.parent / "lengths.parquet").is_file():  # older studies have none
            lengths = read_table(collect, "lengths")
            tables.append(lengths[~lengths["own"].astype(bool)].assign(step=None))
        return {key: score for table in tables for key, score in _rows(table)}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the tables beside {collect} are not of this version ({error}); run the study again") from None


def _rows(table: pd.DataFrame) -> Iterator[tuple[Key, Score]]:
    for row in table.itertuples():
        step = None if row.step is None else int(row.step)
        value = math.nan if row.value is None else float(row.value)
        length = int(row.length) if "length" in table else None
        key = Key(row.checkpoint, row.recipe, step, row.task, row.metric, length)
        yield key, Score(value, row.file, row.sha256)
