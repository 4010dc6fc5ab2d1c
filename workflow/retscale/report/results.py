"""What the page is made from, apart from the study's own texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from retscale.collect.means import MEAN, ROBUST, averaged_over, means
from retscale.collect.summary import CollectSummary
from retscale.common.tables import read_table
from retscale.evaluate.metrics import label
from retscale.fit.summary import FitSummary

FINISHED = "finished"  # the ladder of checkpoints whose learning rate had decayed, on which the claims rest


@dataclass(frozen=True)
class Results:
    """The tables of `collect` and `fit`, each refused if its hash is not the recorded one."""

    collect: Path
    fit: Path

    @cached_property
    def study(self) -> CollectSummary:
        return CollectSummary.read(self.collect)

    @cached_property
    def fitted(self) -> FitSummary:
        return FitSummary.read(self.fit)

    def table(self, name: str) -> pd.DataFrame:
        return read_table(self.fit, name)

    def collected(self, name: str) -> pd.DataFrame:
        return read_table(self.collect, name)

    @cached_property
    def checkpoints(self) -> pd.DataFrame:
        """The checkpoints without repeated pretrainings, by FLOPs."""
        table = self.collected("checkpoints")
        own = ~table["checkpoint"].isin(list(self.study.repeats.checkpoints))
        return table[own].sort_values(["flops", "checkpoint"])

    @cached_property
    def ladder(self) -> pd.DataFrame:
        """The checkpoints that enter fits, by FLOPs."""
        return self.checkpoints[(self.checkpoints["role"] == "fit") & self.checkpoints["flops"].notna()]

    def of_mean(self, name: str) -> pd.DataFrame:
        """The rows of a table of ladders about the mean of the main recipe's finished checkpoints."""
        table = self.table(name)
        rows = (table["recipe"] == self.study.main_recipe) & (table["task"] == MEAN)
        return table[rows & (table["schedule"] == FINISHED)] if "schedule" in table else table[rows]

    @property
    def metric(self) -> str:
        return label(self.fitted.config.metric)

    @property
    def percent(self) -> str:
        """The coverage of the intervals, such as `95%`."""
        return f"{100 * (1 - self.fitted.config.alpha):g}%"

    @property
    def uncertain(self) -> str:
        """What the intervals of scores are over."""
        return "queries and, where a recipe has several, seeds" if self.study.repeats else "queries"

    @property
    def over(self) -> str:
        """What the mean is over, such as `14 zero-shot tasks`."""
        return averaged_over(self.study)

    @property
    def averages(self) -> list[str]:
        """The averages over several tasks, that of the headline first."""
        every = means(self.study)
        return [name for name in (MEAN, ROBUST, *self.study.groups) if name in every]


def rows(table: pd.DataFrame) -> list[dict]:
    """Records with None for every missing value."""
    return [{key: None if pd.isna(value) else value for key, value in row.items()} for row in table.to_dict("records")]


def paths_of(inputs: Mapping, name: str) -> list[Path]:
    """One input as a list of paths, of which there may be none."""
    paths = inputs.get(name, [])
    return [Path(path) for path in (paths if isinstance(paths, list | tuple) else [paths])]
