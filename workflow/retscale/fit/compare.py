"""Differences between encoders that answered the same queries, and what size and duration each contribute."""

from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.common.seeds import stream
from retscale.fit.config import Spec
from retscale.fit.constant import ROUNDING
from retscale.fit.detectable import BOTH, Error, of_encoders
from retscale.fit.isoflop import EqualCompute, equal_compute
from retscale.fit.ladder import ladder_of
from retscale.fit.multiple import holm
from retscale.fit.paired import bootstrap_p, paired_p
from retscale.fit.points import QueryScores
from retscale.fit.seeds import UNKNOWN, Seeds

WIDE = 10.0  # pairs beyond this ratio of FLOPs are not listed


def difference(y: pd.Series, draws: pd.DataFrame, first: tuple, second: tuple, alpha: float) -> dict:
    """second - first, two columns of `draws`, with the paired interval over queries."""
    low, high = np.quantile(draws[second] - draws[first], [alpha / 2, 1 - alpha / 2])
    return {"difference": float(y[second] - y[first]), "low": float(low), "high": float(high)}


SIDE = ("checkpoint", "size", "flops", "tokens_per_param", "y")
PAIR_COLUMNS = ["recipe", "family", *(f"{name}_{side}" for side in ("small", "large") for name in SIDE)]
PAIR_COLUMNS += ["flops_ratio", "iso_flop", "difference", "query_low", "query_high", "adjusted", "low", "high", "p"]
PAIR_COLUMNS += ["p_holm", "multiplier", "detectable", "detectable_knows", "method", "status", "reason"]


def isoflop_pairs(
    points: pd.DataFrame, draws: pd.DataFrame, near: float, alpha: float, known: Seeds = UNKNOWN, main: str = ""
) -> pd.DataFrame:
    """Pairs of two sizes of a family: the larger model's mean minus the smaller one's.

    FLOPs are 6ND of the cards, never of labels. `query_low` and `query_high` bound the difference over queries: how sure
    that of these two encoders is. `adjusted` is without what the growth of the global model makes of the ratio of
    FLOPs; its interval is for new trainings of the two, of variance query + 2 (sigma^2 + tau^2), Student's t
    on the model's degrees of freedom. `p` is of no difference; Holm's over the pairs of a recipe. `multiplier` is the
    factor of FLOPs that would grow by `adjusted`, where growth is sure to be positive. `detectable` is the smallest
    difference of two such encoders that a test over queries, and over seeds where they are known, would find.

    Pairs beyond the ratio `near` are not of equal compute (`iso_flop` false): listed up to WIDE and not tested.
    """
    means = points[(points["task"] == MEAN) & (points["schedule"] == "finished")]
    tables = [pd.DataFrame(columns=PAIR_COLUMNS)]
    for recipe, group in means.groupby("recipe"):
        fitted = equal_compute(ladder_of(group), alpha)
        rows = []
        for small, large in two_sizes(group):
            sides = {f"{name}_{side}": row[name] for side, row in (("small", small), ("large", large)) for name in SIDE}
            ratio = large["flops"] / small["flops"]
            pair = {"recipe": recipe, "family": small["family"], **sides, "flops_ratio": ratio}
            pair |= {"iso_flop": 1 / near <= ratio <= near, "difference": large["y"] - small["y"]}
            query = [draws.get((row["checkpoint"], recipe, MEAN)) for row in (small, large)]
            apart = None if query[0] is None or query[1] is None else (query[1] - query[0]).to_numpy()
            if apart is not None:
                pair["query_low"], pair["query_high"] = np.quantile(apart, [alpha / 2, 1 - alpha / 2])
                encoders = [(row["checkpoint"], recipe) for row in (small, large)]
                pair |= seen(of_encoders(float(apart.var()), encoders, MEAN, known, main), alpha)
            rows.append(pair | new_trainings(pair, fitted, 0.0 if apart is None else float(apart.var()), alpha))
        table = pd.DataFrame(rows, columns=PAIR_COLUMNS)
        tables.append(table.assign(p_holm=holm(table["p"].to_numpy(float))))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def two_sizes(points: pd.DataFrame) -> list[tuple[dict, dict]]:
    """Checkpoints of two sizes of a family within the ratio WIDE of FLOPs, the smaller model first."""
    ordered = points.sort_values(["n_params", "n_tokens", "checkpoint"]).to_dict("records")
    return [
        (small, large)
        for small, large in combinations(ordered, 2)
        if (small["family"], small["size"]) != (large["family"], large["size"])
        and small["family"] == large["family"]
        and 1 / WIDE <= large["flops"] / small["flops"] <= WIDE
    ]


def new_trainings(pair: dict, fitted: EqualCompute, query_variance: float, alpha: float) -> dict:
    """The adjusted difference of a pair, with its interval, p and multiplier."""
    from scipy.stats import t

    if fitted.growth is None or fitted.growth_low is None or fitted.sigma is None or fitted.tau is None:
        return {"status": fitted.status, "reason": fitted.reason}
    adjusted = pair["difference"] - fitted.growth * np.log10(pair["flops_ratio"])
    result = {"adjusted": adjusted, "status": "ok", "reason": ""}
    if fitted.growth_low > 0:
        result["multiplier"] = 10 ** (adjusted / fitted.growth)
    if not pair["iso_flop"]:
        return result | {"reason": f"not of equal compute: {pair['flops_ratio']:.2f} times the FLOPs"}
    error = np.sqrt(query_variance + 2 * (fitted.sigma**2 + fitted.tau**2))
    half = t.ppf(1 - alpha / 2, fitted.df) * error
    result |= {"low": adjusted - half, "high": adjusted + half, "method": "queries, checkpoints and sizes; Student's t"}
    return result | {"p": 2 * float(t.sf(abs(adjusted) / error, fitted.df))}


ABLATION = ["checkpoint", "size", "flops", "role", "recipe", "task", "headline", "against", "y", "y_against"]
ABLATION += ["difference", "low", "high", "p", "p_holm", "detectable", "detectable_knows", "method"]


def seen(off: Error, alpha: float) -> dict:
    """The smallest difference that would be detected, and whether it knows queries alone."""
    return {"detectable": off.detectable(alpha), "detectable_knows": off.knows}


def ablation(
    points: pd.DataFrame,
    draws: pd.DataFrame,
    queries: Iterable[QueryScores],
    main: str,
    spec: Spec,
    known: Seeds = UNKNOWN,
) -> pd.DataFrame:
    """Every other recipe against the main one on the same checkpoint: the difference of the means, and of each task.

    Interval and p are over queries, and over seeds where the noise of those is known. Holm's p is over the checkpoints
    of a recipe for its means, and over checkpoints and tasks for the rest.
    """
    rows = []
    y = points.set_index(["checkpoint", "recipe", "task"])["y"]
    tested = paired_tests(queries, main, spec) if (points["recipe"] != main).any() else {}
    for row in points[points["recipe"] != main].itertuples():
        first, second = (row.checkpoint, main, row.task), (row.checkpoint, row.recipe, row.task)
        if first not in y.index:
            continue
        about = {name: getattr(row, name) for name in ("checkpoint", "size", "flops", "role", "recipe", "task")}
        sides = {"headline": row.task == MEAN, "against": main, "y": row.y, "y_against": float(y[first])}
        result, off = of_trainings(y, draws, first, second, tested.get(second), spec, known, main)
        rows.append(about | sides | result | seen(off, spec.alpha))
    table = pd.DataFrame(rows, columns=ABLATION)
    for _, group in table.groupby(["recipe", "headline"]):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy(float))
    return table.sort_values(["recipe", "task", "checkpoint"], ignore_index=True)


def of_trainings(
    y: pd.Series,
    draws: pd.DataFrame,
    first: tuple,
    second: tuple,
    paired: tuple[float | None, str] | None,
    spec: Spec,
    known: Seeds,
    main: str,
) -> tuple[dict, Error]:
    """second - first with interval, p and method: over queries and seeds where the noise of seeds is known. Elsewhere over
    queries, and p is the `paired` one with its method, or by bootstrap. Also how far off it may be."""
    apart = draws[second] - draws[first]
    off = of_encoders(float(apart.var(ddof=0)), [first[:2], second[:2]], second[2], known, main)
    return judged(float(y[second] - y[first]), apart.to_numpy(float), off, paired, spec.alpha), off


def judged(value: float, drawn: np.ndarray, off: Error, paired: tuple | None, alpha: float) -> dict:
    """A difference, `drawn` (replicates,) by resampling queries, with interval, p and method, as `of_trainings` has them."""
    if off.knows == BOTH:
        low, high = off.interval(value, alpha)
        p, method = off.p(value), f"{BOTH}; Student's t"
    else:
        low, high = map(float, np.quantile(drawn, [alpha / 2, 1 - alpha / 2]))
        p, method = paired or (bootstrap_p(drawn), "stratified bootstrap")
    return {"difference": value, "low": low, "high": high, "p": p, "method": method}


def paired_tests(queries: Iterable[QueryScores], main: str, spec: Spec) -> dict[tuple, tuple[float | None, str]]:
    """p and its method for each (checkpoint, recipe, task) whose checkpoint has the main recipe, and another, too."""
    tests = {}
    for task in queries:
        column = {encoder: number for number, encoder in enumerate(task.encoders)}
        for (checkpoint, recipe), number in column.items():
            if recipe != main and (checkpoint, main) in column:
                apart = task.values[:, number] - task.values[:, column[checkpoint, main]]
                rng = stream(spec.seed, "ablation", checkpoint, recipe, task.task)
                tests[checkpoint, recipe, task.task] = paired_p(apart[np.isfinite(apart)], spec.bootstrap, rng)
    return tests


def grouped_slope(x: np.ndarray, y: np.ndarray, groups: np.ndarray, alpha: float) -> dict:
    """The common slope of y on x with an intercept per group, with Student's t interval.

    Residuals are taken as independent within groups; n - groups - 1 degrees of freedom.
    """
    from scipy.stats import t as student

    if len(x) == 0:
        return _no_estimate("no group has two checkpoints")
    counts = np.bincount(groups)
    dx, dy = x - (np.bincount(groups, x) / counts)[groups], y - (np.bincount(groups, y) / counts)[groups]
    df, square = len(x) - len(counts) - 1, float(dx @ dx)
    if square == 0 or df < 1:
        too_few = f"{counted(len(x), 'checkpoint')} in {counted(len(counts), 'group')}"
        return _no_estimate(f"{too_few} leave no degree of freedom")
    slope = float(dx @ dy / square)
    residual = float(((dy - slope * dx) ** 2).sum())
    if residual <= (ROUNDING * max(1.0, float(np.abs(y).max()))) ** 2:
        return _no_estimate("the line passes through every point", "unidentified")
    half = float(student.ppf(1 - alpha / 2, df)) * float(np.sqrt(residual / df / square))
    return {"slope": slope, "low": slope - half, "high": slope + half, "df": df, "status": "ok", "reason": ""}


def _no_estimate(reason: str, status: str = "insufficient") -> dict:
    return {"slope": None, "low": None, "high": None, "df": None, "status": status, "reason": reason}


def effects(points: pd.DataFrame, alpha: float) -> pd.DataFrame:
    """The mean's growth in one direction at a time, per decade of FLOPs, for each recipe.

    `size`: along tokens-per-parameter levels of at least two sizes. The sizes are the replicates: the mean over levels
    of each size, centred on its levels, is regressed with sizes - 2 degrees of freedom.
    `tokens`: within sizes of at least two checkpoints.
    """
    rows = []
    means = points[(points["task"] == MEAN) & (points["schedule"] == "finished")]
    for recipe, group in means.groupby("recipe"):
        # A family has levels of its own: another one's offset is no growth.
        group = group.assign(x=group["log_flops"], level=group.groupby(["family", "level"]).ngroup())
        rungs = group[group.groupby("level")["size"].transform("nunique") >= 2]
        key = {"recipe": recipe, "direction": "size", "n": len(rungs), "groups": rungs["level"].nunique()}
        rows.append(key | _size_effect(rungs, alpha))
        rungs = group[group.groupby("size")["checkpoint"].transform("size") >= 2]
        codes = np.unique(rungs["size"], return_inverse=True)[1]
        key = {"recipe": recipe, "direction": "tokens", "n": len(rungs), "groups": rungs["size"].nunique()}
        rows.append(key | grouped_slope(rungs["x"].to_numpy(), rungs["y"].to_numpy(), codes, alpha))
    return pd.DataFrame(rows, columns=EFFECTS)


EFFECTS = ["recipe", "direction", "n", "groups", "slope", "low", "high", "df", "status", "reason"]


def _size_effect(rungs: pd.DataFrame, alpha: float) -> dict:
    if (sizes := rungs["size"].nunique()) < 3:
        too_few = f"{counted(sizes, 'size')} {'shares' if sizes == 1 else 'share'}"
        return _no_estimate(f"{too_few} a level of tokens per parameter; this needs 3")
    centered = rungs.assign(
        x=rungs["x"] - rungs.groupby("level")["x"].transform("mean"),
        y=rungs["y"] - rungs.groupby("level")["y"].transform("mean"),
    )
    by_size = centered.groupby("size")[["x", "y"]].mean()
    return grouped_slope(by_size["x"].to_numpy(), by_size["y"].to_numpy(), np.zeros(len(by_size), int), alpha)
