"""Results that others published, drawn hollow among the study's own."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.figure import style
from retscale.figure.data import Tables

HOLLOW = {"linestyle": "none", "marker": "D", "color": style.GRAY, "markerfacecolor": "white", "markeredgewidth": 1.0}
NAMED = 16  # the most names that stay readable in a figure


def draw(ax: Axes, rows: pd.DataFrame, size: float = 4.5, names: bool = False) -> None:
    """One gray diamond per model, with its name if there are few."""
    ax.plot(rows["flops"], rows["y"], markersize=size, zorder=4, **HOLLOW)
    for row in rows.itertuples() if names and len(rows) <= NAMED else ():
        ax.annotate(
            row.model, (row.flops, row.y), (4, 3), textcoords="offset points", fontsize=5, color=style.GRAY, zorder=6
        )


def legend(rows: pd.DataFrame) -> list[Line2D]:
    return [Line2D([], [], markersize=4.5, label="published", **HOLLOW)] if len(rows) else []


def words(tables: Tables, task: str | None = MEAN) -> str:
    """What the diamonds are, and which models have none; empty if the study has no published table. `task` None: of any task."""
    published = tables.published if task is None else tables.published.query("task == @task")
    if tables.published.empty:
        return ""
    sources = "; ".join(sorted(set(tables.published["source"])))
    drawn, known = published[published["flops"].notna()], set(published["model"])
    count = drawn["model"].nunique()
    shown = counted(count, "gray diamond") if count else "none drawn"
    text = f" Published elsewhere ({sources}): {shown}; in no fit."
    if unknown := sorted(known - set(drawn["model"])):
        text += f" Not drawn, since their pretraining compute is unknown: {', '.join(unknown)}."
    if incomplete := sorted(set(tables.published["model"]) - known):
        text += f" Not drawn, since they lack a task of the mean: {', '.join(incomplete)}."
    return text
