"""`retscale show STUDY`: the scores, fits and claims of a study that has run, and what that has used."""

import argparse
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.common.terminal import answer, answer_json
from retscale.figure.words import interval, number, scientific, short
from retscale.fit.dimensions import COLUMNS
from retscale.plan.formatting import hours
from retscale.report import analysis, claims, dimensions, usage
from retscale.report.formats import FORMATS, Table
from retscale.report.results import Results, rows
from retscale.study import load
from retscale.study.results import finished

CHECKPOINT = ["checkpoint", "family", "size", "n_params", "n_tokens", "flops", "role"]
POINT = ["checkpoint", "recipe", "role", "y", "low", "high"]


def main(arguments: argparse.Namespace) -> int:
    """Print the tables of a study, as text or as JSON; UserError if it has not run."""
    study = load.study(arguments.study)
    made = finished(study, arguments.study, ("collect", "fit"))
    shown = content(Results(**made), study.file.title) | taken(made["fit"])
    if arguments.json:
        answer_json(shown)
    else:
        for line in lines(shown, arguments.format):
            answer(line)
    return 0


def content(results: Results, title: str) -> dict:
    """The tables as JSON types: `checkpoints` by FLOPs with the means of each recipe, `fits` of the mean, `claims` and more."""
    points = results.table("points")
    means = rows(points.loc[(points["task"] == MEAN) & points["y"].notna(), POINT])
    checkpoints = [
        row | {"means": [mean for mean in means if mean["checkpoint"] == row["checkpoint"]]}
        for row in rows(results.checkpoints[CHECKPOINT])
    ]
    return {
        "study": results.study.study,
        "title": title,
        "metric": results.fitted.config.metric,
        "mean_over": results.over,
        "confidence": 1 - results.fitted.config.alpha,
        "checkpoints": checkpoints,
        "in_context": in_context(results),
        "predictors": rows(results.table("predictors")),
        "fits": rows(results.of_mean("fits")),
        "selection": rows(results.of_mean("selection")),
        "cuts": analysis.cuts(results),
        "claims": rows(results.table("claims")),
        "dimensions": rows(results.table("dimensions")),
    }


def in_context(results: Results) -> list[dict]:
    """One row per checkpoint that has any: mean in-context score and bits per byte with standard errors, by FLOPs."""
    parts = []
    for table, value in (("icl_points", "score"), ("icl_bits", "bits_per_byte")):
        points = results.table(table)
        means = points.loc[points["task"] == MEAN, ["checkpoint", value, "stderr"]]
        parts.append(means.rename(columns={"stderr": f"{value}_stderr"}))
    both = parts[0].merge(parts[1], on="checkpoint", how="outer")
    return rows(results.checkpoints[["checkpoint"]].merge(both, on="checkpoint"))


def taken(fit: Path) -> dict:
    """The time and energy of the fits and of all jobs before them, by stage, and how many records do not state them."""
    used = usage.total([fit])
    return {"used": [asdict(row) for row in used.rows], "used_unknown": used.unknown}


def lines(shown: dict, form: str) -> Iterator[str]:
    """The tables in one of FORMATS."""
    yield f"{'% ' if form == 'latex' else ''}{shown['study']}: {shown['title']}"
    over = f"mean {shown['metric']} over {shown['mean_over']}, intervals of {100 * shown['confidence']:g}%"
    fit_head = ["form", "n", "slope per decade", "R²", "ΔAICc", "hold-out RMSE", "status"]
    cut_head = ["recipe", "cut", "of", "documents", "Spearman", "slope, whole", "slope, cut", "difference", "bias"]
    verdicts = [[claim["verdict"], claim["text"], claims.estimate(claim)] for claim in shown["claims"]]
    unknown = f"; {counted(shown['used_unknown'], 'record')} missing or older" if shown["used_unknown"] else ""
    cost = f"time and energy of what is behind the fits{unknown}"
    columns, backbones = dimension_cells(shown)
    tables = [
        Table(
            over, "lrrrrrr", ["checkpoint", "parameters", "tokens", "FLOPs", "recipe", "mean", "role"], scores(shown)
        ),
        Table(
            "in-context learning of the pretrained checkpoints, means with standard errors",
            "lrr",
            ["checkpoint", "score", "bits per byte (lower is better)"],
            in_context_cells(shown),
        ),
        Table(
            "what predicts the mean: a line through all other sizes, and correlations",
            "lrrrr",
            ["predictor", "n", "error", "r", "r given size and tokens"],
            predictor_cells(shown),
        ),
        Table("fits of the mean", "lrrrrrr", fit_head, fits(shown)),
        Table("cuts against whole tasks, intervals over queries", "lllrrrrrr", cut_head, cuts(shown)),
        Table("claims", "lpp", ["verdict", "claim", "estimate"], verdicts),
        Table("dimensions", "l" + "r" * len(columns), ["backbone", *columns], backbones),
        Table(cost, "lrrrrr", ["stage", "results", "hours", "CPU-hours", "GPU-hours", "kWh"], used(shown)),
    ]
    for table in (table for table in tables if table.rows):
        yield ""
        yield from FORMATS[form](table)


def scores(shown: dict) -> list[list[str]]:
    """One row per checkpoint and recipe."""
    cells: list[list[str]] = []
    for row in shown["checkpoints"]:
        compute = scientific(row["flops"]) if row["flops"] else "unknown" if row["n_params"] else "–"
        about = [row["checkpoint"], short(row["n_params"]), short(row["n_tokens"]), compute]
        means = [
            [mean["recipe"], interval(mean["y"], mean["low"], mean["high"]), mean["role"]] for mean in row["means"]
        ]
        cells += [[*about, *mean] for mean in means or [["-", "-", row["role"]]]]
    return cells


def in_context_cells(shown: dict) -> list[list[str]]:
    """One row per checkpoint that has a mean score or mean bits per byte."""

    def cell(row: dict, name: str) -> str:
        if row[name] is None:
            return "-"
        error = row[f"{name}_stderr"]
        return number(row[name]) + ("" if error is None else f" ± {number(error)}")

    return [[row["checkpoint"], cell(row, "score"), cell(row, "bits_per_byte")] for row in shown["in_context"]]


def predictor_cells(shown: dict) -> list[list[str]]:
    """One row per predictor."""

    def cell(row: dict, name: str, ends: tuple[str, str]) -> str:
        return "-" if row[name] is None else interval(row[name], *(row[end] for end in ends), digits=2)

    return [
        [
            row["predictor"],
            str(row["n"]),
            "-" if row["rmse"] is None else number(row["rmse"], 4),
            cell(row, "pearson", ("low", "high")),
            cell(row, "partial", ("partial_low", "partial_high")),
        ]
        for row in shown["predictors"]
    ]


def cuts(shown: dict) -> list[list[str]]:
    """One row per recipe and cut, and one for the means of each recipe."""

    def cell(row: dict, name: str, low: str, high: str, digits: int = 3) -> str:
        return "-" if row[name] is None else interval(row[name], row[low], row[high], digits)

    return [
        [
            row["recipe"],
            row["task"],
            row["whole"],
            "-" if row["documents_cut"] is None else f"{int(row['documents_cut']):,}",
            cell(row, "spearman", "spearman_low", "spearman_high", 2),
            *("-" if row[name] is None else number(row[name]) for name in ("slope_whole", "slope_cut")),
            cell(row, "difference", "low", "high"),
            cell(row, "bias", "bias_low", "bias_high"),
        ]
        for row in shown["cuts"]
    ]


def dimension_cells(shown: dict) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, and one row per backbone; no rows if there is only one dimension."""
    table = dimensions.table(pd.DataFrame(shown["dimensions"], columns=COLUMNS), pd.DataFrame(shown["checkpoints"]))
    names = [f"{dimension}: {measure}" for dimension, measure in table["columns"]]
    return names, [[row["checkpoint"], *(cell or "-" for cell in row["cells"])] for row in table["rows"]]


def used(shown: dict) -> list[list[str]]:
    """One row per stage, and their sum."""
    names = ("hours", "cpu_hours", "gpu_hours", "kwh")
    return [
        [row["stage"], f"{row['results']:,}", *(hours(row[name]) if row[name] else "-" for name in names)]
        for row in shown["used"]
    ]


def fits(shown: dict) -> list[list[str]]:
    """One row per form."""
    chosen = {row["form"]: row for row in shown["selection"]}

    def cell(value: float | None, digits: int) -> str:
        return "-" if value is None else number(value, digits)

    return [
        [
            row["form"],
            str(row["n"]),
            "-" if row["slope"] is None else interval(row["slope"], row["low"], row["high"]),
            cell(row["r2"], 2),
            cell(chosen[row["form"]]["delta_aicc"], 1),
            cell(chosen[row["form"]]["holdout_rmse"], 4),
            row["status"],
        ]
        for row in shown["fits"]
    ]
