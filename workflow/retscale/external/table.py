"""A published table, read and checked: every row is taken, known to be of no concern, or refused."""

import csv
import math
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
    """One value of a model on a task of the study, and the line that it stands in."""

    model: str
    task: str
    value: float
    n_params: float | None
    n_tokens: float | None
    origin: str
    line: int


def read_all(paths: list[Path], told: list[Published]) -> list[tuple[list[Row], int]]:
    """What `read` gives of each table; UserError also for what only two of them show together."""
    found = [read(path, one) for path, one in zip(paths, told, strict=True)]
    consistent([(path, row) for path, (rows, _) in zip(paths, found, strict=True) for row in rows])
    return found


def read(path: Path, told: Published) -> tuple[list[Row], int]:
    """The rows of the study's tasks, in the order of the file, and how many are of other known tasks.

    UserError names the file, the line and what is wrong: a missing column, an unknown task or model, a value outside
    [0, 1], a model that has two values for a task or two sizes.
    """
    found, elsewhere, lines = [], 0, {}
    for line, cells in _lines(path, _wanted(told)):
        where = f"{path}, line {line}"
        model, name = cells[told.columns.model].strip(), cells[told.columns.task].strip()
        if not model:
            raise UserError(f"{where}: the model has no name")
        if name not in told.names:
            raise UserError(
                f"{where}: unknown task {name!r}{hint(name, told.names)}; name the study's under `tasks: "
                f"{{{name}: ...}}`"
            )
        lines.setdefault(model, line)
        if told.models is not None and model not in told.models:
            continue
        task = told.names[name]
        if task is None:
            elsewhere += 1
            continue
        _check_split(cells, told, task, where)
        row = Row(
            model,
            task,
            _value(cells[told.columns.value or told.metric], metric(told.metric), where),
            _count(cells, told.columns.n_params, where),
            _count(cells, told.columns.n_tokens, where),
            cells[told.columns.origin].strip() if told.columns.origin else "",
            line,
        )
        found.append(row)
    for model in told.models or ():
        if model not in lines:
            raise UserError(f"{path}: there is no model {model!r}{hint(model, lines)}")
    if not found:
        raise UserError(f"{path} holds no value of a task of this study")
    consistent([(path, row) for row in found])
    return found, elsewhere


def consistent(rows: list[tuple[Path, Row]]) -> None:
    """Refuse a model that is given twice for a task, or with different parameters or tokens."""
    values, sizes = {}, {}
    for path, row in rows:
        here = f"{path}, line {row.line}"
        if (row.model, row.task) in values:
            raise UserError(
                f"{here}: {row.model} has a second value for {row.task}; the first is {values[row.model, row.task]}"
            )
        values[row.model, row.task] = here
        size, first = sizes.setdefault(row.model, ((row.n_params, row.n_tokens), here))
        if size != (row.n_params, row.n_tokens):
            raise UserError(f"{here}: {row.model} has other parameters or tokens than at {first}")


def _wanted(told: Published) -> list[str]:
    names = Columns(**told.columns.model_dump() | {"value": told.columns.value or told.metric}).model_dump()
    return [name for name in names.values() if name is not None]


def _lines(path: Path, wanted: list[str]):
    """The line number and the cells of each row; UserError if the file is no table with the columns `wanted`."""
    require_regular(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, strict=True)
            has = rows.fieldnames or []
            if missing := [name for name in wanted if name not in has]:
                raise UserError(
                    f"{path} has no column {', '.join(missing)}; it has {', '.join(has) or 'none'}; say under `columns` "
                    "what they are called"
                )
            if len(set(has)) < len(has):
                raise UserError(f"{path} names a column twice: {', '.join(has)}")
            for cells in rows:
                if None in cells or None in cells.values():
                    raise UserError(f"{path}, line {rows.line_num}: has not the {len(has)} cells of the header")
                if not all(map(is_text, cells.values())):
                    raise UserError(f"{path}, line {rows.line_num}: holds a control character; leave it out")
                yield rows.line_num, cells
    except FileNotFoundError:
        raise UserError(f"there is no table {path}; put it there or correct `table`") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot read the table {path}: {error}") from None


def _value(text: str, metric: Metric, where: str) -> float:
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


def _check_split(cells: dict[str, str], told: Published, task: str, where: str) -> None:
    if told.columns.split is None or task not in told.splits:
        return
    has, wants = cells[told.columns.split].strip(), told.splits[task]
    if SPLITS.get(has, has) != SPLITS.get(wants, wants):
        raise UserError(
            f"{where}: the value for {task} is of the split {has!r}, this study's of {wants!r}, so they do not compare; "
            "leave this model out: list those to take under `models`"
        )
