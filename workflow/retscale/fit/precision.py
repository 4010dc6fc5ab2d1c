"""The weight of a point in fits: how much more precise a mean over seeds is than the score of one training."""

import numpy as np
import pandas as pd

from retscale.fit.analysis import ladder_rows
from retscale.fit.forms import FORMS
from retscale.fit.ladder import Ladder, ladder_of
from retscale.fit.seeds import Load, Noise, Seeds
from retscale.fit.solve import solve
from retscale.fit.trend import DECADES, missing
from retscale.fit.variance import components


def weighed(points: pd.DataFrame, known: Seeds) -> pd.DataFrame:
    """`points` with their `precision`, which is 1 where the noise of seeds is unknown."""
    points = points.assign(precision=1.0)
    rows = ladder_rows(points)
    for (_, recipe, task), group in rows.groupby(["schedule", "recipe", "task"]) if known.noise else ():
        loads = [known.load(checkpoint, recipe) for checkpoint in group["checkpoint"]]
        points.loc[group.index, "precision"] = precision(ladder_of(group), loads, known.of(recipe, task))
    return points


def precision(ladder: Ladder, loads: list[Load], noise: Noise) -> np.ndarray:
    """sigma² / (sigma² - the variance that averaging removes) of each checkpoint (n,), at most its number of trainings.

    sigma² is the variance that the log-linear form leaves within sizes; the mean square between seeds is the part of a
    training and its queries. All weigh the same if sigma² is unknown.
    """
    form = FORMS["log-linear"]
    if noise == Noise() or missing(form, ladder, DECADES):
        return np.ones(len(ladder))
    line = solve(form, ladder)
    total = components(line.jacobian, line.residuals, ladder.groups, ladder.precision).sigma
    if not total:
        return np.ones(len(ladder))
    parts = [(noise.training, "training", "mean_square"), (noise.pretraining, "pretraining", "variance")]
    saved, left = np.zeros(len(ladder)), 1.0
    for component, level, name in parts:
        if component is not None:
            share = min(getattr(component, name) / total**2, left)
            saved += share * np.array([1 - getattr(load, level) for load in loads])
            left -= share
    return 1 / (1 - saved)
