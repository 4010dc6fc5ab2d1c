"""`retscale audit FIGURE`: where each point comes from, with every file on the way hashed again."""

import argparse
import csv
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from retscale.audit.walk import Walk, figure, walk
from retscale.checkpoint.card import Card
from retscale.collect.means import tasks_of
from retscale.collect.summary import CollectSummary
from retscale.common import jsonl, parquet
from retscale.common.phrase import counted
from retscale.common.terminal import answer
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.external.config import PUBLISHED

NAMES = ("checkpoint", "recipe", "task", "step")
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, OSError, csv.Error)  # of files of another form


def main(arguments: argparse.Namespace) -> int:
    """Print the origin of each point and the verdict; 0 if every byte is what was recorded, 1 otherwise."""
    primary = figure(arguments.figure)
    walked = walk(primary)
    if not arguments.quiet:
        for line in points(primary, walked):
            answer(line)
        for (stage, made_by), count in sorted(walked.other_code.items()):
            answer(f"note      {stage}: {count} made by code other than this clone's ({made_by})")
    for problem in walked.problems:
        answer(f"PROBLEM   {problem}")
    ok = not walked.problems
    answer(
        f"verdict   {'verified' if ok else 'NOT verified'}: {counted(len(walked.hashed), 'file')} of "
        f"{counted(len(walked.records), 'record')} hashed, {counted(len(walked.problems), 'problem')}"
    )
    return 0 if ok else 1


def points(primary: Path, walked: Walk) -> list[str]:
    """For each point of the figure, lines that name the files that it comes from, each with its verdict.

    Points of the same checkpoint, recipe, task and step are a curve that comes from the same files: these are named once.
    """
    table = primary.with_suffix(".csv")
    if not table.exists():
        return [f"points    unknown: {table} is missing"]
    try:
        return list(_points(primary, table, walked))
    except (*MALFORMED, UserError) as error:
        # No job writes such files: somebody edited them.
        walked.add_problem(
            primary.parent, f"the origin of the points cannot be determined ({type(error).__name__}: {error})"
        )
        return [f"points    unknown: {error}"]


def _points(primary: Path, table: Path, walked: Walk) -> Iterator[str]:
    marks = list(csv.DictReader(line for _, line in jsonl.lines(table)))
    yield f"figure    {primary}  ({counted(len(marks), 'point')} in {table.name})"
    results = _results(primary, walked)
    for names, group in itertools.groupby(marks, lambda mark: [mark[key] for key in NAMES if mark.get(key)]):
        mark, *others = group
        values = "  ".join(f"{key}={mark[key]}" for key in ("x", "y") if key in mark)
        kind, description = ("curve", f"{1 + len(others)} points") if others else ("point", values)
        yield f"{kind}     {' / '.join(names)}  {description}"
        yield from (f"          {line}" for line in results(mark))


def _results(primary: Path, walked: Walk):
    """A function from a point, a row of the figure's table, to lines about the files behind it."""
    bad = set(walked.problems.values())
    collect = next((path for path in walked.records if path.name == "collect.record.json"), None)
    if collect is None:
        return lambda mark: ["origin unknown: no record of collected results"]
    root = collect.parent.parent
    scores = _table(collect.parent / "scores.parquet", "checkpoint", "recipe", "task")
    icl = _table(collect.parent / "icl.parquet", "checkpoint")
    study = CollectSummary.read(collect.parent / "collect.json")

    def state(path: Path) -> str:
        path = Path(os.path.normpath(path))
        digest = walked.hashed.get(path, "")
        return f"{path}  sha256 {digest[:12] or 'unknown'}  {'PROBLEM' if path in bad or not digest else 'ok'}"

    def lines(mark: dict[str, str]) -> list[str]:
        checkpoint, recipe, file = (mark.get(key, "") for key in ("checkpoint", "recipe", "file"))
        origin, files = [], []
        card_path = root / "checkpoint" / checkpoint / "card.json"
        if card_path.exists():
            card = Card.read(card_path)
            compute = f"{card.n_params.total:,} parameters x an unknown number of tokens"
            if card.n_tokens is not None:
                compute = f"{card.n_params.total:,} parameters x {card.n_tokens:,} tokens = {card.flops:.3g} FLOPs"
            origin.append(f"{_origin(card)}  {compute}")
            model = card.folder(card_path)
            files += [card_path, *(model / name for name in card.files if name.endswith(".safetensors"))]
        if step := int(mark.get("step") or 0):  # of a learning curve: kept encoders lie as their scores do
            curves = _table(collect.parent / "curves.parquet", "checkpoint", "recipe", step="number")
            rows = curves.query("checkpoint == @checkpoint and recipe == @recipe and step == @step")
            folders = {Path(name).relative_to("evaluate").parent for name in rows["file"]}
            files += [root / "finetune" / folder / "encoder.json" for folder in folders]
            files += [root / name for name in rows["file"]]
        else:
            if recipe not in ("", PUBLISHED):
                folder = Path("encoder", checkpoint) if recipe == GIVEN else Path("finetune", checkpoint, recipe)
                files.append(root / folder / "encoder.json")
            rows = scores[(scores["checkpoint"] == checkpoint) & (scores["recipe"] == recipe)]
            # A mark without a file of its own is a mean: over a group of tasks, or over all.
            if mark.get("task"):
                rows = rows[rows["task"].isin(tasks_of(mark["task"], study))]
            files += [root / name for name in ([file] if file else rows["file"])]
            # Where x has an interval it is measured too: the in-context score.
            if mark.get("x_low"):
                files += [root / file for file in icl[icl["checkpoint"] == checkpoint]["file"]]
        files += [path for path in walked.outside(files) if path not in files]
        return origin + [state(path) for path in files]

    return lines


def _table(path: Path, *texts: str, **others: parquet.Kind) -> pd.DataFrame:
    """One row for each file of results."""
    return parquet.read(path, {**dict.fromkeys((*texts, "file"), "text"), **others}).drop_duplicates("file")


def _origin(card: Card) -> str:
    source = card.source.model_dump()
    return " ".join(
        str(part)
        for part in (
            source["kind"],
            source.get("repo") or source.get("path") or source.get("wheel") or "",
            card.revision or "",
        )
        if part
    )
