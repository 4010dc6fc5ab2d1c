"""Data efficiency: what the learning curves of kept encoders come to, and whether it changes with size and duration."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.collect.repeats import Repeats
from retscale.collect.summary import StudySummary
from retscale.evaluate.metrics import metric
from retscale.fit import rules
from retscale.fit.config import Spec
from retscale.fit.constant import ROUNDING, constant
from retscale.fit.detectable import BOTH, Limit, knowing_seeds, knows
from retscale.fit.error_rates import Noise, Rates, rates
from retscale.fit.isoflop import interval
from retscale.fit.ladder import LN10, Ladder, ladder_of
from retscale.fit.points import ENCODER, KEY
from retscale.fit.reml import Reml, reml
from retscale.fit.seeds import joined, joined_draws, seeds
from retscale.fit.size_growth import studies
from retscale.fit.variants import resampled_variants

SHARE = 0.95  # of the last score, for which the pairs are counted
COLUMNS = [*KEY, "seeds", "points", "first", "last", "y_first", "y_last", "area", "area_low", "area_high", "area_knows"]
COLUMNS += ["needed", "needed_low", "needed_high", "needed_knows", "at_most", "reason"]
TRENDS = ["recipe", "measure", "direction", "n", "sizes", "slope", "low", "high", "df", "status", "reason"]
MEASURES = {"area": "area", "needed": "log10 of the queries needed"}
HALF = -float(np.log10(2))  # decades of queries, a decade of parameters, where larger models need fewer
NO_SCORE = "the last score is 0"
APART = 4  # times as many queries, between two encoders: further apart the straight line says more than they do
TOO_FAR = f"the encoders around it are more than {APART} times apart in queries"
Curve = tuple[np.ndarray, np.ndarray]  # queries (m,) and resampled scores (replicates, m)


def efficiency(
    curves: pd.DataFrame, kept: pd.DataFrame, last: pd.DataFrame, study: StudySummary, spec: Spec
) -> pd.DataFrame:
    """One row per checkpoint, recipe and task (and `mean`) of its learning curve, from `first` to `last` training queries.

    `area`: the mean score under the curve, queries counted in logarithms, between the first kept encoder and the last.
    `needed`: queries after which the score first is SHARE of the last one, on a straight line in their logarithm between
    two encoders that are at most APART times apart in them; `at_most`: the first kept encoder has it already. Of several
    trainings they are means (`over_seeds`).
    `curves`, `kept` (single queries of kept encoders) and `last` (of the last ones) are tables of `collect`.
    """
    if spec.metric not in kept or kept[spec.metric].isna().all():
        return pd.DataFrame(columns=COLUMNS)
    seen = curves.groupby([*ENCODER, "step"])["queries"].first()
    ends = curves.groupby(ENCODER)["step"].max().rename("variant").reset_index()
    final = last.merge(kept[[*ENCODER, "task"]].drop_duplicates(), on=[*ENCODER, "task"]).merge(ends, on=ENCODER)
    queries = pd.concat([kept.rename(columns={"step": "variant"}), final], ignore_index=True)
    variants = resampled_variants(queries, study, spec.metric, spec.bootstrap, spec.seed)
    rows, drawn = [], {}
    for (checkpoint, recipe, task), y in variants.y.groupby(level=[*ENCODER, "task"]):
        steps = list(y.index.get_level_values("variant"))
        x = np.array([seen[checkpoint, recipe, step] for step in steps], float)
        if len(x) > 1:
            about = {"checkpoint": checkpoint, "recipe": recipe, "task": task}
            draws = np.stack([variants.draws[checkpoint, recipe, step, task] for step in steps], 1).astype(float)
            rows.append(about | curve(x, y.to_numpy(float), draws, spec.alpha))
            drawn[checkpoint, recipe, task] = x, draws
    table = pd.DataFrame(rows, columns=COLUMNS)
    return over_seeds(table, drawn, study.repeats, spec) if rows else table


def over_seeds(rows: pd.DataFrame, drawn: dict[tuple, Curve], repeats: Repeats, spec: Spec) -> pd.DataFrame:
    """The `rows` of single trainings as one per checkpoint, recipe and task: the mean of its trainings, `seeds` of them.

    `needed` is averaged and bounded in its logarithm; `at_most` is true if it is of any. Intervals are over queries and
    seeds where the noise of seeds is known, over queries alone elsewhere: `area_knows`, `needed_knows`. `drawn`: by KEY.
    """
    draws = {"area": replicates(area, drawn), "log": replicates(lambda *one: np.log10(needed(*one)), drawn)}
    numbers = {"log": np.log10(rows["needed"].astype(float)), "at_once": rows["at_most"].astype(float)}
    rows = rows.assign(**numbers, no_score=(rows["reason"] == NO_SCORE).astype(float), file=None, sha256=None)
    known = {name: seeds(rows.assign(y=rows[name]), of, repeats, spec.alpha) for name, of in draws.items()}
    table = joined(rows, known["area"], ["y_first", "y_last", "area", "log", "at_once", "no_score"])

    def bounded(name: str, least: Limit, most: Limit) -> pd.DataFrame:
        """The table with y, low and high of a measure; without ends where nothing is known of seeds."""
        points = table.assign(y=table[name], low=np.nan, high=np.nan)
        return knowing_seeds(points, joined_draws(draws[name], known[name]), known[name], spec.alpha, least, most)

    def over(name: str) -> list[str]:
        return [knows(known[name], *key) for key in zip(table["recipe"], table["task"], strict=True)]

    within, several = metric(spec.metric), table["seeds"] > 1
    areas = bounded("area", within.least, within.most)
    pairs = 10 ** bounded("log", np.log10(table["first"]), np.log10(table["last"]))[["y", "low", "high"]]
    table = table.assign(area_knows=over("area"), needed_knows=over("log"))
    # A single training has the digits that it has without a logarithm.
    table["needed"] = pairs["y"].where(several, table["needed"])
    at_once = (table["at_once"] > 0).where(table["at_once"].notna())
    table["at_most"] = at_once.where(several, table["at_most"])
    unknown = np.where(table["no_score"] > 0, NO_SCORE, TOO_FAR)
    table["reason"] = np.where(table["needed"].isna(), unknown, "")
    for end in ("low", "high"):
        table[f"area_{end}"] = areas[end].fillna(table[f"area_{end}"])
        replaced = several | (table["needed_knows"] == BOTH)
        table[f"needed_{end}"] = pairs[end].where(replaced, table[f"needed_{end}"])
    return table[COLUMNS]


def replicates(measure: Callable, drawn: dict[tuple, Curve]) -> pd.DataFrame:
    """A measure of curves, replicates x KEY; where one has none, since its last score is 0, it has the mean of the others."""
    table = pd.DataFrame({key: measure(*one) for key, one in drawn.items()}).rename_axis(columns=KEY)
    return table.fillna(table.mean())


def curve(x: np.ndarray, y: np.ndarray, draws: np.ndarray, alpha: float) -> dict:
    """What one curve y (m,) over queries x (m,), ascending, comes to; `draws` (replicates, m) of it."""
    ends = [alpha / 2, 1 - alpha / 2]
    low, high = np.quantile(area(x, draws), ends)
    result = {"points": len(x), "first": int(x[0]), "last": int(x[-1]), "y_first": y[0], "y_last": y[-1]}
    result |= {"area": float(area(x, y[None])[0]), "area_low": low, "area_high": high, "reason": ""}
    value = float(needed(x, y[None])[0])
    if not np.isfinite(value):
        return result | {"reason": NO_SCORE}
    if apart(x, y[None])[0]:
        return result | {"reason": TOO_FAR}
    least, most = bounds(x, draws)
    low, high = np.quantile(least[np.isfinite(least)], ends[0]), np.quantile(most[np.isfinite(most)], ends[1])
    result |= {"needed": value, "needed_low": low, "needed_high": high}
    return result | {"at_most": bool(y[0] >= SHARE * y[-1])}


def area(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean of each row of y (r, m) over the logarithm of x (m,)."""
    return np.trapezoid(y, np.log(x), axis=1) / np.log(x[-1] / x[0])


def needed(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The least x (r,) at which each row of y (r, m) has SHARE of its last value; NaN where that is not above 0."""
    goal, (before, at), rows = SHARE * y[:, -1], around(y), np.arange(len(y))
    rise = y[rows, at] - y[rows, before]
    part = np.where(rise > 0, (goal - y[rows, before]) / np.where(rise > 0, rise, 1), 0.0)
    log = np.log(x)
    queries = np.exp(log[before] + np.clip(part, 0, 1) * (log[at] - log[before]))
    return np.where(goal > 0, queries, np.nan)


def around(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of y (r, m) the place of the encoder that first has SHARE of the last score, after that of the one before."""
    at = (y >= SHARE * y[:, -1:]).argmax(1)  # the last one has it
    return np.maximum(at - 1, 0), at


def apart(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether these two have queries x (m,) more than APART times apart, for each row of y (r, m)."""
    before, at = around(y)
    return x[at] > APART * x[before]


def bounds(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is `needed` (r,), at least and at most: between two encoders that are too far `apart` it may be anywhere."""
    value, wide, (before, at) = needed(x, y), apart(x, y) & (y[:, -1] > 0), around(y)
    return np.where(wide, x[before], value), np.where(wide, x[at], value)


def trends(table: pd.DataFrame, points: pd.DataFrame, spec: Spec) -> pd.DataFrame:
    """How the mean's `area` and `needed` change per decade of parameters, and of pretraining tokens, the other held fixed.

    `points`: those of the mean that enter fits, finished. REML with an effect of size and an intercept a family,
    Student's t. Of growth with parameters the sizes are the replicates, of that with tokens the checkpoints within sizes.
    """
    rows = []
    for recipe, group in of_means(table, points).groupby("recipe"):
        for measure, what in MEASURES.items():
            early = int(group["at_most"].fillna(False).astype(bool).sum()) if measure == "needed" else 0
            known = measured(group, measure)
            remarks = [f"{early} of {len(known)} have it by the first kept encoder"] if early else []
            without = group.loc[~group.index.isin(known.index), "reason"].value_counts().sort_index()
            remarks += [f"{number} of {len(group)} have none: {reason}" for reason, number in without.items()]
            for row in growth(ladder_of(known), spec.alpha):
                row["reason"] = "; ".join(filter(None, [row["reason"], *remarks]))
                rows.append({"recipe": recipe, "measure": what} | row)
    return pd.DataFrame(rows, columns=TRENDS)


def of_means(table: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """The rows of the mean, with what is known of their encoders."""
    about = points[points["task"] == MEAN].drop(columns=["y", "low", "high"])
    return table[table["task"] == MEAN].drop(columns="task").merge(about, on=ENCODER)


def measured(means: pd.DataFrame, measure: str) -> pd.DataFrame:
    """The rows that have the measure, as y."""
    values = means[measure].astype(float)
    rows = means.assign(y=np.log10(values) if measure == "needed" else values)
    return rows[rows["y"].notna()]


def design(ladder: Ladder) -> tuple[np.ndarray, dict[str, int]]:
    """Intercepts of families and log10 of parameters and of tokens (n, families + 2); the degrees of freedom of each slope."""
    n = len(ladder)
    x = [(values - values.mean()) / LN10 if n else values for values in (ladder.at.n, ladder.at.d)]
    columns = np.column_stack([np.ones(n), ladder.contrasts(), *x])
    return columns, {"parameters": ladder.n_sizes - ladder.n_families - 1, "tokens": n - ladder.n_sizes - 1}


def plane(ladder: Ladder) -> Reml | str:
    """y on the `design`, or why it cannot be fitted."""
    n, (columns, free) = len(ladder), design(ladder)
    if n <= columns.shape[1] or min(free.values()) < 1 or np.linalg.matrix_rank(columns) < columns.shape[1]:
        return f"too few checkpoints ({n} of {ladder.n_sizes} sizes) to tell parameters from tokens"
    if constant(ladder.y):
        return "all values are equal"
    fitted = reml(columns, ladder.y[None], ladder.groups)
    return "the plane passes through every point" if float(fitted.sigma[0]) <= ROUNDING else fitted


def growth(ladder: Ladder, alpha: float) -> list[dict]:
    """The slopes of y on log10 of parameters and of tokens."""
    n, fitted, (columns, free) = len(ladder), plane(ladder), design(ladder)
    rows = []
    for place, (direction, df) in enumerate(free.items()):
        row = {"direction": direction, "n": n, "sizes": ladder.n_sizes, "df": df, "status": "ok", "reason": ""}
        if isinstance(fitted, str):
            rows.append(row | {"df": None, "status": "insufficient", "reason": fitted})
            continue
        along = np.eye(columns.shape[1])[place - 2]
        slope, low, high = (float(end[0]) for end in interval(fitted, along, df, alpha))
        rows.append(row | {"slope": slope, "low": low, "high": high})
    return rows


def fewer_rates(ladder: Ladder, spec: Spec, rng: np.random.Generator) -> Rates:
    """Of fewer queries needed with parameters, in worlds with the noise of `ladder`, whose y is their logarithm."""
    own, (columns, free) = plane(ladder), design(ladder)
    if isinstance(own, str):
        return Rates()
    along = np.eye(columns.shape[1])[-2]

    def verdicts(y: np.ndarray) -> list[str]:
        _, low, high = interval(reml(columns, y, ladder.groups), along, free["parameters"], spec.alpha)
        return [rules.fewer(*ends) for ends in zip(low, high, strict=True)]

    noise = Noise(float(own.sigma[0]), float(own.tau[0]), studies(spec))
    true, false = (verdicts(slope * columns[:, -2] + noise.draw(ladder.groups, rng)) for slope in (HALF, 0.0))
    worlds = "true: half the queries for ten times the parameters; false: as many"
    return rates(true, false, f"{worlds}; {noise.words()}, in decades of queries")
