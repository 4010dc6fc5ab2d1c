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
        "parameters": _table(
            PARAMETERS, (row for analysis in analyses for row in parameter_rows(analysis, spec.alpha))
        ),
        "slopes": _rows(Slope, ((analysis, slopes(analysis.fits, spec.alpha)) for analysis in analyses)),
        "selection": _rows(Selection, ((analysis, select(analysis.fits, holdout(analysis))) for analysis in analyses)),
        "predictions": _concat(PREDICTIONS, (part for analysis in analyses for part in curves(analysis, spec))),
        "targets": _table(TARGETS, (row for analysis in analyses for row in target_rows(analysis, spec))),
        "backtest": _rows(Backtest, ((analysis, analysis.backtest) for analysis in analyses)),
        "held_out": _concat(HELD_OUT, (part for analysis in analyses for part in held_out(analysis))),
        "ceilings": _rows(
            Ceiling, ((analysis, ceilings(analysis.fits, spec.alpha, analysis.within)) for analysis in analyses)
        ),
    }


def fit_rows(analysis: Analysis) -> list[dict]:
    """One for each form."""
    return [
        analysis.key | {"form": fit.form.name} | asdict(fit.trend) | {"in_domain": analysis.in_domain}
        for fit in analysis.fits
    ]


def parameter_rows(analysis: Analysis, alpha: float) -> list[dict]:
    """Of every form that is fitted; a parameter that a bound holds has no interval."""
    rows = []
    for fit in analysis.fits:
        for index, (name, unit) in enumerate(fit.form.parameters.items() if fit.fitted else ()):
            value = float(fit.parameters[index])
            free = fit.solution.free[index]
            low, high = fit.interval(value, fit.inverse[index], alpha) if free else (None, None)
            row = {"parameter": name, "value": value, "low": low, "high": high, "unit": unit}
            rows.append(analysis.key | {"form": fit.form.name} | row)
    return rows


def holdout(analysis: Analysis) -> dict[str, float]:
    """RMSE of the largest size by form."""
    return {row.form: row.rmse for row in analysis.backtest if row.scheme == LARGEST and row.rmse is not None}


def curves(analysis: Analysis, spec: Spec) -> list[pd.DataFrame]:
    """Each fitted form over a grid of FLOPs, and the set of forms."""
    if not analysis.weights:
        return []
    first, last = analysis.ladder.at.x.min(), analysis.ladder.at.x.max()
    beyond = np.linspace(last, last + spec.extend * LN10, BEYOND)[1:]
    grid = np.append(np.linspace(first, last, INSIDE), beyond)
    at, parts = analysis.ladder.path(grid), {}
    for fit in analysis.fits:
        if fit.fitted:
            parts[fit.form.name] = bands(fit, at, spec.alpha, analysis.within)
    inside = [parts[name] for name in analysis.weights]
    parts[SET] = {"y": sum(weight * parts[name]["y"] for name, weight in analysis.weights.items())}
    for name in BAND[1:]:
        ends = [band[name] for band in inside]
        parts[SET][name] = np.min(ends, axis=0) if name.endswith("low") else np.max(ends, axis=0)
    of_grid = {"flops": np.exp(grid), "extrapolated": grid > last}
    return [pd.DataFrame(of_grid | band | analysis.key | {"form": name}) for name, band in parts.items()]


def target_rows(analysis: Analysis, spec: Spec) -> list[dict]:
    """Of each target by each form of the set and by the set; or why there is no forecast."""
    rows = []
    past = next(row for row in analysis.backtest if row.scheme == ROLLING and row.form == SET)
    beside = {f"backtest_{name}": getattr(past, name) for name in ("hits", "n", "width", "rmse")}
    for name, target in spec.targets.items():
        amount = flops(target.n_params, target.n_tokens)
        at = compute([amount], [target.n_params], [target.n_tokens])
        beyond = float(decades_beyond(analysis.ladder, at)[0])
        row = analysis.key | {"target": name, **target.model_dump(), "flops": amount, "decades_beyond": beyond}
        if reason := refusal(analysis, beyond):
            rows.append(row | {"form": SET, "status": "insufficient", "reason": reason})
            continue
        for prediction in forecasts(analysis, at, spec.alpha):
            ends = {"y": float(prediction.y[0]), "low": float(prediction.low[0]), "high": float(prediction.high[0])}
            rows.append(row | {"form": prediction.form, **ends, "status": "ok", "reason": ""} | beside)
    return rows


def refusal(analysis: Analysis, beyond: float) -> str:
    """Why a target is not forecast, or nothing."""
    if not analysis.weights:
        return analysis.fits[0].trend.reason
    if beyond > FARTHEST:
        return f"{beyond:.1f} decades beyond the data; forecasts end at {FARTHEST:g}"
    return ""


def forecasts(analysis: Analysis, at: Compute, alpha: float) -> list[Forecast]:
    """Of the mean family, by each form of the set and then by the set."""
    parts = [forecast(analysis.fit_of(name), at, alpha, analysis.within) for name in analysis.weights]
    return [*parts, union(parts, analysis.weights)]


def held_out(analysis: Analysis) -> list[pd.DataFrame]:
    """The predictions of the backtest."""
    parts = []
    for part in analysis.held_out:
        of_rows = {"checkpoint": analysis.checkpoints[part.rows], "flops": np.exp(analysis.ladder.at.x[part.rows])}
        numbers = {name: getattr(part, name) for name in ("y", "predicted", "low", "high")}
        labels = analysis.key | {"origin": part.origin, "form": part.form}
        parts.append(pd.DataFrame(of_rows | numbers | labels))
    return parts


def _table(columns: list[str], rows: Iterable) -> pd.DataFrame:
    return pd.DataFrame(list(rows), columns=columns)


def _rows(model: type, parts: Iterable) -> pd.DataFrame:
    """A table of dataclasses: one row for each of (analysis, its rows)."""
    names = [field.name for field in fields(model)]
    return _table([*KEY, *names], (analysis.key | asdict(row) for analysis, rows in parts for row in rows))


def _concat(columns: list[str], parts: Iterable) -> pd.DataFrame:
    parts = list(parts)
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)
