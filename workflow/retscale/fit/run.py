"""Points, trends, parameters, predictions, correlations and paired comparisons, each as CSV and parquet."""

from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from retscale.collect.means import MEAN, in_domain, means
from retscale.collect.summary import CollectSummary, StudySummary
from retscale.common.files import sha256
from retscale.common.progress import progress
from retscale.common.seeds import stream
from retscale.common.tables import read_table, write_tables
from retscale.errors import UserError
from retscale.fit import correlate, trend
from retscale.fit.compare import ablation, effects, near_pairs
from retscale.fit.config import Spec
from retscale.fit.forms import FORMS
from retscale.fit.points import headline_icl, icl_points, points, resampled
from retscale.fit.summary import FitSummary

INSIDE, BEYOND = 33, 9  # points of a drawn trend over the data and after them
TREND = ["recipe", "schedule", "task", "form"]  # the key of a trend
BAND = ["flops", "y", "confidence_low", "confidence_high", "prediction_low", "prediction_high", "extrapolated"]


@threadpool_limits.wrap(limits=1, user_api="blas")  # on which the last bits of a product depend
def run(values: dict, inputs: dict[str, Path | list[Path]], out: Path) -> dict:
    """Fit what `collect` (collect.json) holds. Only checkpoints of role `fit` with known FLOPs enter estimates.

    Checkpoints whose learning-rate schedule had not finished are fitted apart (`schedule` = unfinished).
    """
    spec = Spec.model_validate(values)
    source = Path(inputs["collect"])
    study = CollectSummary.read(source)
    main, averaged = study.main_recipe, means(study)

    per_query = read_table(source, "per_query")
    if spec.metric not in per_query:
        raise UserError(f"fit.metric is {spec.metric}, which no evaluation of this study has; name another")
    draws = resampled(per_query, spec.metric, averaged, spec.bootstrap, spec.seed)
    scored = points(read_table(source, "scores"), draws, averaged, spec.metric, spec.alpha)
    scored["in_domain"] = scored["task"].map(lambda name: in_domain(name, study))
    defined = scored[scored["y"].notna()]
    averages = read_table(source, "icl_averages")
    icl = icl_points(read_table(source, "icl"), averages)
    trends, parameters, predictions = fit_trends(defined, spec)
    tables = {
        "points": scored,
        "icl_points": icl,
        "trends": trends,
        "parameters": parameters,
        "predictions": predictions,
        "correlations": fit_correlations(defined, icl, main, spec),
        "effects": effects(defined, spec.alpha),
        "pairs": near_pairs(defined, draws, spec.near, spec.alpha),
        "ablation": ablation(defined, draws, main, spec.alpha),
    }
    summary = study.model_dump(include=set(StudySummary.model_fields))
    summary |= {"config": spec.model_dump(), "collect_sha256": sha256(source), "icl_headline": headline_icl(averages)}
    summary["form"] = next(iter(FORMS))  # the one that is drawn
    write_tables(out / "fit.json", FitSummary, tables, summary, csv=True)
    return {"rows": {name: len(table) for name, table in tables.items()}}


def ladder(marks: pd.DataFrame) -> pd.DataFrame:
    """The rows that enter fits, with `schedule` and log10 FLOPs."""
    rows = marks[(marks["role"] == "fit") & marks["flops"].notna()]
    schedule = np.where(rows["schedule_finished"].astype(bool), "finished", "unfinished")
    return rows.assign(schedule=schedule, log_flops=np.log10(rows["flops"].astype(float)))


def fit_trends(marks: pd.DataFrame, spec: Spec) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Trends, their parameters, and their bands over a grid of FLOPs.

    One trend for each recipe, schedule, task (and the mean) and form. All forms of a group have the same random stream.
    """
    trends, parameters, predictions = [], [], []
    groups = list(ladder(marks).groupby(["recipe", "schedule", "task"]))
    for (recipe, schedule, task), rows in progress(groups, "trends", unit="trends"):
        x, y, sizes = rows["log_flops"].to_numpy(), rows["y"].to_numpy(), list(rows["size"])
        grid = np.append(np.linspace(x.min(), x.max(), INSIDE), np.linspace(x.max(), x.max() + spec.extend, BEYOND)[1:])
        for form in FORMS.values():
            key = {"recipe": recipe, "schedule": schedule, "task": task, "form": form.name}
            rng = stream(spec.seed, "trend", recipe, schedule, task)
            fitted = trend.fit(form, x, y, sizes, spec.alpha, spec.bootstrap, rng)
            trends.append(key | asdict(fitted.trend) | {"in_domain": bool(rows["in_domain"].iloc[0])})
            if fitted.trend.status != "ok":
                continue
            for (name, unit), value in zip(form.parameters.items(), fitted.parameters, strict=True):
                parameters.append(key | {"parameter": name, "value": float(value), "unit": unit})
            band = trend.bands(fitted, grid, spec.alpha)
            extra = {"flops": 10**grid, **band, "extrapolated": grid > x.max()}
            predictions.append(pd.DataFrame(extra).assign(**key))
    band = [*TREND, *BAND]
    return (
        pd.DataFrame(trends, columns=[*TREND, *(field.name for field in fields(trend.Trend)), "in_domain"]),
        pd.DataFrame(parameters, columns=[*TREND, "parameter", "value", "unit"]),
        pd.concat(predictions, ignore_index=True)[band] if predictions else pd.DataFrame(columns=band),
    )


def fit_correlations(marks: pd.DataFrame, icl: pd.DataFrame, main: str, spec: Spec) -> pd.DataFrame:
    """FLOPs with quality for each recipe and task; and in-context learning with retrieval (main recipe).

    Rank and linear coefficients agree in sign, not in what they measure, so all three are given. FLOPs enter as log10.
    """
    rows = ladder(marks)
    rows = rows[rows["schedule"] == "finished"]
    table = []
    for (recipe, task), group in rows.groupby(["recipe", "task"]):
        key = {"about": "flops-quality", "recipe": recipe, "x": "log10 FLOPs", "y": task}
        table += coefficients(key, group["log_flops"], group["y"], group, spec)
    means = rows[(rows["recipe"] == main) & (rows["task"] == MEAN)]
    for task, group in icl.groupby("task"):
        both = means.merge(group[["checkpoint", "score"]], on="checkpoint")
        key = {"about": "icl-retrieval", "recipe": main, "x": task, "y": MEAN}
        table += coefficients(key, both["score"], both["y"], both, spec)
        # Exploratory: where either grows along a curve in C, what a line over C leaves is correlated by itself.
        table += coefficients(key, both["score"], both["y"], both, spec, control=both["log_flops"])
    return pd.DataFrame(table)


def coefficients(
    key: dict, x: pd.Series, y: pd.Series, rows: pd.DataFrame, spec: Spec, control: pd.Series | None = None
) -> list[dict]:
    """One row for each method, or for the partial Pearson correlation given log10 FLOPs."""
    groups = trend.size_codes(list(rows["size"]))
    table = []
    for method in correlate.METHODS if control is None else ["pearson"]:
        rng = stream(spec.seed, method, *key.values())
        values = (x.to_numpy(float), y.to_numpy(float), groups, method, spec.alpha, spec.bootstrap, rng)
        result = correlate.correlate(*values, control=None if control is None else control.to_numpy(float))
        name = method if control is None else "partial pearson given log10 FLOPs"
        table.append(key | {"method": name, "exploratory": control is not None} | asdict(result))
    return table
