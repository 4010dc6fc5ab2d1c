"""What is computed of each ladder: every form, the set of forms, and the backtest."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from retscale.common.progress import progress
from retscale.evaluate.metrics import metric
from retscale.fit import backtest, select
from retscale.fit.config import Spec
from retscale.fit.forms import FORMS
from retscale.fit.ladder import Ladder, ladder_of
from retscale.fit.trend import Fit, fit
from retscale.fit.variance import Prior


@dataclass(frozen=True)
class Analysis:
    """A ladder by its `key` (recipe, schedule, task), the ids of its checkpoints, and what was fitted to it.

    `weights`: the set of forms (select.chosen). `within`: the range of the metric.
    """

    key: dict[str, str]
    in_domain: bool
    ladder: Ladder
    checkpoints: np.ndarray
    fits: list[Fit]
    weights: dict[str, float]
    held_out: list[backtest.HeldOut]
    backtest: list[backtest.Backtest]
    within: tuple[float, float]

    def fit_of(self, form: str) -> Fit:
        return next(candidate for candidate in self.fits if candidate.form.name == form)


def ladder_rows(marks: pd.DataFrame) -> pd.DataFrame:
    """The rows of points that enter fits, as `scheduled`."""
    return scheduled(marks[marks["role"] == "fit"])


def scheduled(marks: pd.DataFrame) -> pd.DataFrame:
    """The rows of points with known FLOPs, with `schedule` and log10 FLOPs."""
    rows = marks[marks["flops"].notna()]
    schedule = np.where(rows["schedule_finished"].astype(bool), "finished", "unfinished")
    return rows.assign(schedule=schedule, log_flops=np.log10(rows["flops"].astype(float)))


def analyze(marks: pd.DataFrame, means: set[str], spec: Spec) -> list[Analysis]:
    """One for each recipe, schedule and task of the points that have a score; some tasks are `means` over tasks."""
    definition = metric(spec.metric)
    within, table = (definition.least, definition.most), []
    groups = list(ladder_rows(marks).groupby(["recipe", "schedule", "task"]))
    for key, rows in progress(groups, "trends", unit="trends"):
        rows = rows.sort_values("checkpoint")
        prior = Prior(spec.size_sd_mean if key[-1] in means else spec.size_sd_task, spec.size_df)
        ladder = ladder_of(rows)
        fits = [fit(form, ladder, spec.alpha, prior) for form in FORMS.values()]
        held_out = backtest.hold_out(ladder, spec.alpha, prior, within)
        table.append(
            Analysis(
                key=dict(zip(("recipe", "schedule", "task"), key, strict=True)),
                in_domain=bool(rows["in_domain"].iloc[0]),
                ladder=ladder,
                checkpoints=rows["checkpoint"].to_numpy(str),
                fits=fits,
                weights=select.chosen(fits),
                held_out=held_out,
                backtest=backtest.summarize(ladder, held_out),
                within=within,
            )
        )
    return table
