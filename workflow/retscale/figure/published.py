"""Results that others published, drawn hollow among the study's own."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox

from retscale.collect.means import MEAN
from retscale.common.phrase import counted
from retscale.figure import style
from retscale.figure.data import Tables

HOLLOW = {"linestyle": "none", "marker": "D", "color": style.GRAY, "markerfacecolor": "white", "markeredgewidth": 1.0}
PLACES = [
    ((5, 2), "left"),
    ((5, -8), "left"),
    ((-5, 2), "right"),
    ((-5, -8), "right"),
    ((0, 6), "center"),
    ((0, -12), "center"),
]


def draw(ax: Axes, rows: pd.DataFrame, size: float = 4.5) -> None:
    """One gray diamond per model."""
    ax.plot(rows["flops"], rows["y"], markersize=size, zorder=4, **HOLLOW)


def name(ax: Axes, rows: pd.DataFrame) -> None:
    """Write the model beside each diamond, where no other name, mark or edge is in the way; called when all is drawn."""
    if rows.empty:
        return
    ax.figure.draw_without_rendering()
    renderer = ax.figure.canvas.get_renderer()
    lines = [line.get_xydata() for line in ax.lines if line.get_marker() not in ("None", None, "")]
    marks = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for data in lines for x, y in ax.transData.transform(data)]
    taken, inside = [], ax.get_window_extent(renderer)
    for row in rows.itertuples():
        own = ax.transData.transform((row.flops, row.y))
        others = [box for box in marks if not box.contains(*own)]
        for offset, side in PLACES:
            text = ax.annotate(
                row.model, (row.flops, row.y), offset, textcoords="offset points", ha=side, color=style.GRAY, zorder=6,
                fontsize=style.SMALLEST, in_layout=False,
            )  # fmt: skip
            box = text.get_window_extent(renderer)
            whole = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if whole and not any(box.overlaps(other) for other in [*taken, *others]):
                taken.append(box)
                break
            text.remove()


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
