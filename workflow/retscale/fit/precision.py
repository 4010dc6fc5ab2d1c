"""How much a mean over seeds says more than the score of one training, as the weight of a point in fits."""

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
    """`points` with their `precision`: 1 where nothing is known of seeds."""
    points = points.assign(precision=1.0)
    rows = ladder_rows(points)
    for (_, recipe, task), group in rows.groupby(["schedule", "recipe", "task"]) if known.noise else ():
        loads = [known.load(checkpoint, recipe) for checkpoint in group["checkpoint"]]
        points.loc[group.index, "precision"] = precision(ladder_of(group), loads, known.of(recipe, task))
    return points


def precision(ladder: Ladder, loads: list[Load], noise: Noise) -> np.ndarray:
    """sigma² / (sigma² - what averaging takes away) of each checkpoint (n,): at most the number of its trainings.

    sigma² is the variance that the log-linear form leaves within sizes, of which a training and its queries make the
    mean square between seeds. Where it cannot be told, all weigh the same.
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
