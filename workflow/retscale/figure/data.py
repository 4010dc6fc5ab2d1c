"""What figures are drawn from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from retscale.collect.means import MEAN, averaged_over, in_domain_of
from retscale.common.files import sha256
from retscale.common.tables import read_table
from retscale.evaluate.metrics import label
from retscale.external.config import PUBLISHED
from retscale.figure.words import trend_words
from retscale.fit.summary import FitSummary

MARK_COLUMNS = ["checkpoint", "recipe", "task", "x", "y", "low", "high", "x_low", "x_high", "file", "sha256"]


@dataclass(frozen=True)
class Drawn:
    """A figure with its marks (MARK_COLUMNS, one row per mark), caption and alternative text."""

    figure: Figure
    title: str
    marks: pd.DataFrame
    caption: str
    alt: str


@dataclass(frozen=True)
class Tables:
    """The tables of `collect`, `fit` and perhaps `external`, read on demand and refused if their hash is not the recorded one."""

    collect: Path
    fit: Path
    external: Path | None = None

    @cached_property
    def summary(self) -> FitSummary:
        """fit.json without its tables."""
        return FitSummary.read(self.fit)

    @property
    def main(self) -> str:
        return self.summary.main_recipe

    @property
    def by_recipe(self) -> str:
        """`, recipe ...` of what the main recipe made, for captions; empty for published results, which have none."""
        return "" if self.main == PUBLISHED else f", recipe `{self.main}`"

    @property
    def metric(self) -> str:
        return label(self.summary.config.metric)

    @property
    def averaged_over(self) -> str:
        """What the mean is over, such as `14 zero-shot tasks`."""
        return averaged_over(self.summary)

    def title(self, task: str, recipe: str | None = None) -> str:
        """The name of a task or group, marked where encoders of the recipe, or of the main one, were trained on data of its kind."""
        return f"{task} (in-domain)" if in_domain_of(task, self.summary, recipe or self.main) else task

    @property
    def contrasts(self) -> str:
        """` In no mean: ...` with the contrasts, for captions; empty if there are none."""
        return f" In no mean: {', '.join(self.summary.contrasts)}." if self.summary.contrasts else ""

    @property
    def over(self) -> str:
        """What the intervals of scores are over, for captions."""
        return "over queries and seeds" if self.summary.repeats else "over queries"

    def trainings(self, recipe: str, task: str) -> pd.DataFrame:
        """The single trainings behind points that are means over seeds, of a recipe and task, with known FLOPs."""
        rows = self.table("trainings").query("of_recipe == @recipe and task == @task and role != 'external'")
        return rows[rows["flops"].notna() & rows["y"].notna()]

    @property
    def percent(self) -> str:
        """Such as `95%`."""
        return f"{100 * (1 - self.summary.config.alpha):g}%"

    def table(self, name: str) -> pd.DataFrame:
        return read_table(self.fit, name)

    def collected(self, name: str) -> pd.DataFrame:
        return read_table(self.collect, name)

    @cached_property
    def points(self) -> pd.DataFrame:
        """The points of encoders that the study trained, as marks; `hollow` ones enter no fit of the ladder.

        Left out: checkpoints of role `external`, which are in tables only, and references, which are lines."""
        rows = self.table("points").query("role != 'external' and recipe in @self.summary.recipes and y.notna()")
        hollow = (rows["role"] != "fit") | ~rows["schedule_finished"].astype(bool)
        return rows.assign(hollow=hollow)

    def of(self, recipe: str, task: str) -> pd.DataFrame:
        """The points of a recipe and task with known FLOPs, by FLOPs."""
        rows = self.points.query("recipe == @recipe and task == @task")
        return rows[rows["flops"].notna()].sort_values(["flops", "checkpoint"])

    @cached_property
    def published(self) -> pd.DataFrame:
        """Others' points, hollow: one row per model and task, and the `mean` of those with the whole headline."""
        if self.external is None:
            return pd.DataFrame({name: [] for name in ("model", "task", "y", "flops", "source", "file", "sha256")})
        return read_table(self.external, "external")

    def published_of(self, task: str) -> pd.DataFrame:
        """Others' points of a task with known FLOPs, by FLOPs."""
        rows = self.published.query("task == @task and flops.notna()")
        return rows.sort_values(["flops", "model"])

    def drawn(self, name: str) -> pd.DataFrame:
        """The rows of `fits`, `parameters` or `predictions` that are drawn: finished checkpoints, one form."""
        return self.table(name).query("form == @self.summary.form and schedule == 'finished'")

    def of_mean(self, name: str, recipe: str) -> pd.DataFrame:
        """The rows of a table about the finished ladder and its mean, in all forms."""
        return self.table(name).query(f"recipe == @recipe and task == '{MEAN}' and schedule == 'finished'")

    def split(self, recipe: str) -> pd.Series | None:
        """The effect on the mean of how FLOPs are split between parameters and tokens, whatever its status."""
        rows = self.table("isoflop_global").query(f"recipe == @recipe and task == '{MEAN}'")
        return None if rows.empty else rows.iloc[0]

    @property
    def beyond_compute(self) -> pd.Series | None:
        """The correlation of the mean in-context and retrieval scores when size and duration are controlled."""
        rows = self.table("correlations").query("headline and about == 'icl-beyond-compute'")
        return None if rows.empty else rows.iloc[0]

    def trend(self, recipe: str, task: str) -> pd.Series | None:
        """The trend of a recipe and task, whatever its status."""
        rows = self.drawn("fits").query("recipe == @recipe and task == @task")
        return None if rows.empty else rows.iloc[0]

    def trend_words(self, recipe: str, task: str) -> str:
        """The trend as a sentence."""
        rows = self.drawn("parameters").query("recipe == @recipe and task == @task")
        parameters = rows.set_index("parameter")["value"].to_dict()
        return trend_words(self.trend(recipe, task), parameters, self.percent, self.metric)

    def prediction(self, recipe: str, task: str) -> pd.DataFrame:
        return self.drawn("predictions").query("recipe == @recipe and task == @task")

    @property
    def inputs(self) -> dict[str, Path]:
        """The files by the flags of the command."""
        paths = {"collect": self.collect, "fit": self.fit, "external": self.external}
        return {flag: path for flag, path in paths.items() if path}

    def stamp(self) -> str:
        """The hashes of collect.json, fit.json and external.json, which hold the hashes of the tables."""
        return "; ".join(f"{path.name} sha256 {sha256(path)}" for path in self.inputs.values())


def marks(rows: pd.DataFrame, **columns: pd.Series) -> pd.DataFrame:
    """Rows of `points` as marks; x is the FLOPs unless given."""
    table = rows.assign(x=rows["flops"], x_low=None, x_high=None).assign(**columns)
    return table[MARK_COLUMNS]


def published_marks(rows: pd.DataFrame) -> pd.DataFrame:
    """Others' points as marks: of no recipe, without intervals."""
    empty = dict.fromkeys(("recipe", "low", "high", "x_low", "x_high"))
    return rows.rename(columns={"model": "checkpoint"}).assign(x=rows["flops"], **empty)[MARK_COLUMNS]
