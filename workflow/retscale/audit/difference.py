"""Where two things that should be the same first differ, in the terms of their format."""

import csv
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.common import jsonl, parquet
from retscale.errors import UserError

LONGEST = 60  # characters of a value that are shown
TEXT = {".md", ".txt", ".svg", ".html"}
_ABSENT = object()

Difference = tuple[str, object, object]  # where, and the value of either


def of_files(then: Path, now: Path) -> str:
    """The first difference of two files whose bytes differ."""
    try:
        return _first(_of_format(then, now)) or "it has other bytes"
    except (UserError, OSError, ValueError, csv.Error) as error:
        return f"it has other bytes, and cannot be compared: {error}"


def of_tables(then: pd.DataFrame, now: pd.DataFrame, tolerance: float = 0.0) -> str:
    """The first difference of two tables; numbers may differ by `tolerance`. Empty if there is none."""
    return _first(_tables(then, now, tolerance))


def of_objects(then: object, now: object, tolerance: float = 0.0) -> str:
    """The same of two JSON values."""
    return _first(_nested("", then, now, tolerance))


def _first(differences: Iterator[Difference]) -> str:
    for place, then, now in differences:
        return f"{place} is {_shown(then)}, made again {_shown(now)}"
    return ""


def _shown(value: object) -> str:
    if value is _ABSENT:
        return "absent"
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


def _of_format(then: Path, now: Path) -> Iterator[Difference]:
    kind = then.suffix
    if kind == ".json":
        yield from _nested("", jsonl.whole(then), jsonl.whole(now))
    elif kind == ".jsonl":
        for number, a, b in _numbered(jsonl.objects(then), jsonl.objects(now)):
            yield from _nested(f"line {number}", a, b)
    elif kind == ".csv":
        a, b = (enumerate(csv.DictReader(text for _, text in jsonl.lines(path)), 2) for path in (then, now))
        for number, x, y in _numbered(a, b):
            yield from _nested(f"line {number}", x, y)
    elif kind == ".parquet":
        yield from _tables(parquet.read(then), parquet.read(now))
    elif kind in TEXT:
        for number, a, b in _numbered(jsonl.lines(then), jsonl.lines(now)):
            at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            yield f"line {number}, from character {at + 1},", a[at:], b[at:]


def _numbered(a: Iterable[tuple], b: Iterable[tuple]) -> Iterator[tuple]:
    """Where two numbered sequences differ: the number and both values."""
    for (number, x), (other, y) in itertools.zip_longest(a, b, fillvalue=(None, "")):
        if x != y:
            yield number or other, x, y


def _nested(place: str, a: object, b: object, tolerance: float = 0.0) -> Iterator[Difference]:
    """Where two JSON values differ; a key that only one has is absent from the other."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a | b:
            here = f"{place}.{key}" if place else key
            yield from _nested(here, a.get(key, _ABSENT), b.get(key, _ABSENT), tolerance)
    elif isinstance(a, list) and isinstance(b, list):
        for number, (x, y) in enumerate(itertools.zip_longest(a, b, fillvalue=_ABSENT), 1):
            yield from _nested(f"{place}[{number}]", x, y, tolerance)
    elif not _same(a, b, tolerance):
        yield place or "all of it", a, b


def _tables(a: pd.DataFrame, b: pd.DataFrame, tolerance: float = 0.0) -> Iterator[Difference]:
    if list(a.columns) != list(b.columns):
        yield "the list of columns", list(a.columns), list(b.columns)
    elif len(a) != len(b):
        yield "the number of rows", len(a), len(b)
    else:
        for name in (name for name in a.columns if not a[name].equals(b[name])):
            for row, (x, y) in enumerate(zip(a[name], b[name]), 1):
                yield from _nested(f"row {row}, {name}", _plain(x), _plain(y), tolerance)


def _plain(value: object) -> object:
    """A cell of a table as JSON has it."""
    return value.tolist() if isinstance(value, (np.generic, np.ndarray)) else value


def _same(a: object, b: object, tolerance: float) -> bool:
    """Of two texts or numbers; NaN is itself."""
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or abs(a - b) <= tolerance
    return type(a) is type(b) and a == b
