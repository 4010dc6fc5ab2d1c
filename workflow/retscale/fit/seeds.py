"""Trainings that differ in their seeds alone: the noise that they show, and their join to one score."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from retscale.collect.repeats import Repeats
from retscale.fit.nested import Component, between, component, query_share
from retscale.fit.points import ENCODER, KEY


@dataclass(frozen=True)
class Noise:
    """What the seeds of a recipe do to a score of a task, where they are known."""

    training: Component | None = None
    pretraining: Component | None = None


@dataclass(frozen=True)
class Load:
    """By which share of the noise of one training, and of one pretraining, a mean of several is moved."""

    training: float = 1.0
    pretraining: float = 1.0


@dataclass(frozen=True)
class Seeds:
    """`trainings`: of each (checkpoint, recipe) those of each pretraining, by their own ids. `noise` by (recipe, task)."""

    trainings: dict[tuple[str, str], list[list[tuple[str, str]]]]
    noise: dict[tuple[str, str], Noise] = field(default_factory=dict)

    def repeated(self) -> Iterable[tuple[tuple[str, str], list[list[tuple[str, str]]]]]:
        """Those with several trainings."""
        return ((key, parts) for key, parts in self.trainings.items() if sum(map(len, parts)) > 1)

    def load(self, checkpoint: str, recipe: str) -> Load:
        parts = self.trainings.get((checkpoint, recipe), [[None]])
        return Load(sum(1 / len(part) for part in parts) / len(parts) ** 2, 1 / len(parts))

    def count(self, checkpoint: str, recipe: str) -> int:
        return sum(map(len, self.trainings.get((checkpoint, recipe), [[None]])))

    def of(self, recipe: str, task: str) -> Noise:
        return self.noise.get((recipe, task), Noise())

    def variance(self, checkpoint: str, recipe: str, task: str) -> float:
        """That seeds give a score of this encoder, which may be a mean; 0 where it is unknown."""
        noise, load = self.of(recipe, task), self.load(checkpoint, recipe)
        parts = (noise.training, load.training), (noise.pretraining, load.pretraining)
        return sum(share * component.variance for component, share in parts if component)


UNKNOWN = Seeds({})


def seeds(points: pd.DataFrame, draws: pd.DataFrame, repeats: Repeats, alpha: float) -> Seeds:
    """Of `points` and `draws` of single trainings."""
    result = Seeds(repeats.trainings(points[ENCODER].drop_duplicates().itertuples(index=False, name=None)))
    if not repeats:
        return result
    scored = points[points["y"].notna()]
    y = dict(zip(scored[KEY].itertuples(index=False, name=None), scored["y"], strict=True))
    by_recipe: dict[str, list] = {}
    for (_, recipe), parts in result.repeated():
        by_recipe.setdefault(recipe, []).append(parts)
    drawn = _drawn(draws)
    noise = {
        (recipe, task): noise_of([[[(*id, task) for id in part] for part in parts] for parts in of], y, drawn, alpha)
        for recipe, of in by_recipe.items()
        for task in scored["task"].unique()
    }
    return Seeds(result.trainings, noise)


def noise_of(
    checkpoints: list[list[list[tuple]]], y: dict[tuple, float], drawn: dict[tuple, np.ndarray], alpha: float
) -> Noise:
    """Of each checkpoint's pretrainings the keys of its trainings in y and `drawn`; those without a score are left out."""
    checkpoints = [[[key for key in part if key in y] for part in parts] for parts in checkpoints]
    checkpoints = [[part for part in parts if part] for parts in checkpoints]

    def values(part: list[tuple]) -> np.ndarray:
        return np.array([y[key] for key in part])

    def resampled(part: list[tuple]) -> np.ndarray:
        return np.stack([drawn[key] for key in part], axis=1)

    training = pretraining = None
    if several := [part for parts in checkpoints for part in parts if len(part) > 1]:
        squares, df = between([values(part) for part in several])
        training = component(squares / df, df, query_share([resampled(part) for part in several]) / df, alpha)
    if pretrained := [parts for parts in checkpoints if len(parts) > 1]:
        squares, df = between([np.array([values(part).mean() for part in parts]) for parts in pretrained])
        queries = query_share([np.stack([resampled(part).mean(1) for part in parts], 1) for parts in pretrained])
        share = sum((1 - 1 / len(parts)) / len(part) for parts in pretrained for part in parts) / df
        pretraining = component(squares / df, df, queries / df, alpha, training, share)
    return Noise(training, pretraining)


def _drawn(draws: pd.DataFrame) -> dict[tuple, np.ndarray]:
    return dict(zip(map(tuple, draws.columns), draws.to_numpy(float).T, strict=True))


def joined_draws(draws: pd.DataFrame, known: Seeds) -> pd.DataFrame:
    """Resampled scores with one column for each checkpoint, recipe and task: the mean of its trainings."""
    drawn = _drawn(draws)
    for of, parts in known.repeated():
        for task in draws.columns.unique("task"):
            columns = [[drawn.pop((*id, task), None) for id in part] for part in parts]
            if not any(column is None for part in columns for column in part):
                drawn[*of, task] = np.mean([np.mean(part, axis=0) for part in columns], axis=0)
    if drawn.keys() == set(draws.columns):
        return draws
    return pd.DataFrame(np.stack([*drawn.values()], 1), columns=pd.MultiIndex.from_tuples([*drawn], names=KEY))


def joined(points: pd.DataFrame, known: Seeds, values: Sequence[str] = ("y",)) -> pd.DataFrame:
    """One row for each checkpoint, recipe and task: the mean of its trainings, `seeds` of them, without a file of its own.

    Of the columns `values`. A pretraining that has several trainings counts once.
    """
    encoders = list(zip(points["checkpoint"], points["recipe"], strict=True))
    table = points.assign(seeds=[known.count(*key) for key in encoders])[[key in known.trainings for key in encoders]]
    several = table["seeds"] > 1
    for column in values:
        y = dict(zip(points[KEY].itertuples(index=False, name=None), points[column], strict=True))
        table.loc[several, column] = [
            np.mean(
                [np.mean([y[*id, row.task] for id in part]) for part in known.trainings[row.checkpoint, row.recipe]]
            )
            for row in table[several].itertuples()
        ]
    table.loc[several, ["file", "sha256"]] = None
    return table.reset_index(drop=True)


def joined_curves(curves: pd.DataFrame, repeats: Repeats) -> pd.DataFrame:
    """The table `curves` of `collect` with one curve for each checkpoint and recipe: the mean of its trainings."""
    if not repeats:
        return curves
    ids = {"checkpoint": curves["checkpoint"].map(repeats.checkpoint), "recipe": curves["recipe"].map(repeats.recipe)}
    key = [*KEY, "metric", "step", "queries"]
    pretrainings = curves.assign(pretraining=curves["checkpoint"], **ids).groupby([*key, "pretraining"])["value"].mean()
    return pretrainings.groupby(key).mean().reset_index()


def repeated(points: pd.DataFrame, repeats: Repeats, known: Seeds) -> pd.DataFrame:
    """Each training of the encoders that have several: a row of `points`, with the checkpoint and recipe that it is `of`."""
    ids = {id for _, parts in known.repeated() for part in parts for id in part}
    rows = points[[id in ids for id in zip(points["checkpoint"], points["recipe"], strict=True)]]
    of = {"of_checkpoint": rows["checkpoint"].map(repeats.checkpoint), "of_recipe": rows["recipe"].map(repeats.recipe)}
    return rows.assign(**of)
