"""The six dimensions of Luo et al. 2024: what each backbone has in each."""

import pandas as pd

from retscale.collect.means import MEAN, compared_on
from retscale.collect.summary import StudySummary
from retscale.fit.comparisons import ASKED, MIXED, TRAINED
from retscale.fit.efficiency import SHARE
from retscale.fit.points import ENCODER

IN_DOMAIN, EFFICIENCY, ZERO_SHOT, LENGTH = "in-domain", "data efficiency", "zero-shot", "lengths"
INSTRUCTIONS, MULTI_TASK = "instructions", "multi-task"
COLUMNS = [*ENCODER, "dimension", "measure", "value", "low", "high"]


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


def by_mixtures(changes: pd.DataFrame, study: StudySummary) -> pd.DataFrame:
    """Each mixture against the training on one of its data sets alone, on the tasks of that data set.

    On the tasks of the others the mixture wins by having trained on them, which says nothing of what mixing costs.
    """
    own_tasks, rows = study.comparisons.own_tasks, changes[changes["kind"] == MIXED]
    own = [task in own_tasks.get(name, ()) for task, name in zip(rows["task"], rows["data_set"], strict=True)]
    return rows[pd.Series(own, index=rows.index, dtype=bool)]
