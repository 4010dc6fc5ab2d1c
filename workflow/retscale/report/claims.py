"""The paper's claims (Portes et al. 2025) tested on a study, by rules that are stated beside each verdict."""

from dataclasses import dataclass

import pandas as pd

from retscale.common.phrase import counted
from retscale.figure.words import interval

SUPPORTED, REFUTED, OPEN = "supported", "not supported", "cannot tell"
MARGIN = 0.01  # of the score: growth per decade, or a difference, below this does not matter
STRONG = 0.5  # a correlation above this is called strong


@dataclass(frozen=True)
class Claim:
    """What the paper says, what this study found, and what follows."""

    text: str
    estimate: str
    verdict: str
    rule: str


def growth(low: float | None, high: float | None) -> str:
    """Of an interval of growth per decade."""
    if low is None or high is None or pd.isna(low) or pd.isna(high):
        return OPEN
    return SUPPORTED if low > 0 else REFUTED if high < MARGIN else OPEN


GROWTH_RULE = f"supported: the interval lies above 0; not supported: it lies below {MARGIN:g}; else cannot tell"


def trend_claim(row: pd.Series | None) -> Claim:
    """Growth of the mean with FLOPs."""
    text = "Retrieval quality grows with pretraining FLOPs"
    if row is None or row["status"] != "ok":
        return Claim(text, "no trend" if row is None else row["reason"], OPEN, GROWTH_RULE)
    slope = interval(row["slope"], row["low"], row["high"])
    estimate = f"{slope} per decade of FLOPs, {counted(row['n'], 'checkpoint')}"
    return Claim(text, estimate, growth(row["low"], row["high"]), GROWTH_RULE)


def effect_claim(row: pd.Series | None, direction: str) -> Claim:
    """Growth in one direction of the ladder."""
    text = {
        "size": "It grows with model size at fixed tokens per parameter",
        "tokens": "It grows with training duration at fixed size",
    }[direction]
    if row is None or row["status"] != "ok":
        return Claim(text, "no estimate" if row is None else row["reason"], OPEN, GROWTH_RULE)
    slope = interval(row["slope"], row["low"], row["high"])
    estimate = f"{slope} per decade of FLOPs, {counted(row['n'], 'checkpoint')}"
    return Claim(text, estimate, growth(row["low"], row["high"]), GROWTH_RULE)


def equal_compute_claim(pairs: pd.DataFrame, near: float) -> Claim:
    """Small models trained longer against larger ones of nearly equal FLOPs."""
    text = "At equal FLOPs a small model trained longer retrieves as well as a larger one"
    rule = (
        f"supported: each pair's interval lies within ±{MARGIN:g}; not supported: more than half lie entirely "
        "outside; else cannot tell"
    )
    if pairs.empty:
        return Claim(text, f"no two sizes within {near:g}× FLOPs", OPEN, rule)
    inside = ((pairs["low"] > -MARGIN) & (pairs["high"] < MARGIN)).sum()
    outside = ((pairs["low"] > MARGIN) | (pairs["high"] < -MARGIN)).sum()
    estimate = (
        f"{counted(len(pairs), 'pair')} within {near:g}× FLOPs, larger minus smaller "
        f"{pairs['difference'].min():+.3f} to {pairs['difference'].max():+.3f}; "
        f"{inside} equal within the margin, {outside} different"
    ).replace("-", "−")
    verdict = SUPPORTED if inside == len(pairs) else REFUTED if outside > len(pairs) / 2 else OPEN
    return Claim(text, estimate, verdict, rule)


def tasks_claim(trends: pd.DataFrame) -> Claim:
    """Growth on the individual tasks."""
    text = "It grows on most tasks"
    rule = (
        f"supported: the interval lies above 0 on more than half of the tasks; not supported: below {MARGIN:g} on "
        "more than half; else cannot tell"
    )
    verdicts = [growth(row.low, row.high) for row in trends.itertuples()]
    grows, flat = verdicts.count(SUPPORTED), verdicts.count(REFUTED)
    estimate = (
        f"{grows} of {counted(len(verdicts), 'task')} {'grows' if grows == 1 else 'grow'}, {flat} "
        f"{'does' if flat == 1 else 'do'} not, {verdicts.count(OPEN)} cannot be told"
    )
    half = len(verdicts) / 2
    return Claim(text, estimate, SUPPORTED if grows > half else REFUTED if flat > half else OPEN, rule)


def icl_claim(row: pd.Series | None, partial: pd.Series | None) -> Claim:
    """In-context learning and retrieval."""
    text = "In-context learning scores correlate strongly with retrieval scores"
    rule = (
        f"supported: Pearson's interval lies above {STRONG:g}; not supported: below; else cannot tell (both grow "
        "with compute: see figure 3)"
    )
    if row is None or row["status"] != "ok":
        return Claim(text, "no checkpoint has both scores" if row is None else row["reason"], OPEN, rule)
    estimate = f"r = {interval(row['value'], row['low'], row['high'])}, {counted(row['n'], 'checkpoint')}"
    if partial is not None and partial["status"] == "ok":
        estimate += f"; given log FLOPs (exploratory) {interval(partial['value'], partial['low'], partial['high'], 2)}"
    if pd.isna(row["low"]):
        return Claim(text, f"{estimate}; {row['reason']}", OPEN, rule)
    return Claim(text, estimate, SUPPORTED if row["low"] > STRONG else REFUTED if row["high"] < STRONG else OPEN, rule)


def claims(tables: dict[str, pd.DataFrame], main: str, form: str, near: float, headline: list[str]) -> list[Claim]:
    """All claims, from the tables of `fit`; the single tasks are those of the headline, a group as one."""
    trends = tables["fits"].query("recipe == @main and form == @form and schedule == 'finished'")
    effects = tables["effects"].query("recipe == @main") if len(tables["effects"]) else tables["effects"]
    mean = trends.query("task == 'mean'")
    icl = tables["correlations"]
    icl = icl.query("about == 'icl-retrieval' and x == 'mean'") if len(icl) else icl
    results = [trend_claim(_first(mean))]
    for direction in ("size", "tokens"):
        rows = effects[effects["direction"] == direction] if len(effects) else effects
        results.append(effect_claim(_first(rows), direction))
    pairs = tables["pairs"]
    results.append(equal_compute_claim(pairs[pairs["recipe"] == main], near))
    results.append(tasks_claim(trends.query("task in @headline")))
    if len(icl):
        pearson, partial = icl.query("method == 'pearson'"), icl[icl["exploratory"].astype(bool)]
        results.append(icl_claim(_first(pearson), _first(partial)))
    else:
        results.append(icl_claim(None, None))
    return results


def _first(rows: pd.DataFrame) -> pd.Series | None:
    return None if rows.empty else rows.iloc[0]
