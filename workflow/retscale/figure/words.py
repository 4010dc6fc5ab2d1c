"""Numbers and findings in words, for captions, alternative texts and the report."""

import pandas as pd

from retscale.common.phrase import counted
from retscale.fit.forms import FORMS
from retscale.fit.trend import PRIOR


def number(value: float, digits: int = 3) -> str:
    """The number with a true minus sign, and no sign before zero."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def interval(value: float, low: float | None, high: float | None, digits: int = 3) -> str:
    """`0.041 [0.031, 0.052]`, without brackets where there is no interval."""
    ends = "" if pd.isna(low) or pd.isna(high) else f" [{number(low, digits)}, {number(high, digits)}]"
    return f"{number(value, digits)}{ends}"


def scientific(value: float) -> str:
    """`1.2 × 10^12` with superscript digits."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def short(value: float | None) -> str:
    """`1.56M`: three digits and a unit."""
    if value is None or pd.isna(value):
        return "–"
    for unit, size in {"T": 1e12, "B": 1e9, "M": 1e6, "k": 1e3}.items():
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def trend_words(trend: pd.Series | None, parameters: dict[str, float], percent: str, metric: str) -> str:
    """The trend as a sentence, or why there is none."""
    if trend is None or trend["status"] != "ok":
        return f"No trend is fitted: {'there are no checkpoints in the ladder' if trend is None else trend['reason']}."
    how = "mixed parametric bootstrap, checkpoints nested in sizes"
    if trend["method"] == PRIOR:
        how += ", with a prior of the spread between so few sizes"
    note = f"; {trend['reason']}" if trend["reason"] else ""
    growth = interval(trend["slope"], trend["low"], trend["high"])
    return (
        f"{trend['form'].capitalize()} trend over {counted(trend['n'], 'checkpoint')} of "
        f"{counted(trend['sizes'], 'size')}: {FORMS[trend['form']].sentence(metric, growth, parameters)} "
        f"({percent} interval, {how}{note})."
    )


def ladder_words(rows: pd.DataFrame) -> str:
    """What is drawn, for alternative texts."""
    if rows.empty:
        return "No checkpoint is drawn."
    lowest, highest = rows.loc[rows["y"].idxmin()], rows.loc[rows["y"].idxmax()]
    return (
        f"{counted(len(rows), 'checkpoint')} of {counted(rows['size'].nunique(), 'size')} from "
        f"{scientific(rows['flops'].min())} to {scientific(rows['flops'].max())} FLOPs; "
        f"lowest {number(lowest['y'])} ({lowest['checkpoint']}), highest {number(highest['y'])} ({highest['checkpoint']})."
    )


def bar_words(rows: pd.DataFrame, what: str) -> str:
    """What the vertical bars of the points are; nothing if none has an interval, as published scores."""
    return f"Vertical bars: {what}. " if rows["low"].notna().any() else ""


def not_drawn(panels: list[str]) -> str:
    """A sentence on panels that a figure has no room for; empty if there are none."""
    return f" Not drawn, but in the tables: {', '.join(panels)}." if panels else ""
