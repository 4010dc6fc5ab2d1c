"""References among the marks: systems without known FLOPs, each drawn as a named horizontal line."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from retscale.common.phrase import counted
from retscale.encoder.config import GIVEN, REFERENCE
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Tables
from retscale.figure.words import number

# Taken in turn, to distinguish lines that have no name beside them.
DASHES = ((1, 2), (4, 1.5), (6, 1.5, 1, 1.5), (2, 1, 1, 1, 1, 1))
REACH = 1.0  # a line this far from the marks is still drawn, in ranges of y; one farther off is named at the edge
SLOTS, APART = 3, 0.05  # lines closer than this share of the axis have their names side by side, in SLOTS places


def of(tables: Tables, task: str) -> pd.DataFrame:
    """The references with a score on a task, by name, with `label`, `dashes` and `what` it is, alike in every figure.

    References are encoders that were made elsewhere or not trained, systems without a model, and encoders of the main
    recipe whose checkpoint's compute is unknown.
    """
    sources = tables.collected("checkpoints").set_index("checkpoint")
    points = tables.table("points").query("role != 'external'")
    own = points["recipe"].isin(tables.summary.recipes)
    rows = points[~own | ((points["recipe"] == tables.main) & points["flops"].isna())].copy()
    untuned = ~rows["recipe"].isin([GIVEN, REFERENCE, tables.main])
    rows["label"] = rows["checkpoint"].where(~untuned, rows["checkpoint"] + " " + rows["recipe"])
    names = sorted(rows["label"].unique())
    rows["dashes"] = rows["label"].map({name: DASHES[i % len(DASHES)] for i, name in enumerate(names)})
    rows["what"] = [_what(row, sources.loc[row.checkpoint], tables.main) for row in rows.itertuples()]
    return rows[(rows["task"] == task) & rows["y"].notna()].sort_values("label")


def _what(row: object, source: pd.Series, main: str) -> str:
    if row.recipe == REFERENCE:
        return source["reason"]
    if row.recipe == GIVEN:
        return "made elsewhere"
    parts = ["random weights"] if source["source"] == "random" else []
    parts += ["not fine-tuned"] if row.recipe != main else [] if parts else ["compute unknown"]
    return ", ".join(parts)


def draw(ax: Axes, rows: pd.DataFrame, config: FigureConfig, named: bool = True) -> None:
    """Draw a line for each reference, with its name on it if `named`. The limits of y must be those of the marks.

    The limits grow for lines that are near; of lines farther off, name and value are written at the edge.
    """
    if rows.empty:
        return
    bottom, top = _limits(*ax.get_ylim(), rows["y"])
    ax.set_ylim(bottom, top)
    taken, font = [float("-inf")] * SLOTS, style.small(config)
    text = {"xycoords": "axes fraction", "color": style.GRAY, "fontsize": font, "zorder": 6}
    above = below = 0
    for row in rows.sort_values("y").itertuples():
        if bottom <= row.y <= top:
            ax.axhline(row.y, color=style.GRAY, linewidth=0.8, linestyle=(0, row.dashes), zorder=2)
            if named:
                at = (row.y - bottom) / (top - bottom)
                slot = next((i for i, last in enumerate(taken) if at - last >= APART), 0)
                taken[slot] = at
                # Marks rise from the lower left to the upper right.
                x, side = (0.01 + slot / SLOTS, "left") if at > 0.5 else (0.99 - slot / SLOTS, "right")
                ax.annotate(row.label, (x, at), (0, 1), textcoords="offset points", ha=side, va="bottom", **text)
        elif row.y > top:
            ax.annotate(f"↑ {row.label} {number(row.y)}", (0.01, 0.99), (0, -above * font * 1.15),
                        textcoords="offset points", va="top", **text)  # fmt: skip
            above += 1
        else:
            ax.annotate(f"↓ {row.label} {number(row.y)}", (0.01, 0.01), (0, below * font * 1.15),
                        textcoords="offset points", va="bottom", **text)  # fmt: skip
            below += 1


def _limits(low: float, high: float, values: pd.Series) -> tuple[float, float]:
    """The limits of an axis from `low` to `high`, widened for the `values` that are near."""
    room = high - low
    near = values[values.between(low - REACH * room, high + REACH * room)]
    ends = [low, high, *(near - 0.03 * room), *(near + 0.03 * room)]
    return min(ends), max(ends)


def legend(rows: pd.DataFrame) -> list[Line2D]:
    """An entry for each line."""
    lines = rows.drop_duplicates("label")
    return [
        Line2D([], [], color=style.GRAY, linewidth=0.8, linestyle=(0, row.dashes), label=row.label)
        for row in lines.itertuples()
    ]


def words(rows: pd.DataFrame) -> str:
    """What the lines are, for captions and alternative texts; empty if there are none."""
    if rows.empty:
        return ""
    single = rows["task"].nunique() == 1
    each = [
        f"{row.label}{f' {number(row.y)}' if single else ''} ({row.what})"
        for row in rows.drop_duplicates("label").itertuples()
    ]
    return (
        f" {counted(len(each), 'reference')} in no fit, each a dashed line, or at the edge where it would lie far off: "
        f"{'; '.join(each)}."
    )
