"""Encoders and tasks that differ in one thing: instructions in queries or in training, mixed data sets, the family, or tuning
for chat.
"""

from collections.abc import Iterable
from itertools import combinations, product
from math import prod

import numpy as np
import pandas as pd

from retscale.collect.comparisons import Comparisons
from retscale.collect.means import MEAN
from retscale.collect.summary import StudySummary
from retscale.common.seeds import stream
from retscale.fit.compare import difference, judged, of_trainings
from retscale.fit.config import Spec
from retscale.fit.detectable import of_encoders
from retscale.fit.multiple import holm
from retscale.fit.paired import bootstrap_p, paired_p
from retscale.fit.points import ENCODER, QueryScores
from retscale.fit.seeds import UNKNOWN, Seeds, joined, joined_draws, seeds
from retscale.fit.variants import resampled_variants

ASKED, TRAINED, MIXED = "asked with instructions", "trained with instructions", "trained on a mixture"
KIND, TUNED = "of another family", "tuned for chat"
ALIKE = 1.25  # parameters, and tokens, within this ratio are equal
KEY = ["kind", "checkpoint", "recipe", "task", "against"]
COLUMNS = [*KEY, "data_set", "of_family", "of_size", "against_family", "y", "y_against", "difference", "low", "high"]
COLUMNS += ["p", "p_holm", "method"]


def comparisons(
    points: pd.DataFrame,
    draws: pd.DataFrame,
    queries: Iterable[QueryScores],
    asked: pd.DataFrame,
    study: StudySummary,
    spec: Spec,
    known: Seeds = UNKNOWN,
) -> pd.DataFrame:
    """One row per encoder, task (or average) and thing that differs: the score minus that `against` it, paired by query.

    Of ASKED `task` is the one with instructions and `against` the same one without. Of TRAINED and MIXED `against` is the
    other recipe of the same checkpoint; MIXED is against the training on `data_set` alone. Of KIND `against` is the checkpoint
    of another family that is paired with it (`of_families`), each under its first recipe. Of TUNED it is the base that
    `checkpoint` was tuned from, for chat or by preferences, both under the first recipe that they share; both kinds are of
    finished checkpoints. `asked`: the single queries of the tasks of ASKED. Holm's p is over the rows of a kind, of means
    and of tasks apart. Intervals and p of ASKED, TRAINED and MIXED are over seeds as well where the noise of those is known.
    """
    pairs = study.comparisons
    rows = [
        *of_tasks(asked, study, pairs.asked, spec),
        *of_recipes(points, draws, queries, others(pairs), spec, known, study.main_recipe),
    ]
    own = trained_here(points, study.recipes)
    for kind, couples in ((KIND, of_families(own, set(pairs.tuned))), (TUNED, of_bases(own, pairs.tuned))):
        rows += between(points, draws, kind, couples, spec)
    table = pd.DataFrame(rows, columns=COLUMNS)
    for _, group in table.groupby(["kind", table["task"] == MEAN]):
        table.loc[group.index, "p_holm"] = holm(group["p"].to_numpy(float))
    return table.sort_values(KEY, ignore_index=True)


def others(pairs: Comparisons) -> list[tuple[str, str, str, str | None]]:
    """(kind, recipe, against, data set) of recipes that are compared."""
    trained = [(TRAINED, recipe, against, None) for recipe, against in pairs.trained.items()]
    mixed = [
        (MIXED, recipe, against, data_set)
        for recipe, parts in pairs.mixed.items()
        for data_set, against in parts.items()
    ]
    return trained + mixed


def of_recipes(
    points: pd.DataFrame,
    draws: pd.DataFrame,
    queries: Iterable[QueryScores],
    pairs: list[tuple[str, str, str, str | None]],
    spec: Spec,
    known: Seeds,
    main: str,
) -> list[dict]:
    """Every checkpoint that both recipes of a pair train, on every task and average."""
    y, rows = points.set_index([*ENCODER, "task"])["y"], []
    tested = tests(queries, {(recipe, against) for _, recipe, against, _ in pairs}, spec) if pairs else {}
    for kind, recipe, against, data_set in pairs:
        for checkpoint, task in points.loc[points["recipe"] == recipe, ["checkpoint", "task"]].itertuples(index=False):
            first, second = (checkpoint, against, task), (checkpoint, recipe, task)
            if first not in y.index or first not in draws or second not in draws:
                continue
            row = {"kind": kind, "checkpoint": checkpoint, "recipe": recipe, "task": task, "against": against}
            row |= {"data_set": data_set, "y": float(y[second]), "y_against": float(y[first])}
            paired = tested.get((checkpoint, recipe, against, task))
            paired = paired if paired and paired[1] else None
            rows.append(row | of_trainings(y, draws, first, second, paired, spec, known, main)[0])
    return rows


def trained_here(points: pd.DataFrame, recipes: list[str]) -> pd.DataFrame:
    """One row per finished checkpoint and recipe of the study, what is known of it, by the order of recipes; none of role
    `external`."""
    order = {recipe: place for place, recipe in enumerate(recipes)}
    own = points["recipe"].isin(order) & (points["role"] != "external") & points["schedule_finished"].astype(bool)
    rows = points[own].drop_duplicates(ENCODER)
    return rows.assign(place=rows["recipe"].map(order)).sort_values(["place", "family", "checkpoint"])


def of_families(encoders: pd.DataFrame, tuned: set[str]) -> list[tuple[dict, dict]]:
    """Pairs of two families' checkpoints of role `fit`, without the `tuned`, each under its first recipe."""
    wanted = (encoders["role"] == "fit") & encoders["n_tokens"].notna() & ~encoders["checkpoint"].isin(tuned)
    own = encoders[wanted].drop_duplicates("checkpoint").sort_values(["family", "checkpoint"])
    families = [rows.to_dict("records") for _, rows in own.groupby("family")]
    return [pair for two in combinations(families, 2) for pair in matched(*two)]


def matched(ones: list[dict], others: list[dict]) -> list[tuple[dict, dict]]:
    """Pairs of as many parameters and tokens, the closest first: one to one, and so are the sizes that they are of.

    Pairs that share a checkpoint, or the noise of its size, would be no replicates.
    """
    alike = [pair for pair in product(ones, others) if max(ratios(*pair)) <= ALIKE]
    alike.sort(key=lambda pair: prod(ratios(*pair)))
    sizes = one_to_one((one["size"], other["size"]) for one, other in alike)
    alike = [(one, other) for one, other in alike if sizes.get(one["size"]) == other["size"]]
    partners = one_to_one((one["checkpoint"], other["checkpoint"]) for one, other in alike)
    return [(one, other) for one, other in alike if partners.get(one["checkpoint"]) == other["checkpoint"]]


def ratios(one: dict, other: dict) -> list[float]:
    """Of parameters and of tokens, the larger to the smaller."""
    return [max(one[name], other[name]) / min(one[name], other[name]) for name in ("n_params", "n_tokens")]


def one_to_one(candidates: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The candidates, in their order, of which neither side is in an earlier one."""
    pairs: dict[str, str] = {}
    for one, other in candidates:
        if one not in pairs and other not in pairs.values():
            pairs[one] = other
    return pairs


def of_bases(encoders: pd.DataFrame, tuned: dict[str, str | None]) -> list[tuple[dict, dict]]:
    """Each tuned checkpoint with its base, under the first recipe that trains both."""
    known = {(row["checkpoint"], row["recipe"]): row for row in encoders.to_dict("records")}
    pairs = {}
    for (checkpoint, recipe), row in known.items():
        base = known.get((tuned.get(checkpoint), recipe))
        if base is not None:
            pairs.setdefault(checkpoint, (row, base))
    return list(pairs.values())


def between(
    points: pd.DataFrame, draws: pd.DataFrame, kind: str, pairs: list[tuple[dict, dict]], spec: Spec
) -> list[dict]:
    """Pairs of two checkpoints on every average and task that both have, the second being `against`."""
    y, rows = points.set_index([*ENCODER, "task"])["y"], []
    for one, other in pairs:
        for task in sorted(set(points["task"])):
            first, second = ((side["checkpoint"], side["recipe"], task) for side in (other, one))
            if first not in y.index or second not in y.index or first not in draws or second not in draws:
                continue
            row = {"kind": kind, "checkpoint": one["checkpoint"], "recipe": one["recipe"], "task": task}
            row |= {"against": other["checkpoint"], "against_family": other["family"]}
            row |= {"of_family": one["family"], "of_size": one["size"]}
            row |= {"y": float(y[second]), "y_against": float(y[first]), "method": "stratified bootstrap"}
            p = bootstrap_p((draws[second] - draws[first]).to_numpy(float))
            rows.append(row | difference(y, draws, first, second, spec.alpha) | {"p": p})
    return rows


def tests(queries: Iterable[QueryScores], pairs: set[tuple[str, str]], spec: Spec) -> dict[tuple, tuple]:
    """p and its method for each (checkpoint, recipe, against, task)."""
    results = {}
    for task in queries:
        column = {encoder: number for number, encoder in enumerate(task.encoders)}
        for (checkpoint, recipe), number in column.items():
            for against in (other for one, other in pairs if one == recipe and (checkpoint, other) in column):
                apart = task.values[:, number] - task.values[:, column[checkpoint, against]]
                rng = stream(spec.seed, "comparisons", checkpoint, recipe, against, task.task)
                results[checkpoint, recipe, against, task.task] = paired_p(
                    apart[np.isfinite(apart)], spec.bootstrap, rng
                )
    return results


def of_tasks(queries: pd.DataFrame, study: StudySummary, asked: dict[str, str], spec: Spec) -> list[dict]:
    """Every encoder on every task that is asked with instructions and without."""
    table = []
    for instructed, plain in sorted(asked.items()):
        part = queries[queries["task"].isin([instructed, plain])]
        if len(part):
            table += of_task(part, study, instructed, plain, spec)
    return table


def of_task(queries: pd.DataFrame, study: StudySummary, instructed: str, plain: str, spec: Spec) -> list[dict]:
    """Every encoder that has both tasks, the mean of its trainings.

    What seeds do is estimated of the difference itself, since much of it is the same on both tasks and cancels.
    """
    part = queries.assign(variant=np.where(queries["task"] == instructed, instructed, ""), task=plain)
    variants = resampled_variants(part, study, spec.metric, spec.bootstrap, spec.seed)
    sides = {"": "y_against", instructed: "y_asked"}
    scores = variants.y.xs(plain, level="task").unstack("variant").reindex(columns=list(sides)).dropna()
    if scores.empty:
        return []
    trainings = scores.rename(columns=sides).reset_index().assign(task=instructed, file=None, sha256=None)
    trainings["y"] = trainings["y_asked"] - trainings["y_against"]
    apart = {
        (*encoder, instructed): variants.draws[*encoder, instructed, plain] - variants.draws[*encoder, "", plain]
        for encoder in scores.index
    }
    draws = pd.DataFrame(apart, dtype=float).rename_axis(columns=[*ENCODER, "task"])
    known = seeds(trainings, draws, study.repeats, spec.alpha)
    draws = joined_draws(draws, known)
    wide = part.pivot_table(index="query_id", columns=[*ENCODER, "variant"], values=spec.metric)
    rows = []
    for one in joined(trainings, known, ["y", "y_asked", "y_against"]).sort_values(ENCODER).itertuples():
        encoder, key = (one.checkpoint, one.recipe), (one.checkpoint, one.recipe, instructed)
        by_query = (wide[*encoder, instructed] - wide[*encoder, ""]).dropna().to_numpy(float)
        paired = paired_p(by_query, spec.bootstrap, stream(spec.seed, "comparisons", *key))
        off = of_encoders(float(draws[key].var(ddof=0)), [encoder], instructed, known, one.recipe)
        row = {"kind": ASKED, "checkpoint": one.checkpoint, "recipe": one.recipe, "task": instructed}
        row |= {"against": plain, "y": one.y_asked, "y_against": one.y_against}
        rows.append(row | judged(one.y, draws[key].to_numpy(float), off, paired, spec.alpha))
    return rows
