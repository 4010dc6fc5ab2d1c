"""The six dimensions of Luo et al. 2024: what each backbone has in each, and what the paper claims of them."""

from dataclasses import replace

import pandas as pd

from retscale.collect.means import MEAN, compared_on, own_tasks
from retscale.collect.summary import StudySummary
from retscale.common.phrase import counted
from retscale.common.seeds import stream
from retscale.fit import rules
from retscale.fit.backbones import FEWEST, GAIN, NOT_LESS, SAME, over_backbones
from retscale.fit.claim import LUO, PER_FLOPS, PER_SIZE, Claim
from retscale.fit.comparisons import ASKED, KIND, MIXED, TRAINED, TUNED
from retscale.fit.config import Spec
from retscale.fit.efficiency import MEASURES, SHARE, fewer_rates, measured, of_means
from retscale.fit.error_rates import Rates
from retscale.fit.ladder import ladder_of
from retscale.fit.points import ENCODER
from retscale.fit.size_growth import size_growth
from retscale.fit.slopes import SIZE

IN_DOMAIN, EFFICIENCY, ZERO_SHOT, LENGTH = "in-domain", "data efficiency", "zero-shot", "lengths"
INSTRUCTIONS, MULTI_TASK = "instructions", "multi-task"
COLUMNS = [*ENCODER, "dimension", "measure", "value", "low", "high"]
ABSENT = "not measured"


def dimensions(tables: dict[str, pd.DataFrame], study: StudySummary) -> pd.DataFrame:
    """One row per backbone, dimension and measure; a backbone's own recipe is its first.

    Intervals are over queries; of all but lengths over seeds as well, where their noise is known.
    """
    points = firsts(tables["points"][tables["points"]["y"].notna()], study)
    own = points[[*ENCODER]].drop_duplicates()
    of_recipes = dict(iter(points.groupby("recipe", sort=False)))
    parts = [
        part(rows[rows["task"] == name], dimension, label, "y", "low", "high")
        for place, dimension in enumerate((IN_DOMAIN, ZERO_SHOT))
        for recipe, rows in of_recipes.items()
        for name in compared_on(study, recipe)[place]
        for label in [f"mean of {name}" if name in study.groups else name]
    ]
    curves = tables["efficiency"].merge(own, on=ENCODER).query("task == @MEAN")
    parts.append(part(curves, EFFICIENCY, "area under the curve", "area", "area_low", "area_high"))
    parts.append(part(curves, EFFICIENCY, f"queries for {SHARE:.0%}", "needed", "needed_low", "needed_high"))
    read = longest(further(tables["lengths"].merge(own, on=ENCODER)))
    ends = ("difference", "difference_low", "difference_high")
    for length, rows in read.groupby("length"):
        parts.append(part(rows, LENGTH, f"{length:,} tokens − its own length", *ends))
    changes = tables["comparisons"]
    for kind, dimension, name in (
        (ASKED, INSTRUCTIONS, "asked"),
        (TRAINED, INSTRUCTIONS, "trained"),
        (MIXED, MULTI_TASK, ""),
    ):
        of_kind = changes[changes["kind"] == kind]
        of_kind = of_kind.merge(own, on=ENCODER) if kind == ASKED else of_kind  # the others compare recipes
        for label, rows in changes_of(of_kind, study).groupby("label"):
            parts.append(part(rows, dimension, f"{name} {label}".strip(), "difference", "low", "high"))
    known = [rows for rows in parts if len(rows)]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=COLUMNS)


def firsts(points: pd.DataFrame, study: StudySummary) -> pd.DataFrame:
    """The rows of each checkpoint under the first of the study's recipes that it has."""
    order = {recipe: place for place, recipe in enumerate(study.recipes)}
    place = points["recipe"].map(order).fillna(len(order))  # one made elsewhere has no other; a control comes last
    return points[place == place.groupby(points["checkpoint"]).transform("min")]


def part(rows: pd.DataFrame, dimension: str, measure: str, value: str, low: str, high: str) -> pd.DataFrame:
    """Rows of a table, of which these columns are the value and its interval."""
    numbers = {"value": rows[value], "low": rows[low], "high": rows[high]}
    named = rows[ENCODER].assign(dimension=dimension, measure=measure, **numbers)
    return named.dropna(subset="value")[COLUMNS]


def further(lengths: pd.DataFrame) -> pd.DataFrame:
    """The means of encoders at lengths beyond their own."""
    means = lengths[lengths["task"] == MEAN]
    own = means[means["own"].astype(bool)].set_index(ENCODER)["length"].rename("own_length")
    means = means.join(own, on=ENCODER)
    return means[(means["length"] > means["own_length"]) & means["difference"].notna()]


def longest(lengths: pd.DataFrame) -> pd.DataFrame:
    """Each encoder at its longest length."""
    return lengths.sort_values("length").groupby(ENCODER, as_index=False).tail(1)


def at_shared(lengths: pd.DataFrame) -> pd.DataFrame:
    """Encoders at the longest length that all of them have; differences at several lengths are not comparable."""
    have = lengths.groupby("length")["checkpoint"].nunique()
    return lengths[lengths["length"] == have.index[have == lengths["checkpoint"].nunique()].max()]


def at_length(lengths: pd.DataFrame) -> str:
    return f", of {lengths['length'].iloc[0]:,} tokens" if len(lengths) else ""


def changes_of(rows: pd.DataFrame, study: StudySummary) -> pd.DataFrame:
    """Of instructions on the tasks that are asked with them; of mixtures on the tasks of the other's data set and the mean.

    Each with a `label`, which names the recipe where a checkpoint has several such changes.
    """
    with_instructions, asked = set(study.comparisons.asked), rows["kind"] == ASKED
    wanted = asked | ((rows["kind"] == TRAINED) & rows["task"].isin(with_instructions))
    wanted |= rows.index.isin(by_mixtures(rows, study).index) | ((rows["kind"] == MIXED) & (rows["task"] == MEAN))
    rows = rows[wanted]
    alone = [f"− {name} alone" if isinstance(name, str) else "with − without" for name in rows["data_set"]]
    rows = rows.assign(label=[f"{task} {change}" for task, change in zip(rows["task"], alone)])
    several = set(rows.loc[rows.duplicated(["checkpoint", "label"]), "label"])
    by = [f" by {recipe}" if label in several else "" for label, recipe in zip(rows["label"], rows["recipe"])]
    return rows.assign(label=[label + name for label, name in zip(rows["label"], by)])


def claims(
    tables: dict[str, pd.DataFrame], points: pd.DataFrame, study: StudySummary, growing: Rates, spec: Spec
) -> list[Claim]:
    """What the paper says of the dimensions, beyond growth with size and tokens: of those that the study measures.

    `points`: of finished checkpoints. `growing`: the rates of growth with tokens on the task of the training data.
    """
    about = points.drop_duplicates("checkpoint").drop(columns=["y", "low", "high", "recipe", "task"])
    own, changes = firsts(points, study)[ENCODER].drop_duplicates(), tables["comparisons"]
    longer = further(tables["lengths"].merge(own, on=ENCODER))
    read, unshared = at_shared(longer), "its encoders share no longer length" if len(longer) else ABSENT
    of_finished = changes[changes["checkpoint"].isin(about["checkpoint"])]
    followed, zero_shot = by_instructions(of_finished, study)
    mixed = by_mixtures(of_finished, study)
    every = [
        tokens_in_domain(tables["slopes"], study, growing),
        fewer_pairs(tables["efficiency_trends"], study.main_recipe, needing(tables, points, study.main_recipe, spec)),
        over_backbones(
            "reads-on", f"Encoders keep their quality on documents longer than those of their training{at_length(read)}",
            NOT_LESS, of_backbones(read, "difference"), unshared, spec,
        ),
        with_size(
            "larger-lengths", f"Larger models gain more from longer documents{at_length(read)}", read, about, unshared, spec
        ),
        over_backbones(
            "instructions-followed", "Training with instructions makes encoders follow them", GAIN,
            of_backbones(followed, "difference"), ABSENT, spec,
        ),
        over_backbones(
            "instructions-zero-shot", "Training with instructions makes encoders gain from them zero-shot", GAIN,
            of_backbones(zero_shot, "difference"), ABSENT, spec,
        ),
        with_size(
            "larger-instructions", "Larger models learn better to follow instructions", shared(followed), about, ABSENT, spec
        ),
        *mixtures(mixed, spec),
        with_size(
            "larger-mixtures", "Larger models lose less, or gain more, by multi-task training", shared(mixed), about, ABSENT, spec
        ),
        *between_kinds(changes[(changes["kind"] == KIND) & (changes["task"] == MEAN)], spec),
        tuned_for_chat(changes[changes["kind"] == TUNED], study, spec),
    ]  # fmt: skip
    return [claim for claim in every if claim.reason != ABSENT]


def by_mixtures(changes: pd.DataFrame, study: StudySummary) -> pd.DataFrame:
    """Each mixture against the training on one of its data sets alone, on the tasks of that data set.

    On the tasks of the others the mixture wins by having trained on them, which says nothing of what mixing costs.
    """
    own_tasks, rows = study.comparisons.own_tasks, changes[changes["kind"] == MIXED]
    own = [task in own_tasks.get(name, ()) for task, name in zip(rows["task"], rows["data_set"], strict=True)]
    return rows[pd.Series(own, index=rows.index, dtype=bool)]


def by_instructions(changes: pd.DataFrame, study: StudySummary) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What training with instructions adds on tasks that are asked with them, beyond what it adds on the same without.

    First tasks whose instructions say what is relevant; then those of the mean, whose instructions only name the task.
    """
    key, rows = ["checkpoint", "recipe", "against"], changes[changes["kind"] == TRAINED]
    twins = pd.DataFrame(study.comparisons.asked.items(), columns=["task", "plain"])
    plain = rows[[*key, "task", "difference"]].rename(columns={"task": "plain", "difference": "without"})
    both = rows.merge(twins, on="task").merge(plain, on=[*key, "plain"])
    both["difference"] -= both["without"]
    of_mean = both["plain"].isin({task for parts in study.headline.values() for task in parts})
    return both[~of_mean], both[of_mean]


def shared(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of tasks that all checkpoints have, so that these differ in nothing else."""
    have = rows.groupby("task")["checkpoint"].nunique()
    return rows[rows["task"].isin(have.index[have == rows["checkpoint"].nunique()])]


def mixtures(mixed: pd.DataFrame, spec: Spec) -> list[Claim]:
    """One of each task, since a gain on one makes up for no loss on another."""
    text = "Training on several data sets at once costs nothing on"
    return [
        over_backbones(f"mixture-{task}", f"{text} {task}", NOT_LESS, of_backbones(rows, "difference"), ABSENT, spec)
        for task, rows in mixed.groupby("task")
    ]


def tokens_in_domain(slopes: pd.DataFrame, study: StudySummary, rates: Rates) -> Claim:
    """Growth with training duration at fixed size, on the first task that the main recipe trains on."""
    base = {"claim": "tokens-in-domain", "paper": LUO, "rule": rules.GROWTH, "unit": PER_FLOPS, "rates": rates}
    base["text"] = "More pretraining at fixed size retrieves better on the training task"
    task = next(iter(own_tasks(study, study.main_recipe)), None)
    rows = slopes[
        (slopes["task"] == task)
        & (slopes["path"] == SIZE)
        & (slopes["recipe"] == study.main_recipe)
        & (slopes["schedule"] == "finished")
    ]
    if rows.empty:
        return Claim(**base, reason=ABSENT if task is None else "too few checkpoints")
    row = rows.iloc[0]
    if row["status"] != "ok":
        return Claim(**base, reason=str(row["reason"]))
    value, low, high = (float(row[name]) for name in ("slope", "low", "high"))
    return Claim(**base, value=value, low=low, high=high, n=int(row["n"]), verdict=rules.growth(low, high))


def needing(tables: dict[str, pd.DataFrame], points: pd.DataFrame, main: str, spec: Spec) -> Rates:
    """The rates of fewer queries needed, at the shape and noise of the main recipe's curves."""
    curves = of_means(tables["efficiency"], points).query("recipe == @main")
    return fewer_rates(ladder_of(measured(curves, "needed")), spec, stream(spec.seed, "fewer-pairs"))


def fewer_pairs(trends: pd.DataFrame, main: str, rates: Rates) -> Claim:
    base = {"claim": "fewer-pairs", "paper": LUO, "rule": rules.FEWER, "unit": "decades of queries, " + PER_SIZE}
    base["text"] = f"Larger models need fewer training queries for {SHARE:.0%} of their last score"
    rows = trends[
        (trends["recipe"] == main) & (trends["measure"] == MEASURES["needed"]) & (trends["direction"] == "parameters")
    ]
    if rows.empty or rows.iloc[0]["status"] != "ok":
        return Claim(**base, reason=ABSENT if rows.empty else str(rows.iloc[0]["reason"]))
    row = rows.iloc[0]
    value, low, high = (float(row[name]) for name in ("slope", "low", "high"))
    estimate = {"value": value, "low": low, "high": high, "n": int(row["n"]), "rates": rates}
    return Claim(**base, **estimate, verdict=rules.fewer(low, high), reason=str(row["reason"]))


def of_backbones(rows: pd.DataFrame, value: str) -> pd.Series:
    """One value a checkpoint: the mean over its tasks and recipes."""
    return rows.groupby("checkpoint")[value].mean().astype(float)


def with_size(claim: str, text: str, rows: pd.DataFrame, about: pd.DataFrame, absent: str, spec: Spec) -> Claim:
    """Growth of a difference per decade of parameters."""
    base = {"claim": claim, "paper": LUO, "text": text, "rule": rules.GROWTH, "unit": PER_SIZE}
    values = of_backbones(rows, "difference").rename("y").reset_index()
    return Claim(**base, **size_growth(about.merge(values, on="checkpoint"), absent, stream(spec.seed, claim), spec))


def between_kinds(rows: pd.DataFrame, spec: Spec) -> list[Claim]:
    """Families of equal parameters and tokens against each other, where FEWEST pairs of sizes or more can tell.

    Sizes are the replicates: checkpoints of one, such as several durations, share its noise and count as their average.
    """
    table = []
    for (one, other), pairs in rows.groupby(["of_family", "against_family"]):
        text = f"Of equal parameters and tokens {one} retrieves better zero-shot than {other}"
        values = pairs.groupby("of_size")["difference"].mean().astype(float)
        if len(values) >= FEWEST:
            table.append(over_backbones(f"{one}-against-{other}", text, GAIN, values, "", spec))
    return table


def tuned_for_chat(rows: pd.DataFrame, study: StudySummary, spec: Spec) -> Claim:
    """Tuned models against their bases, on the first task that the main recipe trains on, or on the mean if there is none.

    Bases are the replicates: what was tuned from one of them shares its noise, and counts as its average.
    """
    task = next(iter(own_tasks(study, study.main_recipe)), MEAN)
    rows = rows[rows["task"] == task]
    changes = rows.groupby("against")["difference"].mean().astype(float)
    text = "Tuning for chat changes retrieval by less than a point"
    claim = over_backbones("tuned-for-chat", text, SAME, changes, ABSENT, spec)
    families = counted(rows["against_family"].nunique(), "family")
    what = f"on {'the mean' if task == MEAN else task}; {counted(len(changes), 'base')} of {families}, each a replicate"
    return replace(claim, detail="; ".join(filter(None, (what, claim.detail))))
