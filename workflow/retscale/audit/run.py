"""`retscale audit FIGURE`: where each point comes from, with every file on the way hashed again."""

import argparse
import csv
import json
import os
from pathlib import Path

import pandas as pd

from retscale.audit.walk import Walk, figure, walk


def main(arguments: argparse.Namespace) -> int:
    """Print the origin of each point and the verdict; 0 if every byte is what was recorded, 1 otherwise."""
    primary = figure(arguments.figure)
    seen = walk(primary)
    if not arguments.quiet:
        for line in points(primary, seen):
            print(line)
        for (stage, made_by), count in sorted(seen.other_code.items()):
            print(f"note      {stage}: {count} made by other code than this clone's ({made_by})")
    for problem in seen.problems:
        print(f"PROBLEM   {problem}")
    ok = not seen.problems
    print(
        f"verdict   {'verified' if ok else 'NOT verified'}: {len(seen.hashed)} files of {len(seen.records)} records hashed, {len(seen.problems)} problems"
    )
    return 0 if ok else 1


def points(primary: Path, seen: Walk) -> list[str]:
    """Lines that name, for each point of the figure, its checkpoint, encoder and evaluations, each with its verdict."""
    table = primary.with_suffix(".csv")
    if not table.exists():
        return [f"points    unknown: {table} is missing"]
    with table.open(encoding="utf-8", newline="") as rows:
        marks = list(csv.DictReader(rows))
    lines = [f"figure    {primary}  ({len(marks)} points in {table.name})"]
    results = _results(primary, seen)
    for mark in marks:
        names = {key: mark[key] for key in ("checkpoint", "recipe", "task") if mark.get(key)}
        values = "  ".join(f"{key}={mark[key]}" for key in ("x", "y") if key in mark)
        lines.append(f"point     {' / '.join(names.values())}  {values}")
        # Where x has an interval it is measured too: the in-context score.
        lines += [f"          {line}" for line in results(**names, in_context="x_low" in mark)]
    return lines


def _results(primary: Path, seen: Walk):
    """A function from a point's names to lines about the files behind it."""
    bad = {line.split(":")[0] for line in seen.problems}
    collect = next((path for path in seen.records if path.name == "collect.record.json"), None)
    if collect is None:
        return lambda **_: ["origin unknown: no record of collected results"]
    root = collect.parent.parent
    scores = pd.read_parquet(collect.parent / "scores.parquet").drop_duplicates("file")
    icl = pd.read_parquet(collect.parent / "icl.parquet").drop_duplicates("file")

    def state(path: Path) -> str:
        path = Path(os.path.normpath(path))
        digest = seen.hashed.get(path, "")
        return f"{path}  sha256 {digest[:12] or 'unknown'}  {'PROBLEM' if str(path) in bad or not digest else 'ok'}"

    def lines(checkpoint: str = "", recipe: str = "", task: str = "", in_context: bool = False) -> list[str]:
        found = []
        card = root / "checkpoint" / checkpoint / "card.json"
        if card.exists():
            facts = json.loads(card.read_text(encoding="utf-8"))
            found.append(
                f"{_origin(facts)}  {facts['n_params']['total']:,} parameters x {facts['n_tokens']:,} tokens = {facts['flops']:.3g} FLOPs"
            )
            found.append(state(card))
            found += [
                state(card.parent / facts["model"] / name) for name in facts["files"] if name.endswith(".safetensors")
            ]
        if recipe:
            found.append(state(root / "finetune" / checkpoint / recipe / "encoder.json"))
        mine = scores[(scores["checkpoint"] == checkpoint) & (scores["recipe"] == recipe)]
        one = mine[mine["task"] == task]
        found += [state(root / file) for file in (one if len(one) else mine)["file"]]
        if in_context:
            found += [state(root / file) for file in icl[icl["checkpoint"] == checkpoint]["file"]]
        return found

    return lines


def _origin(card: dict) -> str:
    source = card["source"]
    return " ".join(
        str(part)
        for part in (
            source["kind"],
            source.get("repo") or source.get("path") or source.get("wheel") or "",
            card.get("revision") or "",
        )
        if part
    )
