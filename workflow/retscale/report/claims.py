"""The table of claims in words."""

import pandas as pd

from retscale.common.phrase import counted
from retscale.figure.words import interval


def rows(claims: pd.DataFrame) -> list[dict]:
    """Each claim with its estimate, and how often its rule would be right and wrong, as phrases."""
    return [row | {"estimate": estimate(row), "errors": errors(row)} for row in claims.to_dict("records")]


def estimate(row: dict) -> str:
    """Such as `0.041 [0.031, 0.052] a decade of FLOPs, 12 checkpoints`, or why there is none."""
    parts = []
    if not pd.isna(row["value"]):
        value = interval(row["value"], row["low"], row["high"])
        parts.append(f"r = {value}" if row["unit"] == "r" else f"{value} {row['unit']}")
    if not pd.isna(row["n"]):
        parts.append(counted(int(row["n"]), row["counts"]))
    return "; ".join(part for part in (", ".join(parts), row["detail"], row["reason"]) if part)


def errors(row: dict) -> str:
    """How often the rule gives each verdict in simulated studies of this shape; empty if none were simulated."""
    if pd.isna(row["supported_if_true"]):
        return ""
    shares = (
        f"{row[f'{verdict}_if_true']:.0%} where it is true, {row[f'{verdict}_if_false']:.0%} where it is false"
        for verdict in ("supported", "refuted")
    )
    return f"supported: {next(shares)}; not supported: {next(shares)} ({row['worlds']})"
