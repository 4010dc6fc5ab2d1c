"""A claim of a paper, with the estimate and verdict of a study."""

from dataclasses import dataclass, field, fields

from retscale.fit import rules
from retscale.fit.error_rates import Rates

PORTES, LUO = "Portes et al. 2025", "Luo et al. 2024"
NO_MEAN = "no checkpoint that enters fits has a mean"
OWN = "this study"  # a claim of no paper
PER_FLOPS, PER_RATIO, PER_SIZE = "a decade of FLOPs", "a decade of tokens per parameter", "a decade of parameters"


@dataclass(frozen=True)
class Claim:
    """`value` with its interval is the estimate, in `unit`, over `n` of what `counts` names. `detail`: a remark on it; `reason`:
    why there is none.

    The verdict follows from the interval by `rule`; `rates`: how often the rule gives it where the claim is true or false.
    """

    claim: str
    paper: str
    text: str
    rule: str
    unit: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    counts: str = "checkpoint"
    detail: str = ""
    verdict: str = rules.OPEN
    reason: str = ""
    rates: Rates = field(default_factory=Rates)


def one_sided(low: float, high: float) -> str:
    """The interval of two one-sided tests in words."""
    ends = (f"{end:+.4f}".replace("-", "−") for end in (low, high))
    return f"two one-sided tests: {' to '.join(ends)}"


COLUMNS = [column.name for column in (*fields(Claim), *fields(Rates)) if column.name != "rates"]
