"""How a checkpoint looks in every figure: color by size, marker by size or family, fill by tokens per parameter."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from retscale.figure.config import FigureConfig
from retscale.figure.words import short

MARKERS = "os^DvPX<>ph*d8"
LISTED = 8  # sizes that a legend lists; more of them, or several families, have a color bar
PALE = 0.3  # the fill of the fewest tokens per parameter, as a share of the color
FILLS = 3  # tokens per parameter that a legend shows
DARK = "#444444"

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Looks:
    """`colors` and parameters (`params`) by size, from small to large; `markers` by family if there are several, else by
    size if a legend lists them; `fills` by level of tokens per parameter.
    """

    colors: dict[str, Color]
    params: dict[str, float]
    markers: dict[str, str]
    fills: dict[float, float]
    families: bool
    scale: LinearSegmentedColormap

    @property
    def bar(self) -> bool:
        """Whether colors are read from a color bar."""
        return self.families or len(self.colors) > LISTED

    def color(self, size: str) -> Color:
        return self.colors[size]

    def marker(self, row: Any) -> str:
        return self.markers.get(row.family if self.families else row.size, MARKERS[0])

    def mark(self, ax: Axes, row: Any, x: float, y: float, size: float = 5.0, **over) -> None:
        """One checkpoint, a `row` as itertuples gives it; hollow if it enters no fit."""
        color = self.colors[row.size]
        share = 0.0 if row.hollow else self.fills.get(row.level, 1.0)
        face = tuple(1 - share * (1 - channel) for channel in color)
        style = {"marker": self.marker(row), "color": color, "markerfacecolor": face, "markersize": size}
        style |= {"markeredgewidth": 0.9, "linestyle": "none", "zorder": 5}
        ax.plot([x], [y], **(style | over))

    def sizes(self, rows: pd.DataFrame) -> list[Line2D]:
        """Legend entries of the sizes or families in `rows`."""
        if self.families:
            return [
                entry(marker, DARK, label=name) for name, marker in self.markers.items() if name in set(rows["family"])
            ]
        if self.bar:
            return []
        drawn = set(rows["size"])
        return [
            entry(self.markers[size], color, label=short(self.params[size]))
            for size, color in self.colors.items()
            if size in drawn
        ]

    def levels(self) -> list[Line2D]:
        """Legend entries of tokens per parameter: a few of them if there are many."""
        values = list(self.fills) if len(self.fills) > 1 else []
        chosen = sorted({round(i) for i in np.linspace(0, len(values) - 1, min(len(values), FILLS))})
        gray = to_rgb(DARK)
        return [
            entry("o", DARK, face=[1 - self.fills[values[i]] * (1 - c) for c in gray], label=short(values[i]))
            for i in chosen
        ]

    def words(self) -> str:
        """What color, marker and fill mean, for captions."""
        parts = ["Color: parameters" if self.bar else "Color and marker: parameters"]
        parts += ["marker: family"] if self.families else []
        parts += ["the fuller a mark, the more tokens per parameter"] if len(self.fills) > 1 else []
        return "; ".join(parts) + "."

    def colorbar(self, figure: Figure, axes: Axes | Iterable[Axes], above: bool = False) -> None:
        """Beside or above `axes`, where a legend would be too long."""
        if not self.bar or not self.params:
            return
        values = list(self.params.values())
        norm = LogNorm(min(values), max(values) if max(values) > min(values) else 10 * min(values))
        place = (
            {"location": "top", "shrink": 0.5, "aspect": 50}
            if above
            else {"pad": 0.01, "aspect": 10 * figure.get_figheight()}
        )
        bar = figure.colorbar(ScalarMappable(norm, self.scale), ax=axes, label="parameters", **place)
        bar.outline.set_linewidth(0.4)
        axis = bar.ax.xaxis if above else bar.ax.yaxis
        decades = np.log10(norm.vmax / norm.vmin)
        axis.set_major_locator(LogLocator(subs=(1,) if decades > 3 else (1, 3) if decades > 1 else (1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
        axis.set_minor_formatter(NullFormatter())

    def key(self, figure: Figure, rows: pd.DataFrame, *groups: tuple[str, list], levels: bool = True) -> None:
        """The legend to the right of a figure: sizes or families, tokens per parameter, and further (title, entries)."""
        titled = self._groups(rows, groups, levels)
        handles, titles = [], []
        for title, entries in titled:
            titles += [title] if title else []
            handles += [Line2D([], [], linestyle="none", label=title)] if title else []
            handles += entries
        if not handles:
            return
        legend = figure.legend(handles=handles, loc="outside right upper", handlelength=1.6)
        legend._legend_box.align = "left"
        for text in legend.get_texts():
            if text.get_text() in titles:
                text.set_fontweight("bold")

    def key_above(self, figure: Figure, rows: pd.DataFrame, *groups: tuple[str, list]) -> None:
        """The same in a line or two above a figure of many panels."""
        handles = []
        for title, entries in self._groups(rows, groups, levels=True):
            if entries and title:
                handles.append(Line2D([], [], linestyle="none", label=f"{title}:".replace("\n", " ")))
            handles += entries
        if handles:
            # A letter is about .6 of its height wide, a mark and its gaps .35 inches.
            letter = 0.6 * matplotlib.rcParams["legend.fontsize"] / 72
            wide = sum(0.35 + letter * len(handle.get_label()) for handle in handles)
            lines = max(1, round(wide / figure.get_figwidth() + 0.5))
            columns = -(-len(handles) // lines)
            # Matplotlib goes down each column, a reader along each line.
            read = [i for column in range(columns) for i in range(column, len(handles), columns)]
            options = {"handlelength": 1.2, "handletextpad": 0.4, "columnspacing": 1.0}
            figure.legend(handles=[handles[i] for i in read], loc="outside upper center", ncols=columns, **options)

    def _groups(self, rows: pd.DataFrame, further: Iterable[tuple[str, list]], levels: bool) -> list[tuple[str, list]]:
        fills = [("tokens per\nparameter", self.levels())] if levels else []
        hollow = [("", [entry("o", DARK, face="white", label="in no fit")])] if rows["hollow"].any() else []
        groups = [("family" if self.families else "parameters", self.sizes(rows)), *fills, *hollow, *further]
        return [(title, entries) for title, entries in groups if entries]


def looks(points: pd.DataFrame, config: FigureConfig) -> Looks:
    """Of all checkpoints that a study draws, so that one looks alike in all figures."""
    params = points.groupby("size")["n_params"].median().sort_values(kind="stable")
    families = sorted(points["family"].unique())
    several = len(families) > 1
    scale = LinearSegmentedColormap.from_list(
        "sizes", matplotlib.colormaps[config.palette](np.linspace(config.palette_from, config.palette_to, 64))
    )
    if several or len(params) > LISTED:
        log = np.log(params.to_numpy(float))
        shares = (log - log.min()) / (np.ptp(log) or 1)
    else:
        shares = np.linspace(0, 1, max(len(params), 2))[: len(params)]
    names = families if several else list(params.index) if len(params) <= LISTED else []
    levels = sorted(points.loc[points["role"] == "fit", "level"].dropna().unique()) if "level" in points else []
    return Looks(
        {size: to_rgb(scale(share)) for size, share in zip(params.index, shares, strict=True)},
        params.to_dict(),
        {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)},
        dict(zip(levels, np.linspace(PALE, 1, len(levels)) if len(levels) > 1 else [1.0] * len(levels), strict=True)),
        several,
        scale,
    )


def entry(marker: str, color: Color | str, face: object = None, **over) -> Line2D:
    """A mark in a legend."""
    style = {"marker": marker, "color": color, "markersize": 5, "markeredgewidth": 0.9, "linestyle": "none"}
    return Line2D([], [], **(style | {"markerfacecolor": color if face is None else face} | over))
