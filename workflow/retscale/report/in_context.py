"""In-context scores and their tasks."""

import pandas as pd

from retscale.collect.means import MEAN
from retscale.report.config import Described, Spec
from retscale.report.results import rows


def by_checkpoint(checkpoints: pd.DataFrame, points: pd.DataFrame, column: str) -> dict:
    """One row per checkpoint: the mean of `column` (score or bits_per_byte), then its value on each task."""
    values = dict(zip(zip(points["checkpoint"], points["task"]), points[column], strict=True))
    tasks = sorted(set(points[points["file"].notna()]["task"]))
    evaluated = [name for name in checkpoints["checkpoint"] if any(key[0] == name for key in values)]
    return {
        "tasks": tasks,
        "rows": [(name, [values.get((name, task)) for task in [MEAN, *tasks]]) for name in evaluated],
    }


def tasks(icl: pd.DataFrame, spec: Spec) -> list[dict]:
    """One row per in-context task: its size, baseline, widest interval of a score, notes and description."""
    table = []
    for task, results in icl.groupby("task"):
        notes = [note for odd in dict.fromkeys(results["odd"]) for note in odd.split("; ") if note]
        phrases = {
            "tied": "best choices tie in up to {} items",
            "trimmed": "up to {} texts were cut to fit",
            "skipped": "up to {} items were too long and not scored",
        }
        notes += [words.format(int(results[name].max())) for name, words in phrases.items() if results[name].max() > 0]
        if results["type"].iloc[0] == "code_evaluation":
            run = bool(results["executed"].any())
            notes.append(
                "generated programs were run, in a sandbox without network and with limits of time, memory and files"
                if run
                else "nothing was to run programs (`execute` is off), so none were generated, and it has no score"
            )
        half = (results["high"].astype(float) - results["low"].astype(float)).max() / 2
        baseline = results["baseline"].astype(float).iloc[0]
        description = spec.icl.get(task, Described())
        table.append(
            {
                "task": task,
                "items": results["n_items"].iloc[0],
                "baseline": baseline,
                "half": half / (1 - baseline),
                "notes": list(dict.fromkeys(notes)),
                "description": description,
            }
        )
    return table


def signal(table: pd.DataFrame) -> list[dict]:
    """One row per task, the mean last: its rows of the table `signal`, as `score` and `bits`; None where it has none."""
    by_task: dict[str, dict] = {}
    for row in rows(table.sort_values(["headline", "task"], kind="stable")):
        by_task.setdefault(row["task"], {})[row["measure"]] = row
    return [
        {"task": task, "score": measures.get("score"), "bits": measures.get("bits per byte")}
        for task, measures in by_task.items()
    ]


def gauntlets(checkpoints: pd.DataFrame, averages: pd.DataFrame) -> list[dict]:
    """One entry per version of the gauntlet: categories and averages of each checkpoint, and what absent ones lack."""
    tables = []
    for version, results in averages.groupby("gauntlet", sort=False):
        names = list(dict.fromkeys(results["name"]))
        cells = {(row["checkpoint"], row["name"]): row for row in results.to_dict("records")}
        evaluated = [name for name in checkpoints["checkpoint"] if (name, names[0]) in cells]
        absent = {row["name"]: row["missing"] for row in cells.values() if row["missing"]}
        table = [(name, [cells[name, column] for column in names]) for name in evaluated]
        tables.append({"version": version, "names": names, "rows": table, "absent": absent})
    return tables
