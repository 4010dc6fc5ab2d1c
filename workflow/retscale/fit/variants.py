"""Scores of several variants of each encoder, such as those kept during its training, resampled together."""

from dataclasses import dataclass

import pandas as pd

from retscale.collect.means import MEAN, once, shown_tasks
from retscale.collect.summary import StudySummary
from retscale.fit.points import KEY, query_scores, resampled

VARIANT = ["checkpoint", "recipe", "variant", "task"]


@dataclass(frozen=True)
class Variants:
    """`y`: scores by VARIANT. `draws`: replicates x these, the same queries of a task in all, so that differences are
    paired."""

    y: pd.Series
    draws: pd.DataFrame


def resampled_variants(queries: pd.DataFrame, study: StudySummary, metric: str, replicates: int, seed: int) -> Variants:
    """Of a row for each query, with VARIANT and the metric. The mean is over all tasks there but contrasts: a group counts once,
    and so does a task that is asked with instructions and without.

    A variant that lacks a task has no mean.
    """
    queries = queries[queries[metric].notna()]
    averaged = units(set(queries["task"]), study)
    numbers = {
        f"{recipe}\n{variant}": (recipe, variant) for recipe, variant in zip(queries["recipe"], queries["variant"])
    }
    labels = queries["recipe"] + "\n" + queries["variant"].astype(str)
    rows = queries.assign(recipe=labels)[[*KEY, "query_id", metric]]
    draws = resampled(query_scores([rows], metric), averaged, replicates, seed)
    y = rows.groupby(KEY)[metric].mean()
    for name, parts in averaged.items():
        scores = y[y.index.get_level_values("task").isin(parts)].groupby(level=KEY[:2])
        whole = scores.mean()[scores.size() == len(parts)]
        y = pd.concat([y, pd.concat({name: whole}, names=["task"]).reorder_levels(KEY)])
    return Variants(_apart(y, numbers), _apart(draws.T, numbers).T)


def _apart(table: pd.Series | pd.DataFrame, numbers: dict[str, tuple]):
    """The table with recipe and variant as separate levels of its index."""
    keys = [(checkpoint, *numbers[label], task) for checkpoint, label, task in table.index]
    return table.set_axis(pd.MultiIndex.from_tuples(keys, names=VARIANT)).sort_index()


def units(tasks: set[str], study: StudySummary) -> dict[str, list[str]]:
    """What is averaged over `tasks`: each group that is whole, and then all that counts as one."""
    return {name: parts for name, parts in whole(tasks, study).items() if parts != [name]} | {
        MEAN: list(in_mean(tasks, study))
    }


def in_mean(tasks: set[str], study: StudySummary) -> dict[str, list[str]]:
    """What a mean over `tasks` is of, with its tasks: whole groups and single tasks.

    Contrasts count in no mean, unless there is nothing else, nor does a task with instructions beside the same without.
    """
    every = whole(tasks, study)
    return {name: parts for name, parts in once(every, study).items() if name not in study.contrasts} or every


def whole(tasks: set[str], study: StudySummary) -> dict[str, list[str]]:
    """Groups and single tasks of which none is missing in `tasks`."""
    return {name: parts for name, parts in shown_tasks(study).items() if tasks >= set(parts)}
