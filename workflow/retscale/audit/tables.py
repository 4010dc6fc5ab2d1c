"""Values against the values that they are made from: single queries -> means -> collected tables -> points of fits."""

import io
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from retscale.audit.place import plain
from retscale.audit.walk import Node, Walk
from retscale.collect.config import Spec
from retscale.collect.means import means
from retscale.collect.run import tabulated
from retscale.collect.summary import CollectSummary
from retscale.common import parquet
from retscale.common.tables import read_table
from retscale.evaluate.result import Result
from retscale.icl.result import IclResult
from retscale.icl.summary import mean_bits

TOLERANCE = 1e-9  # of a mean taken again: the order of a sum may differ between versions of a library
Problems = Iterator[tuple[Path, str]]


def check(node: Node, walked: Walk) -> Problems:
    yield from CHECKS.get(node.stage, _nothing)(node, walked)


def _nothing(*_: object) -> Problems:
    yield from ()


def near(value: float | None, expected: float | None) -> bool:
    """Whether two numbers are the same up to rounding; nothing, or NaN, is only the same as nothing."""
    gaps = value is None or value != value, expected is None or expected != expected
    return gaps[0] == gaps[1] and (any(gaps) or abs(value - expected) <= TOLERANCE * max(1, abs(expected)))


def _evaluation(node: Node, _: Walk) -> Problems:
    """Each mean is that of the values of its queries."""
    path = node.primary
    result, values = Result.read(path, "no job writes that"), path.with_suffix(".parquet")
    table = parquet.read(values, {"query_id": "text", **dict.fromkeys(result.metrics, "number")})
    if len(table) != result.n_queries:
        yield path, f"says {result.n_queries} queries, of which {values.name} has {len(table)}"
    for name, stored in result.metrics.items():
        if not near(table[name].mean(), stored):
            yield (
                path,
                f"says {name} {stored}, but the mean of its queries in {values.name} is {table[name].mean():.6g}",
            )


def _in_context(node: Node, _: Walk) -> Problems:
    """The accuracy is that of the items, by category where there are categories."""
    path = node.primary
    result, table = IclResult.read(path, "no job writes that"), parquet.read(path.with_suffix(".parquet"))
    if len(table) != result.n_items:
        yield path, f"says {result.n_items} items, of which {path.stem}.parquet has {len(table)}"
    correct = table["correct"]
    if {"gold", "prediction"} <= set(table.columns) and not (correct == (table["prediction"] == table["gold"])).all():
        yield path.with_suffix(".parquet"), "does not call those items correct whose prediction is the answer"
        return
    value = None
    if not correct.isna().any():
        parts = correct.astype(float).groupby(table["category"]).mean() if "category" in table else correct
        value = float(parts.astype(float).mean())
    if not near(value, result.value):
        yield path, f"says an accuracy of {result.value}, but that of its items is {value}"
        return
    bits = (
        table["bits_per_byte"] if "bits_per_byte" in table else None
    )  # neither of generated answers, nor in older files
    mean = None
    if bits is not None:
        categories = table["category"] if "category" in table else [""] * len(table)
        mean = mean_bits(bits, list(categories))["bits_per_byte"]
    if not near(mean, result.bits_per_byte):
        yield path, f"says {result.bits_per_byte} bits per byte, but the mean of its items is {mean}"


def _collected(node: Node, walked: Walk) -> Problems:
    """The tables are what the results give when they are gathered again."""
    inputs: dict[str, list[Path]] = {}
    for row in node.inputs:
        maker = walked.nodes.get(row.record) if row.record else None
        if maker is None or row.path == maker.primary:
            inputs.setdefault(row.name, []).append(row.path)
    read, folder = {row.path for row in node.inputs}, node.path.parent
    for table in node.outputs:
        for file in _files_of(table):
            if plain(folder.parent / file) not in read:
                yield node.path, f"does not list {file}, which {table.name} was read from"
                return
    one = {"models": inputs["models"][0]} if "models" in inputs else {}
    for name, again in tabulated(Spec.model_validate(node.spec), inputs | one, folder / "again").items():
        path = folder / f"{name}.parquet"
        if difference := _difference(parquet.read(path), _stored(again)):
            yield path, f"does not say what the results give: {difference}"


def _files_of(table: Path) -> list[str]:
    """The results that the rows of a table are from."""
    if table.suffix != ".parquet":
        return []
    frame = parquet.read(table)
    return frame["file"].dropna().unique().tolist() if "file" in frame else []


def _stored(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it would be read again."""
    file = io.BytesIO()
    table.to_parquet(file, index=False)
    return pd.read_parquet(file)


def _difference(table: pd.DataFrame, expected: pd.DataFrame) -> str:
    """The first difference of two tables in words; empty if there is none."""
    if list(table.columns) != list(expected.columns) or len(table) != len(expected):
        return f"{len(table)} rows of {len(table.columns)} columns, not {len(expected)} of {len(expected.columns)}"
    for column in table.columns:
        same = (table[column] == expected[column]) | (table[column].isna() & expected[column].isna())
        if not same.all():
            row = int((~same).to_numpy().argmax())
            names = [str(table[name].iloc[row]) for name in ("checkpoint", "recipe", "task", "metric") if name in table]
            values = table[column].iloc[row], expected[column].iloc[row]
            return f"{column} of {' / '.join(names) or f'row {row + 1}'} is {values[0]}, not {values[1]}"
    return ""


def _points(node: Node, walked: Walk) -> Problems:
    """Every point is a score, or the mean of the scores that it is over: of tasks, and of trainings with other seeds."""
    collect = next(row.path for row in node.inputs if row.path.name == "collect.json")
    study, metric = CollectSummary.read(collect), node.spec["metric"]
    scores = read_table(collect, "scores")
    scores = scores[scores["metric"] == metric]
    known = dict(zip(zip(scores["checkpoint"], scores["recipe"], scores["task"]), scores["value"], strict=True))
    for name, parts in means(study).items():
        for checkpoint, recipe in {(checkpoint, recipe) for checkpoint, recipe, _ in known}:
            values = [known.get((checkpoint, recipe, part)) for part in parts]
            if None not in values:
                known[checkpoint, recipe, name] = sum(values) / len(values)
    joined = {key: _joined(known, key[-1], parts) for key, parts in _trainings(known, study).items()}
    for name, expected in {"points": joined, "trainings": known}.items():
        for row in read_table(node.primary, name).itertuples():
            key = row.checkpoint, row.recipe, row.task
            if not near(row.y, expected.get(key)):
                table = node.path.parent / f"{name}.parquet"
                yield table, f"says {row.y} of {' / '.join(key)}, whose scores give {expected.get(key)}"
                return


def _trainings(known: dict, study: CollectSummary) -> dict[tuple, list]:
    """Of each checkpoint, recipe and task the trainings of each pretraining."""
    encoders = dict.fromkeys(key[:2] for key in known)
    tasks = dict.fromkeys(key[2] for key in known)
    return {(*of, task): parts for of, parts in study.repeats.trainings(encoders).items() for task in tasks}


def _joined(known: dict, task: str, parts: list) -> float | None:
    """The mean over pretrainings of the means over their trainings."""
    values = [[known.get((*id, task)) for id in part] for part in parts]
    if any(value is None for part in values for value in part):
        return None
    return sum(sum(part) / len(part) for part in values) / len(values)


CHECKS = {
    "evaluate": _evaluation,
    "reference": _evaluation,
    "icl": _in_context,
    "collect": _collected,
    "fit": _points,
}
