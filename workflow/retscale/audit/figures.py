"""A figure and the report against the tables: the hashes in their metadata, and the points beside a figure."""

import base64
import csv
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from retscale.audit.tables import near
from retscale.audit.walk import Node, Walk
from retscale.common import jsonl, parquet
from retscale.common.files import sha256
from retscale.common.tables import read_table
from retscale.fit import comparisons
from retscale.fit.seeds import joined_curves
from retscale.fit.summary import FitSummary
from retscale.fit.variants import in_mean
from retscale.provenance.behind import SHOWN, made_from
from retscale.report.figures import has_marks
from retscale.stages import STAGES

Problems = Iterator[tuple[Path, str]]
DRAWN = (".png", ".pdf", ".svg")
BY_SIZE = ("in-domain", "zero-shot")  # figures of points of the fits against parameters
SCORED = ("1a", "1b", "2", "3", "forms", "ablation", "cuts", *BY_SIZE)  # figures whose y are points of the fits
# Figures whose marks are rows of a table of the fits, which these columns tell apart.
ROWS = {
    "efficiency": ("efficiency", ["checkpoint", "recipe", "task"]),
    "lengths": ("lengths", ["checkpoint", "recipe", "task", "length"]),
    "instructions": ("comparisons", comparisons.KEY),
    "multi-task": ("comparisons", comparisons.KEY),
}
LINES = {"curves": "curves", "training": "training"}  # figures of lines, and the collected table that they show
STAMP = re.compile(rb"(\w+)\.json sha256 ([0-9a-f]{64})")  # as Tables.stamp of figure/data.py writes it


def check(node: Node, walked: Walk) -> Problems:
    if node.stage == "figure":
        yield from _stamps(node)
        if node.primary.stem in SCORED:
            yield from _marks(node)
        elif node.primary.stem in LINES:
            yield from _lines(node)
        elif node.primary.stem in ROWS:
            yield from _rows(node)
    elif node.stage == "report":
        yield from _page(node, walked)


def _stamps(node: Node) -> Problems:
    """The metadata of each format names the hashes of the tables that the figure was drawn from."""
    read = {row.name.encode(): row.sha256.encode() for row in node.inputs if row.path.name == STAGES[row.name].primary}
    for suffix in DRAWN:
        path = node.primary.with_suffix(suffix)
        if dict(STAMP.findall(path.read_bytes())) != read:
            yield path, "names other tables in its metadata than those that its record says it was drawn from"


def origin(node: Node, walked: Walk) -> Problems:
    """A figure, its caption and the report name what they were made from: the spec, and the records of all inputs.

    Records that were forged along the whole chain are others than those.
    """
    if node.stage not in ("figure", "report") or node.older:
        return
    primaries = [
        (row.name, row.path) for row in node.inputs if row.record and row.path == walked.nodes[row.record].primary
    ]
    source = made_from(node.spec, primaries)
    shown = {node.primary: source}
    if node.stage == "figure":
        shown |= {node.primary.with_suffix(suffix): source for suffix in DRAWN}
        shown[node.primary.with_suffix(".md")] = source[:SHOWN]
    for path, text in shown.items():
        if text.encode() not in path.read_bytes():
            yield node.primary, "was made from other records than those that are behind it now"
            return


def _marks(node: Node) -> Problems:
    """Every mark of the points beside a figure is a point of the fits, or a published one."""
    path = node.primary.with_suffix(".csv")
    rows = list(csv.DictReader(line for _, line in jsonl.lines(path)))
    tables = {row.name: row.path for row in node.inputs if row.path.name == STAGES[row.name].primary}
    fitted, trainings = (
        _by_key(str(path), sha256(path))
        for path in (tables["fit"].with_name(f"{name}.parquet") for name in ("points", "trainings"))
    )
    published = {}
    if "external" in tables:
        table = parquet.read(tables["external"].with_suffix(".parquet"))
        published = {(row.model, "", row.task): row for row in table.itertuples()}
    x_of = "n_params" if node.primary.stem in BY_SIZE else "flops"
    for line, mark in enumerate(rows, 2):
        key = mark["checkpoint"], mark["recipe"], mark["task"]
        # A training that a point is the mean of may be drawn as well, under the same names.
        points = [table.get(key) for table in ((fitted, trainings) if mark["recipe"] else (published,))]
        wrong = [_unlike(mark, point, x_of) for point in points if point is not None]
        if not wrong or all(wrong):
            where = f"line {line}, {' / '.join(filter(None, key))}"
            yield path, f"{where}: {wrong[0] if wrong else 'there is no such point'}"
            return


def _unlike(mark: dict[str, str], point: Any, x_of: str) -> str:
    """Where a mark is not what the point says; empty if nowhere."""
    expected = {"y": point.y} | (
        {} if mark["x_low"] else {"x": getattr(point, x_of)}
    )  # or else x is an in-context score
    expected |= {"low": point.low, "high": point.high} if mark["recipe"] else {}
    for name, value in expected.items():
        if not near(_number(mark[name]), value):
            return f"{name} is {mark[name]}, but the point says {value}"
    for name in ("file", "sha256"):
        value = getattr(point, name)
        if mark[name] != (value if isinstance(value, str) else ""):  # a mean has none
            return f"names another {name} than the point"
    return ""


def _lines(node: Node) -> Problems:
    """Every vertex of a line is what was collected: a loss, or a mean score in which a group of tasks counts once."""
    path, name = node.primary.with_suffix(".csv"), LINES[node.primary.stem]
    collect = next(row.path for row in node.inputs if row.path.name == STAGES["collect"].primary)
    table, fits = read_table(collect, name), next(row.path for row in node.inputs if row.path.name == "fit.json")
    if name == "curves":
        fitted = FitSummary.read(fits)
        table = joined_curves(table, fitted.repeats)
        table = table[table["metric"] == fitted.config.metric]
        groups = {task: group for group, parts in in_mean(set(table["task"]), fitted).items() for task in parts}
        table = table.assign(group=table["task"].map(groups))
        key = ["checkpoint", "recipe", "queries"]
        y = table.groupby([*key, "group"])["value"].mean().groupby(key).mean()
    else:
        y = table.set_index(["checkpoint", "recipe", "step"])["loss"]
    drawn = pd.read_csv(path, dtype={"checkpoint": str, "recipe": str}, keep_default_na=False, na_values=[""])
    if drawn.duplicated(["checkpoint", "recipe", "x"]).any():
        yield path, "has two points at one place"
    for row in drawn.itertuples():
        if (key := (row.checkpoint, row.recipe, row.x)) not in y.index or not near(row.y, y[key]):
            yield path, f"{row.checkpoint} / {row.recipe} at {row.x:,}: y is {row.y}, which was not collected"
            return


def _rows(node: Node) -> Problems:
    """Every mark says what the table says of it."""
    path, (name, key) = node.primary.with_suffix(".csv"), ROWS[node.primary.stem]
    table = read_table(next(row.path for row in node.inputs if row.path.name == "fit.json"), name)
    drawn = pd.read_csv(path, dtype={"checkpoint": str, "recipe": str}, keep_default_na=False, na_values=[""])
    known = {tuple(row[part] for part in key): row for row in table.to_dict("records")}
    for row in drawn.to_dict("records"):
        where = " / ".join(str(row[part]) for part in key)
        if (point := known.get(tuple(row[part] for part in key))) is None:
            yield path, f"{where}: there is no such row"
            return
        for column in (column for column in drawn.columns if pd.api.types.is_float_dtype(drawn[column])):
            if not near(row[column], point[column]):
                yield path, f"{where}: {column} is {row[column]}, but the table says {point[column]}"
                return


@lru_cache(4)  # tables, of which each figure asks
def _by_key(path: str, _: str) -> dict:
    """The points in a table, read once for each sha256 of it."""
    return {(row.checkpoint, row.recipe, row.task): row for row in parquet.read(Path(path)).itertuples()}


def _number(text: str) -> float | None:
    return float(text) if text else None


def _page(node: Node, walked: Walk) -> Problems:
    """The page shows the figures that it was made from, and lists the hashes of all its inputs."""
    page = node.primary.read_text(encoding="utf-8")
    for source, rows in node.by_source.items():
        maker = walked.nodes.get(source)
        for row in rows:
            if maker and row.path == maker.primary and row.sha256 not in page:
                yield node.primary, f"does not list the sha256 of {row.path}, from which its record says it was made"
    for row in node.inputs:
        if row.name == "figures" and row.path.suffix == ".svg" and has_marks(row.path.with_suffix(".csv")):
            if base64.b64encode(row.path.read_bytes()).decode() not in page:
                yield node.primary, f"does not show {row.path}"
