"""The stage `external`: published tables -> external.json and external.parquet."""

import os
from pathlib import Path

import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.flops import flops
from retscale.common.tables import sha256, write_tables
from retscale.external.config import Spec
from retscale.external.table import Row, read_all

COLUMNS = ["model", "task", "y", "n_params", "n_tokens", "flops", "source", "origin", "line", "file", "sha256"]


def run(spec: dict, inputs: dict[str, list[Path]], out: Path) -> dict:
    """One row a model and task of the study, and its `mean` over the headline if it lacks none of it.

    FLOPs are 6ND where a table states both. `file` is relative to the study's results, as elsewhere.
    """
    job = Spec.model_validate(spec)
    results, paths, found, tables = out.parent.parent, inputs["tables"], [], []
    for path, told, (rows, elsewhere) in zip(paths, job.tables, read_all(paths, job.tables), strict=True):
        about = {"source": told.source, "file": os.path.relpath(path, results), "sha256": sha256(path)}
        found += [record(row) | about for row in rows]
        tables.append(about | {"models": len({row.model for row in rows}), "rows": len(rows), "elsewhere": elsewhere})
    points = pd.DataFrame(found, columns=COLUMNS)
    means, absent = averaged(points, job.headline)
    points = pd.concat([points, means], ignore_index=True).sort_values(["model", "task"], ignore_index=True)
    points = points.astype(dict.fromkeys(("n_params", "n_tokens", "flops"), float))
    facts = {"headline": job.headline, "tables": tables, "absent": absent}
    write_tables(out, "external.json", {"external": points}, facts)
    return {"rows": len(points), "elsewhere": [table["elsewhere"] for table in tables]}


def record(row: Row) -> dict:
    compute = flops(row.n_params, row.n_tokens) if row.n_params and row.n_tokens else None
    facts = {name: getattr(row, name) for name in ("model", "task", "n_params", "n_tokens", "origin", "line")}
    return facts | {"y": row.value, "flops": compute}


def averaged(points: pd.DataFrame, headline: list[str]) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The mean of each model that has every part of the headline, and for the others what they lack."""
    means, absent = [], {}
    for model, rows in points.groupby("model", sort=True):
        parts = rows[rows["task"].isin(headline)]
        if missing := [name for name in headline if name not in set(parts["task"])]:
            absent[model] = missing
            continue
        means.append(parts.iloc[0].to_dict() | {"task": MEAN, "y": parts["y"].mean(), "origin": "", "line": None})
    return pd.DataFrame(means, columns=points.columns), absent
