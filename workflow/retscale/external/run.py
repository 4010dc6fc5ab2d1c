"""The stage `external`: published tables and results of mteb -> external.json and external.parquet."""

import os
from pathlib import Path

import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.files import sha256
from retscale.common.flops import flops
from retscale.common.tables import write_tables
from retscale.external.config import Spec
from retscale.external.read import grouped, read_all
from retscale.external.summary import ExternalSummary
from retscale.external.table import Row

COLUMNS = ["model", "task", "y", "n_params", "n_tokens", "flops", "source", "origin", "line", "file", "sha256"]


def run(values: dict, inputs: dict[str, list[Path]], out: Path) -> dict:
    """One row per model and task of the study, and a `mean` for each model that has the whole headline.

    FLOPs are 6ND where a table states both. `file` is relative to the study's results, as elsewhere; a mean of several
    files has none.
    """
    spec = Spec.model_validate(values)
    results, paths, rows_of_tables, tables = out.parent.parent, inputs["tables"], [], []
    files = {path: {"file": os.path.relpath(path, results), "sha256": sha256(path)} for path in paths}
    contents = read_all(paths, spec.tables)
    for (path, of_mteb), published, (rows, elsewhere) in zip(grouped(paths), spec.tables, contents, strict=True):
        source = {"source": published.source}
        rows_of_tables += [point(row) | source | files[row.file] for row in rows]
        counts = {"models": len({row.model for row in rows}), "rows": len(rows), "elsewhere": elsewhere}
        folder = {"results": os.path.relpath(of_mteb[0].parents[2], results)} if of_mteb else {}
        tables.append(source | files[path] | counts | folder)
    points = pd.DataFrame(rows_of_tables, columns=COLUMNS)
    means, incomplete = headline_means(points, spec.headline)
    points = pd.concat([points, means], ignore_index=True).sort_values(["model", "task"], ignore_index=True)
    points = points.astype(dict.fromkeys(("n_params", "n_tokens", "flops"), float))
    summary = {"headline": spec.headline, "tables": tables, "absent": incomplete}
    write_tables(out / "external.json", ExternalSummary, {"external": points}, summary)
    return {"rows": len(points), "elsewhere": [table["elsewhere"] for table in tables]}


def point(row: Row) -> dict:
    compute = flops(row.n_params, row.n_tokens) if row.n_params and row.n_tokens else None
    values = {name: getattr(row, name) for name in ("model", "task", "n_params", "n_tokens", "origin", "line")}
    return values | {"y": row.value, "flops": compute}


def headline_means(points: pd.DataFrame, headline: list[str]) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The mean of each model that has every part of the headline, and for the others what they lack."""
    means, incomplete = [], {}
    for model, rows in points.groupby("model", sort=True):
        parts = rows[rows["task"].isin(headline)]
        if missing := [name for name in headline if name not in set(parts["task"])]:
            incomplete[model] = missing
            continue
        several = {} if parts["file"].nunique() == 1 else {"file": None, "sha256": None}
        mean = {"task": MEAN, "y": parts["y"].mean(), "origin": "", "line": None}
        means.append(parts.iloc[0].to_dict() | mean | several)
    return pd.DataFrame(means, columns=points.columns), incomplete
