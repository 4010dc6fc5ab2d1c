"""`retscale show STUDY`: the scores, fits and claims of a study that has run."""

import argparse
import json
from collections.abc import Iterator

from retscale.collect.means import MEAN
from retscale.common.terminal import answer
from retscale.figure.words import interval, number, scientific, short
from retscale.plan.formatting import table
from retscale.report import claims
from retscale.report.results import Results, rows
from retscale.study import load
from retscale.study.results import finished

FACTS = ["checkpoint", "family", "size", "n_params", "n_tokens", "flops", "role"]
POINT = ["checkpoint", "recipe", "y", "low", "high"]


def main(arguments: argparse.Namespace) -> int:
    """Print them as tables or as JSON; UserError if the study has not run."""
    study = load.study(arguments.study)
    results = Results(**finished(study, arguments.study, ("collect", "fit")))
    shown = content(results, study.file.title)
    if arguments.json:
        print(json.dumps(shown, ensure_ascii=False, indent=1))
    else:
        for line in lines(shown):
            answer(line)
    return 0


def content(results: Results, title: str) -> dict:
    """What is shown, as JSON types: `checkpoints` by FLOPs with the means of each recipe, `fits` of the mean, `claims`."""
    points = results.table("points")
    means = rows(points.loc[(points["task"] == MEAN) & points["y"].notna(), POINT])
    checkpoints = [
        row | {"means": [mean for mean in means if mean["checkpoint"] == row["checkpoint"]]}
        for row in rows(results.checkpoints[FACTS])
    ]
    return {
        "study": results.study.study,
        "title": title,
        "metric": results.fitted.config.metric,
        "mean_over": results.over,
        "confidence": 1 - results.fitted.config.alpha,
        "checkpoints": checkpoints,
        "fits": rows(results.of_mean("fits")),
        "selection": rows(results.of_mean("selection")),
        "claims": rows(results.table("claims")),
    }


def lines(shown: dict) -> Iterator[str]:
    """The tables; a mean of another recipe than a row's first has a row of its own."""
    yield f"{shown['study']}: {shown['title']}"
    yield f"mean {shown['metric']} over {shown['mean_over']}, intervals of {100 * shown['confidence']:g}%"
    yield ""
    yield from table(["checkpoint", "parameters", "tokens", "FLOPs", "recipe", "mean", "role"], scores(shown))
    yield ""
    yield "fits of the mean"
    yield from table(["form", "n", "slope per decade", "R²", "ΔAICc", "hold-out RMSE", "status"], fits(shown))
    yield ""
    yield "claims"
    for claim in shown["claims"]:
        yield f"{claim['verdict']:>13}  {claim['text']}: {claims.estimate(claim)}"


def scores(shown: dict) -> list[list[str]]:
    """One row per checkpoint and recipe."""
    cells: list[list[str]] = []
    for row in shown["checkpoints"]:
        compute = scientific(row["flops"]) if row["flops"] else "unknown"
        about = [row["checkpoint"], short(row["n_params"]), short(row["n_tokens"]), compute]
        means = [(mean["recipe"], interval(mean["y"], mean["low"], mean["high"])) for mean in row["means"]]
        cells += [[*about, recipe, value, row["role"]] for recipe, value in means or [("-", "-")]]
    return cells


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
