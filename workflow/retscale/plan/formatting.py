"""Numbers and tables in words."""

from collections.abc import Callable

from retscale.plan.estimate import Sum


def cell(amount: Sum, form: Callable[[float], str]) -> str:
    """`2.4G`, `2.4G + 3 ?`, `?` or `-`."""
    parts = [form(amount.known)] if amount.known else []
    if amount.unknown:
        parts.append(f"{amount.unknown:,} ?" if parts else "?")
    return " + ".join(parts) or "-"


def short(value: float | None) -> str:
    """Three digits and a unit: `2.41G`."""
    if value is None:
        return "?"
    for unit, size in {"T": 1e12, "G": 1e9, "M": 1e6, "k": 1e3}.items():
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def size(value: float) -> str:
    """Bytes: `96.5 GB`."""
    for unit, factor in {"TB": 1e12, "GB": 1e9, "MB": 1e6}.items():
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e3:.3g} kB"


def hours(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}" if value >= 0.01 else "< .01"


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    """Columns two spaces apart, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return [
        "  ".join([cells[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])
        for cells in [head, *rows]
    ]
