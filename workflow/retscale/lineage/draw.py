"""A graph of boxes and a table of sources on one page of A4, in points from its lower left corner."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest

import matplotlib.pyplot as plt
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform

from retscale.common.phrase import counted
from retscale.figure.style import GRAY
from retscale.lineage.graph import Box, Graph
from retscale.lineage.layout import Layout, Node, layout
from retscale.lineage.sources import Source
from retscale.plan.formatting import size

WIDTH, HEIGHT = 595.3, 841.9  # of A4
MARGIN = 34
TITLE, TEXT, LINE = 9.0, 7.0, 9.4  # sizes of letters, and from one line to the next
WIDEST, GAP, PAD = 134, 12, 5  # a box, the room between two, and that between a box and its text
THROUGH = 8  # the width that an edge takes where it passes boxes
TALL = 3 * LINE + 2 * PAD  # a box
ROW, LEAST_ROW = 74, TALL + 14  # from one row of boxes to the next, at most and at least
COLUMNS = (MARGIN, MARGIN + 50, MARGIN + 205, MARGIN + 342, WIDTH - MARGIN)  # of the table, with its right end
MOST_LINES = 3  # of one source
FILLS = {"collect": "#eeeeee", "fit": "#eeeeee", "figure": "#fdf1dc", "report": "#fdf1dc"}
FILL, DARK = "#eaf1f8", "#444444"

Row = tuple[str, str, str, str]  # a line of the table


@dataclass(frozen=True)
class Page:
    """What is drawn: `title`, the lines below it, the graph, and the table."""

    title: str
    about: list[str]
    graph: Graph
    sources: list[Source]


def draw(page: Page) -> Figure:
    """The page; matplotlib's settings are the caller's."""
    figure = plt.figure(figsize=(WIDTH / 72, HEIGHT / 72), layout="none")
    top = HEIGHT - MARGIN - TITLE
    write(figure, MARGIN, top, fitted(page.title, WIDTH - 2 * MARGIN, TITLE, "bold"), TITLE, weight="bold")
    for number, line in enumerate(page.about, 1):
        write(figure, MARGIN, top - 4 - LINE * number, fitted(line, WIDTH - 2 * MARGIN), color=GRAY)
    top -= 16 + LINE * len(page.about)
    placed = layout(page.graph)
    room = top - MARGIN - LEAST_ROW * len(placed.rows)
    rows = table(page.sources, int(room // LINE) - 2)
    bottom = MARGIN + LINE * len(rows)
    for number, row in enumerate(rows, 1):
        for x, text in zip(COLUMNS[:-1], row, strict=True):
            write(figure, x, bottom - LINE * number, text, weight="bold" if number == 1 else "normal")
    draw_graph(figure, page.graph, placed, top, bottom + LINE)
    return figure


def draw_graph(figure: Figure, graph: Graph, placed: Layout, top: float, bottom: float) -> None:
    """Rows of boxes from `top` to `bottom`, and an arrow for each edge."""
    pitch = min(ROW, (top - bottom) / len(placed.rows))
    centers: dict[Node, tuple[float, float]] = {}
    for rank, row in enumerate(placed.rows):
        y = top - TALL / 2 - rank * pitch
        room = WIDTH - 2 * MARGIN - GAP * (len(row) - 1)
        through = sum(THROUGH for node in row if node not in graph.boxes)
        wide = min(WIDEST, (room - through) / max(sum(node in graph.boxes for node in row), 1))
        widths = [wide if node in graph.boxes else THROUGH for node in row]
        spare = (room - sum(widths)) / (len(row) + 1)
        x = MARGIN + spare
        for node, width in zip(row, widths, strict=True):
            centers[node] = (x + width / 2, y)
            if box := graph.boxes.get(node):
                draw_box(figure, box, x, y + TALL / 2, width)
            x += width + GAP + spare
    for chain in placed.chains:
        ends = [[(x, y + TALL / 2), (x, y - TALL / 2)] for x, y in (centers[node] for node in chain)]
        draw_edge(figure, [point for top_and_bottom in ends for point in top_and_bottom][1:-1])


def draw_box(figure: Figure, box: Box, x: float, top: float, width: float) -> None:
    fill = FILLS.get(box.group.stage, FILL)
    add(figure, Rectangle((x, top - TALL), width, TALL, facecolor=fill, edgecolor=DARK, linewidth=0.6))
    for number, line in enumerate(lines(box), 1):
        weight = "bold" if number == 1 else "normal"
        text = fitted(line, width - 2 * PAD, weight=weight)
        write(figure, x + PAD, top - PAD - LINE * number + 2.2, text, weight=weight)


def lines(box: Box) -> Iterator[str]:
    """The text of a box: what it is, how much, and of what."""
    yield ": ".join(filter(None, box.group))
    yield f"{counted(box.records, 'result')}, {counted(box.files, 'file')}, {size(box.bytes)}"
    named = ((what, list(names)) for what, names in box.names.items())
    yield ", ".join(names[0] if len(names) == 1 else counted(len(names), what) for what, names in named)


def draw_edge(figure: Figure, points: list[tuple[float, float]]) -> None:
    """A line through these points, with a head at its end."""
    style = "-|>,head_length=3,head_width=1.6"
    arrow = FancyArrowPatch(path=Path(points), arrowstyle=style, mutation_scale=1, color=DARK, linewidth=0.6)
    add(figure, arrow)


def add(figure: Figure, patch: Patch) -> None:
    patch.set_transform(in_points(figure))
    figure.add_artist(patch)


def in_points(figure: Figure) -> Transform:
    return Affine2D().scale(1 / 72) + figure.dpi_scale_trans


def write(figure: Figure, x: float, y: float, text: str, points: float = TEXT, **style: str) -> None:
    figure.text(x, y, text, fontsize=points, transform=in_points(figure), parse_math=False, **style)


def table(sources: list[Source], most_lines: int) -> list[Row]:
    """Its lines, the head first; empty without sources. What is longer than its column is wrapped, what is more counted."""
    rows: list[Row] = []
    for number, source in enumerate(sources):
        columns = [[source.stage], wrapped(source.ids, ",", 1)]
        columns += [
            wrapped(words.split(" "), "", column) for column, words in ((2, source.origin), (3, source.licence))
        ]
        lines = list(zip_longest(*columns, fillvalue=""))
        if len(rows) + len(lines) > most_lines:
            rows.append(("", f"and {len(sources) - number:,} more", "", ""))
            break
        rows += lines
    return [("stage", "from outside", "origin", "license"), *rows] if rows else []


def wrapped(parts: Sequence[str], comma: str, column: int) -> list[str]:
    """The parts, parted by the comma and a space, in at most MOST_LINES lines that fit the column."""
    width, result = COLUMNS[column + 1] - COLUMNS[column] - GAP, [""]
    for number, part in enumerate(parts):
        text = part + comma * (number + 1 < len(parts))
        longer = f"{result[-1]} {text}".strip()
        if result[-1] and text_width(longer, TEXT, "normal") > width:
            if len(result) == MOST_LINES:
                result[-1] = fitted(f"{result[-1]} and {len(parts) - number} more" if comma else f"{longer} …", width)
                break
            result.append(text)
        else:
            result[-1] = longer
    return [fitted(line, width) for line in result]


def fitted(text: str, width: float, points: float = TEXT, weight: str = "normal") -> str:
    """The text, or its beginning and an ellipsis if it is wider."""
    if text_width(text, points, weight) <= width:
        return text
    shorter = text[:-1]
    while shorter and text_width(f"{shorter.rstrip()}…", points, weight) > width:
        shorter = shorter[:-1]
    return f"{shorter.rstrip()}…"


@cache
def text_width(text: str, points: float, weight: str) -> float:
    """In points; rasterised at such a size that hinting changes nothing."""
    font = FontProperties(family="DejaVu Sans", size=points, weight=weight)
    return _renderer().get_text_width_height_descent(text, font, ismath=False)[0] / 10


@cache
def _renderer() -> RendererAgg:
    return RendererAgg(1, 1, 720)
