"""A published table, read and checked: every row is taken, skipped (another task or model), or refused."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retscale.common.phrase import hint
from retscale.common.regular import require_regular
from retscale.common.terminal import is_text
from retscale.errors import UserError
from retscale.evaluate.metrics import Metric, metric
from retscale.external.config import Columns, Published

SPLITS = {"validation": "dev"}  # two names of one split


@dataclass(frozen=True)
class Row:
    """One value of a model on a task of the study, and the line that it stands in; None of a file that is this value's."""

    model: str
    task: str
    value: float
    n_params: float | None
    n_tokens: float | None
    origin: str
    file: Path
    line: int | None

    @property
    def place(self) -> str:
        return str(self.file) if self.line is None else f"{self.file}, line {self.line}"


def read(path: Path, published: Published) -> tuple[list[Row], int]:
    """The rows of the study's tasks, in the order of the file, and how many are of other known tasks.

    UserError names the file, the line and what is wrong: a missing column, an unknown task or model, a value outside
    [0, 1], a model that has two values for a task or two sizes.
    """
    rows, elsewhere, first_lines = [], 0, {}
    for line, cells in lines(path, _column_names(published)):
        where = f"{path}, line {line}"
        model, name = cells[published.columns.model].strip(), cells[published.columns.task].strip()
        if not model:
            raise UserError(f"{where}: the model has no name")
        if name not in published.names:
            raise UserError(
                f"{where}: unknown task {name!r}{hint(name, published.names)}; name the study's under `tasks: "
                f"{{{name}: ...}}`"
            )
        first_lines.setdefault(model, line)
        if published.models is not None and model not in published.models:
            continue
        task = published.names[name]
        if task is None:
            elsewhere += 1
            continue
        _check_split(cells, published, task, where)
        row = Row(
            model,
            task,
            value_of(cells[published.columns.value or published.metric], metric(published.metric), where),
            _count(cells, published.columns.n_params, where),
            _count(cells, published.columns.n_tokens, where),
            cells[published.columns.origin].strip() if published.columns.origin else "",
            path,
            line,
        )
        rows.append(row)
    for model in published.models or ():
        if model not in first_lines:
            raise UserError(f"{path}: there is no model {model!r}{hint(model, first_lines)}")
    if not rows:
        raise UserError(f"{path} holds no value of a task of this study")
    require_consistent(rows)
    return rows, elsewhere


def read_sizes(path: Path, columns: Columns) -> dict[str, tuple[float | None, float | None, str]]:
    """Parameters, tokens and their origin of each model, of a table with one row per model.

    UserError names the file, the line and what is wrong.
    """
    n_params, n_tokens = columns.n_params or "n_params", columns.n_tokens or "n_tokens"
    sizes: dict[str, tuple[float | None, float | None, str]] = {}
    for line, cells in lines(path, [columns.model, n_params, n_tokens, *filter(None, [columns.origin])]):
        where, model = f"{path}, line {line}", cells[columns.model].strip()
        if model in sizes:
            raise UserError(f"{where}: {model} has a second row; keep one")
        origin = cells[columns.origin].strip() if columns.origin else ""
        sizes[model] = _count(cells, n_params, where), _count(cells, n_tokens, where), origin
    return sizes


def require_consistent(rows: list[Row]) -> None:
    """Refuse a model that is given twice for a task, or with different parameters or tokens."""
    values, sizes = {}, {}
    for row in rows:
        if (row.model, row.task) in values:
            raise UserError(
                f"{row.place}: {row.model} has a second value for {row.task}; the first is {values[row.model, row.task]}"
            )
        values[row.model, row.task] = row.place
        size, first = sizes.setdefault(row.model, ((row.n_params, row.n_tokens), row.place))
        if size != (row.n_params, row.n_tokens):
            raise UserError(f"{row.place}: {row.model} has other parameters or tokens than at {first}")


def _column_names(published: Published) -> list[str]:
    names = Columns(
        **published.columns.model_dump() | {"value": published.columns.value or published.metric}
    ).model_dump()
    return [name for name in names.values() if name is not None]


def lines(path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The line number and the cells of each row; UserError if the file is no table with all these `columns`."""
    require_regular(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            header = rows.fieldnames or []
            if missing := [name for name in columns if name not in header]:
                raise UserError(
                    f"{path} has no column {', '.join(missing)}; it has {', '.join(header) or 'none'}; say under `columns` "
                    "what they are called"
                )
            if len(set(header)) < len(header):
                raise UserError(f"{path} names a column twice: {', '.join(header)}")
            for cells in rows:
                if None in cells or None in cells.values():
                    raise UserError(
                        f"{path}, line {rows.line_num}: does not have the {len(header)} cells of the header"
                    )
                if not all(map(is_text, cells.values())):
                    raise UserError(f"{path}, line {rows.line_num}: holds a control character; leave it out")
                yield rows.line_num, cells
    except FileNotFoundError:
        raise UserError(f"there is no table {path}; put it there or correct `table`") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the table {path}: {error}") from None


def value_of(text: str, metric: Metric, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UserError(f"{where}: the value {text!r} is not a number") from None
    if not metric.least <= value <= metric.most:  # neither is nan
        raise UserError(
            f"{where}: the value {text} lies outside {metric.least:g} to {metric.most:g}; percentages must be divided by 100"
        )
    return value


def _count(cells: dict[str, str], column: str | None, where: str) -> float | None:
    """Parameters or tokens; None if the table does not have them here."""
    if column is None or not (text := cells[column].strip()):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (value >= 1 and math.isfinite(value)):
        raise UserError(f"{where}: {column} is {text!r}, not a count; leave the cell empty if it is unknown")
    return value


def _check_split(cells: dict[str, str], published: Published, task: str, where: str) -> None:
    if published.columns.split is None or task not in published.splits:
        return
    split, expected = cells[published.columns.split].strip(), published.splits[task]
    if SPLITS.get(split, split) != SPLITS.get(expected, expected):
        raise UserError(
            f"{where}: the value for {task} is of the split {split!r}, this study's of {expected!r}, so they do not compare; "
            "leave this model out: list those to take under `models`"
        )
