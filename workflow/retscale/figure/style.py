"""How all figures look, and how they are saved so that the same data gives the same bytes."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from retscale.figure.config import FigureConfig
from retscale.figure.words import short

GRAY = "#6e6e6e"  # 5:1 on white
THIN, THICK = 0.6, 1.7  # points, of a line for the fewest and the most tokens per parameter
EMPTY = 1.4  # inches, of a figure without marks
SMALLEST = 7.0  # points, of any text
MANY = 40  # checkpoints, of which intervals and ends of lines would hide each other
WIDTHS = 4  # at most so many line widths in a legend


def small(config: FigureConfig) -> float:
    """The font size of ticks, legends and notes, in points."""
    return max(config.font_size - 1, SMALLEST)


def rc(config: FigureConfig) -> dict:
    """Matplotlib settings: embedded TrueType in PDF, outlines in SVG, no ids or dates that change between runs."""
    size = config.font_size
    return {
        "font.family": "DejaVu Sans",  # ships with matplotlib, so every machine draws the same
        "font.size": size,
        "axes.titlesize": size,
        "axes.labelsize": size,
        "xtick.labelsize": small(config),
        "ytick.labelsize": small(config),
        "legend.fontsize": small(config),
        "legend.title_fontsize": small(config),
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.linewidth": 0.6,
        "axes.edgecolor": "#444444",
        "axes.grid": True,
        "grid.color": "#e6e6e6",
        "grid.linewidth": 0.5,
        "axes.axisbelow": True,
        "xtick.major.width": 0.6,
        "ytick.major.width": 0.6,
        "xtick.minor.width": 0.4,
        "xtick.color": "#444444",
        "ytick.color": "#444444",
        "lines.linewidth": 1.1,
        "pdf.fonttype": 42,
        "svg.fonttype": "path",
        "svg.hashsalt": "retscale",
        "figure.dpi": 100,
        "savefig.dpi": config.dpi,
        "figure.constrained_layout.use": True,
    }


def widths(levels: pd.Series) -> dict[float, float]:
    """Line widths, in points, of tokens per parameter."""
    values = sorted(levels.dropna().unique())
    return dict(zip(values, np.linspace(THIN, THICK, len(values)), strict=True))


def width_key(width_of: dict[float, float], rows: pd.DataFrame) -> list[tuple[str, list[Line2D]]]:
    """A legend's group of line widths, of many some; none where the lines of `rows` are so many that all are thin."""
    if rows["checkpoint"].nunique() > MANY:
        return []
    levels = list(width_of)
    shown = sorted({levels[round(i)] for i in np.linspace(0, len(levels) - 1, min(len(levels), WIDTHS))})
    lines = [Line2D([], [], color="#444444", linewidth=width_of[level], label=short(level)) for level in shown]
    return [("tokens per\nparameter", lines)]


def bar(ax: Axes, row: Any, color: tuple[float, float, float], many: bool) -> None:
    """The interval of a checkpoint's score."""
    ax.plot([row.flops] * 2, [row.low, row.high], color=color, alpha=0.2 if many else 0.5, linewidth=0.9, zorder=3)


def flops_axis(ax: Axes, x: pd.Series, to: float | None = None, label: bool = True) -> None:
    """A log axis over `x` (FLOPs), widened a little; numbers at decades, and at 2 and 5 where there are few of them."""
    ax.set_xscale("log")
    if len(x):
        low, high = float(x.min()), max(float(x.max()), to or 0)
        room = max((high / low) ** 0.05, 1.25)
        low, high = low / room, high * (room if to is None or to <= x.max() else 1)
        ax.set_xlim(low, high)
        few = np.floor(np.log10(high)) - np.ceil(np.log10(low)) < 1
        ax.xaxis.set_minor_formatter(FuncFormatter(_two_or_five) if few else NullFormatter())
    if label:
        ax.set_xlabel("pretraining compute, 6 × parameters × tokens (FLOPs)")


def plain_log_axis(ax: Axes) -> None:
    """A log axis of x with plain numbers, at 1, 2 and 5."""
    ax.set_xscale("log")
    few = np.diff(np.log10(ax.get_xlim()))[0] < 2
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if few else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _two_or_five(value: float, _: int | None) -> str:
    exponent = int(np.floor(np.log10(value) + 1e-9))
    digit = value / 10.0**exponent
    return rf"${digit:.0f}\times10^{{{exponent}}}$" if min(abs(digit - 2), abs(digit - 5)) < 1e-6 else ""


def placeholder(ax: Axes, text: str) -> None:
    """Say in the axes why they hold no marks."""
    ax.figure.set_figheight(min(ax.figure.get_figheight(), EMPTY))
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center", color=GRAY, wrap=True)
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)


def save(figure: Figure, out: Path, name: str, title: str, stamp: str) -> None:
    """NAME.pdf, NAME.svg and, last, NAME.png, each with title and `stamp`, which says what it was drawn from."""
    none = {"CreationDate": None, "ModDate": None}
    figure.savefig(out / f"{name}.pdf", metadata=none | {"Title": title, "Keywords": stamp, "Creator": "retscale"})
    figure.savefig(
        out / f"{name}.svg", metadata={"Date": None, "Title": title, "Description": stamp, "Creator": "retscale"}
    )
    figure.savefig(out / f"{name}.png", metadata={"Software": None, "Title": title, "Source": stamp})
    plt.close(figure)
