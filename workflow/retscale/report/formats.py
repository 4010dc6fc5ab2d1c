"""A table of cells that are text, as lines for a terminal, in Markdown, or in LaTeX with booktabs."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from retscale.plan import formatting

MATH = {"−": "$-$", "–": "--", "Δ": r"$\Delta$", "²": "$^2$", "±": r"$\pm$", "α": r"$\alpha$"}
SPECIAL = {character: f"\\{character}" for character in "&%$#_{}"}
SPECIAL |= {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
POWER = re.compile("× 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


@dataclass(frozen=True)
class Table:
    """`columns` has l, r or p (text that wraps) for each of `head`."""

    title: str
    columns: str
    head: list[str]
    rows: list[list[str]]


def text(table: Table) -> list[str]:
    """For a terminal, on which wide text has no column of its own."""
    if "p" in table.columns:
        width = max(len(cells[0]) for cells in table.rows) if table.rows else 0
        return [table.title, *(f"{cells[0]:>{width}}  {': '.join(cells[1:])}" for cells in table.rows)]
    return [table.title, *formatting.table(table.head, table.rows)]


def markdown(table: Table) -> list[str]:
    """In GitHub's flavor."""
    rule = ["---:" if column == "r" else "---" for column in table.columns]
    escaped = [[cell.replace("\\", r"\\").replace("|", r"\|") for cell in cells] for cells in [table.head, *table.rows]]
    body = [escaped[0], rule, *escaped[1:]]
    return [f"**{table.title}**", "", *(f"| {' | '.join(cells)} |" for cells in body)]


def latex(table: Table) -> list[str]:
    """A float, for documents in UTF-8."""
    head, *rows = [[escape(cell) for cell in cells] for cells in [table.head, *table.rows]]
    columns = table.columns.replace("p", r"p{.4\linewidth}")
    lines = pd.DataFrame(rows, columns=head).to_latex(index=False, column_format=columns, caption=escape(table.title))
    return ["% needs the package booktabs", *lines.splitlines()]


def escape(cell: str) -> str:
    """For LaTeX's text mode, with powers of ten in math."""
    parts = POWER.split(cell)
    for at, part in enumerate(parts):
        if at % 2:
            parts[at] = rf"$\times 10^{{{part.translate(DIGITS)}}}$"
        else:
            parts[at] = "".join((SPECIAL | MATH).get(character, character) for character in part)
    return "".join(parts)


FORMATS: dict[str, Callable[[Table], list[str]]] = {"text": text, "markdown": markdown, "latex": latex}
