"""Differences between scores that are alike but for one thing: instructions, or a mixture of training data."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from retscale.collect.means import MEAN, shown_tasks
from retscale.common.phrase import counted
from retscale.figure import looks as look
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Drawn, Tables
from retscale.figure.words import interval, not_drawn
from retscale.fit.comparisons import ASKED, COLUMNS, MIXED, TRAINED
from retscale.fit.detectable import BOTH

MOST = 6  # panels
FEW = 3  # tasks that have panels of their own
TASKS = 12  # rows of a panel of tasks


def draw_instructions(tables: Tables, config: FigureConfig) -> Drawn:
    """Two panels for each task with instructions: with minus without them in its queries, and in training."""
    rows = known(tables, of_kinds(tables, ASKED, TRAINED))
    asked = rows[rows["kind"] == ASKED]
    trained = rows[(rows["kind"] == TRAINED) & rows["task"].isin({*asked["task"], *asked["against"]})]
    titles = {ASKED: "asked with − without", TRAINED: "trained with − without"}
    if asked["task"].nunique() > FEW:  # a line for each task instead of a panel
        rows = pd.concat([asked, trained]).assign(label=lambda rows: rows["task"])
        panels = [(titles[kind], part) for kind, part in rows.groupby("kind")]
    else:
        rows = pd.concat([asked, trained]).assign(label=lambda rows: rows["checkpoint"] + ", " + rows["recipe"])
        panels = [(f"{task}: {titles[kind]}", part) for (kind, task), part in rows.groupby(["kind", "task"])]
    about = (
        "Asked: the same encoder on the same queries with instructions, minus without. Trained: of the same checkpoint the "
        "encoder that was trained with instructions, minus the one that was not."
    )
    return draw(tables, config, "Instructions", panels, about, "no task or recipe with instructions\nhas one without")


def draw_mixtures(tables: Tables, config: FigureConfig) -> Drawn:
    """A panel for each data set of a mixture: the gain or loss on every task against training on that data set alone."""
    rows = known(tables, of_kinds(tables, MIXED))
    names = [MEAN, *shown_tasks(tables.summary)]
    rows = rows[rows["task"].isin(names)]
    rows = rows.assign(label=[tables.title(*of) for of in zip(rows["task"], rows["recipe"], strict=True)])
    panels = [
        (f"{recipe} − {against} ({data_set} alone)", part)
        for (recipe, against, data_set), part in rows.groupby(["recipe", "against", "data_set"])
    ]
    about = (
        "The encoder that was trained on a mixture, minus that of the same checkpoint trained on one of its data sets alone. "
        "What mixing costs is seen on that data set's own tasks; the encoder trained on it alone has not seen the data of others."
    )
    return draw(tables, config, "Multi-task training", panels, about, "no mixture has a part\nthat is trained alone")


def of_kinds(tables: Tables, *kinds: str) -> pd.DataFrame:
    table = tables.table("comparisons")
    return table[table["kind"].isin(kinds)]


def known(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the columns of their checkpoint; without checkpoints that are shown in tables only."""
    about = tables.points.drop_duplicates("checkpoint")[["checkpoint", "family", "size", "level", "n_params", "hollow"]]
    return rows.merge(about, on="checkpoint").sort_values(["n_params", "checkpoint", "task"], ignore_index=True)


def shortened(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of at most TASKS tasks: the mean, those of the training data, and those that change the most."""
    change = rows.groupby("task")["difference"].apply(lambda values: values.abs().max())
    labels = rows.drop_duplicates("task").set_index("task")["label"]
    first = [task for task in change.index if task == MEAN or "(in-domain)" in labels[task]]
    rest = [task for task in change.sort_values(ascending=False).index if task not in first]
    return rows[rows["task"].isin([*first, *rest][:TASKS])]


def draw(
    tables: Tables, config: FigureConfig, title: str, panels: list[tuple[str, pd.DataFrame]], about: str, absent: str
) -> Drawn:
    """One figure of `panels`, each a title and rows, of which the `shortened` ones are drawn as horizontal intervals."""
    words = " ".join(panel_words(name, part) for name, part in panels[:MOST]) + not_drawn(
        [name for name, _ in panels[MOST:]]
    )
    panels = [(name, shortened(part)) for name, part in panels[:MOST]]
    looks = look.looks(tables.points, config)
    columns = min(len(panels), 2) or 1
    inches = [0.75 + 0.17 * lines(part) for _, part in panels] or [1.25]
    heights = [max(inches[first : first + columns]) for first in range(0, len(inches), columns)]
    shape = {"nrows": len(heights), "ncols": columns, "height_ratios": heights, "squeeze": False}
    figure, grid = plt.subplots(figsize=(config.width, 0.5 + sum(heights)), **shape)
    for ax in list(grid.flat)[len(panels) :]:
        ax.set_axis_off()
    for ax, (name, part) in zip(grid.flat, panels, strict=False):
        intervals(ax, part, looks)
        ax.set_title(name, loc="left")
    drawn = pd.concat([part for _, part in panels]) if panels else pd.DataFrame(columns=[*COLUMNS, "label"])
    if panels:
        figure.supxlabel(f"difference in {tables.metric}", fontsize=config.font_size)
        looks.colorbar(figure, list(grid.flat))
        looks.key(figure, drawn, levels=False)
    else:
        style.placeholder(grid[0, 0], absent)
    words = words or f"Nothing is drawn: {' '.join(absent.split())}."
    caption = (
        f"**{title}.** Differences in {tables.metric} with {tables.percent} intervals over {over(drawn)}, paired by query. {about} "
        f"{looks.words()} {words}"
    )
    return Drawn(
        figure,
        f"{title}: differences in {tables.metric}",
        drawn[COLUMNS],
        caption,
        f"{title}: differences in {tables.metric} with their intervals, one line for each encoder and task. {words}",
    )


def over(rows: pd.DataFrame) -> str:
    """What the intervals of the rows are over."""
    knows_seeds = rows["method"].astype(str).str.startswith(BOTH)
    if not knows_seeds.any():
        return "queries"
    return BOTH if knows_seeds.all() else "queries, and over seeds where a recipe has several"


def lines(rows: pd.DataFrame) -> float:
    """How many lines of text a panel is high: one a label, more where a label has many intervals."""
    labels = rows["label"].nunique()
    return labels + 0.25 * len(rows) / labels


def intervals(ax: Axes, rows: pd.DataFrame, looks: look.Looks) -> None:
    """One line per label, several checkpoints of it a little apart, the first label above."""
    labels = list(dict.fromkeys(rows["label"]))[::-1]
    ax.axvline(0, color=look.DARK, linewidth=0.8, zorder=1)
    for label, part in rows.groupby("label"):
        step = 0.7 / max(len(part), 1)
        for number, row in enumerate(part.itertuples()):
            place = labels.index(label) + (len(part) - 1) * step / 2 - number * step
            ax.plot([row.low, row.high], [place] * 2, color=looks.color(row.size), linewidth=1.1, alpha=0.6, zorder=2)
            looks.mark(ax, row, row.difference, place, size=3.8)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(-0.6, len(labels) - 0.4)
    ax.grid(False, axis="y")


def panel_words(name: str, rows: pd.DataFrame) -> str:
    """How many intervals of all `rows` lie wholly above or below 0, the largest change, and what is not drawn."""
    gain, lose = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    most = rows.loc[rows["difference"].abs().idxmax()]
    signs = f"{name}: {gain} of {counted(len(rows), 'difference')} above 0 with the whole interval, {lose} below; "
    where = f"{most['label']}" if most["checkpoint"] in most["label"] else f"{most['checkpoint']} on {most['label']}"
    tasks = rows["task"].nunique()
    drawn = (
        f"; of {tasks} tasks {TASKS} are drawn, those of the training data and those that change most"
        if tasks > TASKS
        else ""
    )
    return f"{signs}the largest {interval(most['difference'], most['low'], most['high'])} ({where}){drawn}."
