"""A mean over backbones, which are the replicates: the estimate, the verdict, and how often that would be right and wrong."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from retscale.common.phrase import counted
from retscale.common.seeds import stream
from retscale.fit import error_rates, isoflop, rules
from retscale.fit.claim import LUO, Claim, one_sided
from retscale.fit.config import Spec
from retscale.fit.constant import ROUNDING
from retscale.fit.error_rates import CHANGE, Rates

FEWEST = 3  # backbones of a mean over them
ENOUGH = 5  # backbones whose standard deviation is taken for the simulated studies
SPREAD = float(np.sqrt(2)) * error_rates.SIGMA  # where there are fewer: as two trainings of a checkpoint differ


def interval(values: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean of each row of values (r, n) and its 1 - alpha interval by Student's t: three arrays (r,)."""
    from scipy.stats import t

    n, value = values.shape[1], values.mean(1)
    half = float(t.ppf(1 - alpha / 2, n - 1)) * (values.std(1, ddof=1) / np.sqrt(n))
    return value, value - half, value + half


@dataclass(frozen=True)
class Rule:
    """A rule in words and its verdicts on rows of values (r, n) at alpha; the means over backbones in the simulated worlds
    where the claim is true and false, and these in words.
    """

    words: str
    verdicts: Callable[[np.ndarray, float], list[str]]
    true: float
    false: float
    worlds: str


def by_threshold(judge: Callable[[float, float], str]) -> Callable[[np.ndarray, float], list[str]]:
    return lambda values, alpha: [judge(*ends) for ends in zip(*interval(values, alpha)[1:], strict=True)]


def within_margin(values: np.ndarray, alpha: float) -> list[str]:
    """By two one-sided tests, as equal compute."""
    verdicts = isoflop.judge(*interval(values, alpha)[1:], *interval(values, 2 * alpha)[1:])
    return [str(verdict) for verdict in verdicts]


GAIN = Rule(rules.GAIN, by_threshold(rules.gain), CHANGE, 0.0, f"true: a gain of {CHANGE:g}; false: none")
NOT_LESS = Rule(
    rules.NOT_LESS, by_threshold(rules.not_less), 0.0, -CHANGE, f"true: no change; false: a loss of {CHANGE:g}"
)
SAME = Rule(rules.SAME, within_margin, 0.0, CHANGE, f"true: no change; false: a change of {CHANGE:g}")


def over_backbones(claim: str, text: str, rule: Rule, values: pd.Series, absent: str, spec: Spec) -> Claim:
    """The mean of one value a backbone, with Student's t."""
    base = {"claim": claim, "paper": LUO, "text": text, "rule": rule.words, "unit": "on average"}
    n = len(values)
    if n < FEWEST:
        reason = f"{counted(n, 'backbone')}, too few to tell; this needs {FEWEST}" if n else absent
        return Claim(**base, value=float(values.mean()) if n else None, n=n or None, reason=reason)
    row = values.to_numpy(float)[None]
    value, low, high = (float(end[0]) for end in interval(row, spec.alpha))
    detail = one_sided(*(float(end[0]) for end in interval(row, 2 * spec.alpha)[1:])) if rule is SAME else ""
    rates = rates_of(rule, n, float(row.std(ddof=1)), spec, stream(spec.seed, claim))
    verdict = rule.verdicts(row, spec.alpha)[0]
    return Claim(**base, value=value, low=low, high=high, n=n, detail=detail, verdict=verdict, rates=rates)


def rates_of(rule: Rule, n: int, own: float, spec: Spec, rng: np.random.Generator) -> Rates:
    """Of means over n backbones, whose standard deviation is their `own`, or SPREAD where so few say little of it."""
    known = n >= ENOUGH and own > ROUNDING
    spread = own if known else SPREAD
    words = f"{rule.worlds}; noise {spread:.4f} between {n} backbones" + ("" if known else ", assumed")
    drawn = spread * rng.normal(size=(spec.bootstrap, n))
    return error_rates.rates(*(rule.verdicts(mean + drawn, spec.alpha) for mean in (rule.true, rule.false)), words)
