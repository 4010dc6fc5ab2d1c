"""The tables of all ladders; docs/analysis.md says what their columns mean."""

from collections.abc import Iterable
from dataclasses import asdict, fields
from itertools import chain

import numpy as np
import pandas as pd

from retscale.common.flops import flops
from retscale.fit.analysis import Analysis
from retscale.fit.backtest import LARGEST, ROLLING, Backtest
from retscale.fit.ceiling import Ceiling, ceilings
from retscale.fit.config import Spec
from retscale.fit.extrapolate import FARTHEST, SET, Forecast, decades_beyond, forecast, union
from retscale.fit.ladder import LN10, Compute, compute
from retscale.fit.select import Selection, select
from retscale.fit.slopes import Slope, slopes
from retscale.fit.trend import Trend, bands

INSIDE, BEYOND = 33, 9  # points of a drawn trend over the data and after them
KEY = ["recipe", "schedule", "task"]
BAND = ["y", "confidence_low", "confidence_high", "prediction_low", "prediction_high"]
TRENDS = [*KEY, "form", *(field.name for field in fields(Trend)), "in_domain"]
PARAMETERS = [*KEY, "form", "parameter", "value", "low", "high", "unit"]
PREDICTIONS = [*KEY, "form", "flops", *BAND, "extrapolated"]
FORECAST = ["form", "y", "low", "high", "backtest_hits", "backtest_n", "backtest_width", "backtest_rmse"]
TARGETS = [*KEY, "target", "n_params", "n_tokens", "flops", "decades_beyond", *FORECAST, "status", "reason"]
HELD_OUT = [*KEY, "origin", "checkpoint", "flops", "form", "y", "predicted", "low", "high"]


def ladder_tables(analyses: list[Analysis], spec: Spec) -> dict[str, pd.DataFrame]:
    """By name; columns are the same whatever there is."""
    return {
        "fits": _table(TRENDS, chain.from_iterable(map(fit_rows, analyses))),
        "parameters": _table(PARAMETERS, (row for each in analyses for row in parameter_rows(each, spec.alpha))),
        "slopes": _rows(Slope, ((each, slopes(each.fits, spec.alpha)) for each in analyses)),
        "selection": _rows(Selection, ((each, select(each.fits, holdout(each))) for each in analyses)),
        "predictions": _concat(PREDICTIONS, (part for each in analyses for part in curves(each, spec))),
        "targets": _table(TARGETS, (row for each in analyses for row in target_rows(each, spec))),
        "backtest": _rows(Backtest, ((each, each.backtest) for each in analyses)),
        "held_out": _concat(HELD_OUT, (part for each in analyses for part in held_out(each))),
        "ceilings": _rows(Ceiling, ((each, ceilings(each.fits, spec.alpha, each.within)) for each in analyses)),
    }


def fit_rows(each: Analysis) -> list[dict]:
    """One for each form."""
    return [
        each.key | {"form": found.form.name} | asdict(found.trend) | {"in_domain": each.in_domain}
        for found in each.fits
    ]


def parameter_rows(each: Analysis, alpha: float) -> list[dict]:
    """Of every form that is fitted; a parameter that a bound holds has no interval."""
    rows = []
    for found in each.fits:
        for index, (name, unit) in enumerate(found.form.parameters.items() if found.fitted else ()):
            value = float(found.parameters[index])
            free = found.solution.free[index]
            low, high = found.interval(value, found.inverse[index], alpha) if free else (None, None)
            row = {"parameter": name, "value": value, "low": low, "high": high, "unit": unit}
            rows.append(each.key | {"form": found.form.name} | row)
    return rows


def holdout(each: Analysis) -> dict[str, float]:
    """RMSE of the largest size by form."""
    return {row.form: row.rmse for row in each.backtest if row.scheme == LARGEST and row.rmse is not None}


def curves(each: Analysis, spec: Spec) -> list[pd.DataFrame]:
    """Each fitted form over a grid of FLOPs, and the set of forms."""
    if not each.weights:
        return []
    first, last = each.ladder.at.x.min(), each.ladder.at.x.max()
    beyond = np.linspace(last, last + spec.extend * LN10, BEYOND)[1:]
    grid = np.append(np.linspace(first, last, INSIDE), beyond)
    at, parts = each.ladder.path(grid), {}
    for found in each.fits:
        if found.fitted:
            parts[found.form.name] = bands(found, at, spec.alpha, each.within)
    inside = [parts[name] for name in each.weights]
    parts[SET] = {"y": sum(weight * parts[name]["y"] for name, weight in each.weights.items())}
    for name in BAND[1:]:
        ends = [band[name] for band in inside]
        parts[SET][name] = np.min(ends, axis=0) if name.endswith("low") else np.max(ends, axis=0)
    of_grid = {"flops": np.exp(grid), "extrapolated": grid > last}
    return [pd.DataFrame(of_grid | band | each.key | {"form": name}) for name, band in parts.items()]


def target_rows(each: Analysis, spec: Spec) -> list[dict]:
    """Of each target by each form of the set and by the set; or why there is no forecast."""
    rows = []
    past = next(row for row in each.backtest if row.scheme == ROLLING and row.form == SET)
    beside = {f"backtest_{name}": getattr(past, name) for name in ("hits", "n", "width", "rmse")}
    for name, target in spec.targets.items():
        amount = flops(target.n_params, target.n_tokens)
        at = compute([amount], [target.n_params], [target.n_tokens])
        beyond = float(decades_beyond(each.ladder, at)[0])
        row = each.key | {"target": name, **target.model_dump(), "flops": amount, "decades_beyond": beyond}
        if reason := refusal(each, beyond):
            rows.append(row | {"form": SET, "status": "insufficient", "reason": reason})
            continue
        for made in forecasts(each, at, spec.alpha):
            ends = {"y": float(made.y[0]), "low": float(made.low[0]), "high": float(made.high[0])}
            rows.append(row | {"form": made.form, **ends, "status": "ok", "reason": ""} | beside)
    return rows


def refusal(each: Analysis, beyond: float) -> str:
    """Why a target is not forecast, or nothing."""
    if not each.weights:
        return each.fits[0].trend.reason
    if beyond > FARTHEST:
        return f"{beyond:.1f} decades beyond the data; forecasts end at {FARTHEST:g}"
    return ""


def forecasts(each: Analysis, at: Compute, alpha: float) -> list[Forecast]:
    """Of the mean family, by each form of the set and then by the set."""
    made = [forecast(each.fit_of(name), at, alpha, each.within) for name in each.weights]
    return [*made, union(made, each.weights)]


def held_out(each: Analysis) -> list[pd.DataFrame]:
    """The predictions of the backtest."""
    parts = []
    for part in each.held_out:
        of_rows = {"checkpoint": each.checkpoints[part.rows], "flops": np.exp(each.ladder.at.x[part.rows])}
        numbers = {name: getattr(part, name) for name in ("y", "predicted", "low", "high")}
        labels = each.key | {"origin": part.origin, "form": part.form}
        parts.append(pd.DataFrame(of_rows | numbers | labels))
    return parts


def _table(columns: list[str], rows: Iterable) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns)


def _rows(model: type, parts: Iterable) -> pd.DataFrame:
    """A table of dataclasses: one row for each of (analysis, its rows)."""
    names = [field.name for field in fields(model)]
    return _table([*KEY, *names], (each.key | asdict(row) for each, rows in parts for row in rows))


def _concat(columns: list[str], parts: Iterable) -> pd.DataFrame:
    parts = list(parts)
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
