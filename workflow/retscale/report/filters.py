"""How values are written on the page."""

import html
import re

import pandas as pd
from markupsafe import Markup

from retscale.common.phrase import counted
from retscale.figure import words
from retscale.figure.words import scientific, short
from retscale.fit.detectable import QUERIES
from retscale.plan.formatting import size


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or pd.isna(value) else words.number(value, digits)


def interval(row: dict, name: str, digits: int = 3) -> str:
    """The value of this name with the ends `low` and `high` of its interval."""
    return "–" if row[name] is None else words.interval(row[name], row["low"], row["high"], digits)


def ends(row: dict, name: str = "", digits: int = 3) -> str:
    """The interval alone."""
    low, high = row[f"{name}low"], row[f"{name}high"]
    return "–" if low is None or pd.isna(low) else f"[{words.number(low, digits)}, {words.number(high, digits)}]"


def count(value: float | None) -> str:
    """A whole number with thin spaces between thousands."""
    return "–" if value is None or pd.isna(value) else f"{int(value):,}".replace(",", "\u202f")


def p(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else "< 0.001" if value < 0.001 else f"{value:.3f}"


def standing(row: dict) -> str:
    """Why a row has no estimate, or a remark on the estimate; its status if there is neither."""
    return row["reason"] or row["status"].replace("_", " ")


def knowing(row: dict) -> str:
    """The noise that the smallest detectable difference of a row accounts for."""
    return {QUERIES: "queries alone", None: ""}.get(row["detectable_knows"], row["detectable_knows"])


def inline(text: str) -> str:
    """The two marks of captions, **bold** and `code`, as HTML; all else escaped."""
    escaped = html.escape(text, quote=False)
    escaped = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escaped)
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", escaped))


FILTERS = {
    each.__name__: each
    for each in (number, interval, ends, count, p, standing, knowing, inline, counted, scientific, short, size)
}
