"""Where each point of a figure comes from: the files behind it, with their hashes."""

import csv
import itertools
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from retscale.audit.place import plain
from retscale.audit.walk import Walk
from retscale.checkpoint.card import Card
from retscale.collect.means import MEAN, tasks_of
from retscale.collect.summary import CollectSummary
from retscale.common import jsonl, parquet
from retscale.common.phrase import counted
from retscale.common.tables import read_table
from retscale.encoder.config import REFERENCE
from retscale.errors import UserError
from retscale.external.config import PUBLISHED
from retscale.external.summary import ExternalSummary
from retscale.paths import Results
from retscale.provenance import record

NAMES = ("checkpoint", "recipe", "task", "step")
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, OSError, csv.Error)  # of files of another form


def lines(walked: Walk) -> Iterator[str]:
    """The points of every figure of the walk; of one whose files are of another form that they are unknown."""
    for node in walked.nodes.values():
        if node.stage == "figure":
            try:
                yield from _of_figure(node.primary, walked)
            except (*MALFORMED, UserError) as error:
                yield f"points    unknown: {error}"


def _of_figure(primary: Path, walked: Walk) -> Iterator[str]:
    """Points of the same checkpoint, recipe, task and step are a curve from the same files, which are named once."""
    table = primary.with_suffix(".csv")
    marks = list(csv.DictReader(line for _, line in jsonl.lines(table)))
    yield f"figure    {primary}  ({counted(len(marks), 'point')} in {table.name})"
    origin = origins(primary.parent.parent, walked)
    for names, group in itertools.groupby(marks, lambda mark: [mark[key] for key in NAMES if mark.get(key)]):
        mark, *others = group
        values = "  ".join(f"{key}={mark[key]}" for key in ("x", "y") if key in mark)
        kind, description = ("curve", f"{1 + len(others)} points") if others else ("point", values)
        yield f"{kind}     {' / '.join(names)}  {description}"
        yield from (f"          {line}" for line in origin(mark))


def origins(root: Path, walked: Walk) -> Callable[[dict[str, str]], list[str]]:
    """A function from a point, a row of a figure's table, to lines about the files behind it; `root`: of the results."""
    results, collect = Results(str(root)), Path(Results(str(root)).collect())
    scores = _table(collect.with_name("scores.parquet"), "checkpoint", "recipe", "task")
    icl = _table(collect.with_name("icl.parquet"), "checkpoint")
    study = CollectSummary.read(collect)
    ids = scores[["checkpoint", "recipe"]].drop_duplicates().itertuples(index=False, name=None)
    repeated = study.repeats.trainings(ids)

    def state(path: Path) -> str:
        path = plain(path)
        digest = walked.hashed.get(path, "")
        good = digest and path not in walked.findings.problems
        return f"{path}  sha256 {digest[:12] or 'unknown'}  {'ok' if good else 'PROBLEM'}"

    def others(mark: dict[str, str]) -> list[Path]:
        """Of a point that others published: the files of its scores, and of its parameters and tokens."""
        primary = Path(results.external())
        summary, rows = ExternalSummary.read(primary), read_table(primary, "external")
        tasks = summary.headline if mark["task"] == MEAN else [mark["task"]]
        rows = rows[(rows["model"] == mark["checkpoint"]) & rows["task"].isin(tasks)]
        tables = [table.file for table in summary.tables if table.source in set(rows["source"])]
        return [root / name for name in dict.fromkeys([*rows["file"], *tables])]

    def of(mark: dict[str, str]) -> list[str]:
        checkpoint, recipe, file = (mark.get(key, "") for key in ("checkpoint", "recipe", "file"))
        origin, files = [], []
        card_path = Path(results.checkpoint(checkpoint))
        if card_path.exists():
            card = Card.read(card_path)
            compute = f"{card.n_params.total:,} parameters x an unknown number of tokens"
            if card.n_tokens is not None:
                compute = f"{card.n_params.total:,} parameters x {card.n_tokens:,} tokens = {card.flops:.3g} FLOPs"
            origin.append(f"{_origin(card)}  {compute}")
            model = card.folder(card_path)
            files += [card_path, *(model / name for name in card.files if name.endswith(".safetensors"))]
        # A point of several trainings that differ in their seeds is their mean.
        trainings = [id for part in repeated.get((checkpoint, recipe), [[(checkpoint, recipe)]]) for id in part]
        if step := int(mark.get("step") or 0):  # of a learning curve: kept encoders lie as their scores do
            curves = _table(collect.with_name("curves.parquet"), "checkpoint", "recipe", step="number")
            rows = curves[_encoders(curves).isin(trainings) & (curves["step"] == step)]
            folders = {Path(name).relative_to("evaluate").parent for name in rows["file"]}
            files += [root / "finetune" / folder / "encoder.json" for folder in folders]
            files += [root / name for name in rows["file"]]
        elif not recipe:
            files += others(mark)
        else:
            if recipe not in ("", PUBLISHED, REFERENCE):
                files += [Path(results.encoder(*id)) for id in trainings]
            rows = scores[_encoders(scores).isin(trainings)]
            # A mark without a file of its own is a mean: over a group of tasks, or over all.
            if mark.get("task"):
                rows = rows[rows["task"].isin(tasks_of(mark["task"], study))]
            files += [root / name for name in ([file] if file else rows["file"])]
            # Where x has an interval it is measured too: the in-context score.
            if mark.get("x_low"):
                files += [root / file for file in icl[icl["checkpoint"] == checkpoint]["file"]]
        files += [path for path in from_outside(files, walked) if path not in files]
        return origin + [state(path) for path in files]

    return of


def from_outside(files: list[Path], walked: Walk) -> list[Path]:
    """The files that no job made and that stand behind these, at any distance."""
    outside, visited, queue = {}, set(), deque(plain(record.path_of(path)) for path in files)
    while queue:
        path = queue.popleft()
        if path in visited or path not in walked.nodes:
            continue
        visited.add(path)
        for row in walked.nodes[path].inputs:
            if row.record:
                queue.append(row.record)
            else:
                outside[row.path] = None
    return list(outside)


def _table(path: Path, *texts: str, **others: parquet.Kind) -> pd.DataFrame:
    """One row for each file of results."""
    return parquet.read(path, {**dict.fromkeys((*texts, "file"), "text"), **others}).drop_duplicates("file")


def _encoders(table: pd.DataFrame) -> pd.Series:
    return pd.Series(zip(table["checkpoint"], table["recipe"], strict=True), table.index, dtype=object)


def _origin(card: Card) -> str:
    source = card.source.model_dump()
    where = source.get("repo") or source.get("path") or source.get("wheel")
    return " ".join(str(part) for part in (source["kind"], where, card.revision) if part)
