"""From an interval to a verdict on a claim. Rules have one threshold, or exclude each other, so none overlap."""

SUPPORTED, REFUTED, OPEN = "supported", "not supported", "cannot tell"
MARGIN = 0.01  # of the score: growth in a decade, or a difference, below this does not matter
STRONG = 0.5  # a correlation above this is called strong

GROWTH = f"supported: the interval lies above {MARGIN:g} a decade; not supported: below; else cannot tell"
MOST = f"supported: so it does on more than half of the tasks; not supported: growth lies below {MARGIN:g} on more than half"
EQUAL = (
    f"supported: the interval of two one-sided tests lies within ±{MARGIN:g} a decade of tokens per parameter; not "
    "supported: the interval lies wholly outside; else cannot tell"
)
CORRELATION = f"supported: the interval lies above {STRONG:g}; not supported: below; else cannot tell"
PARTIAL = (
    f"supported: the interval lies above 0; not supported: it does not, and lies below {STRONG:g}; else cannot tell"
)

NOT_LESS = f"supported: the interval lies above −{MARGIN:g}, a loss that does not matter; not supported: below; else cannot tell"
SAME = f"supported: the interval of two one-sided tests lies within ±{MARGIN:g}; not supported: the interval lies wholly outside; else cannot tell"
GAIN = "supported: the interval lies above 0; not supported: below; else cannot tell"
FEWER = "supported: the interval lies below 0; not supported: above; else cannot tell"


def above(low: float | None, high: float | None, threshold: float) -> str:
    """Of an interval against one threshold; cannot tell without an interval."""
    if low is None or high is None or low != low or high != high:
        return OPEN
    return SUPPORTED if low > threshold else REFUTED if high < threshold else OPEN


def growth(low: float | None, high: float | None) -> str:
    return above(low, high, MARGIN)


def not_less(low: float | None, high: float | None) -> str:
    return above(low, high, -MARGIN)


def gain(low: float | None, high: float | None) -> str:
    return above(low, high, 0)


def fewer(low: float | None, high: float | None) -> str:
    return above(None if high is None else -high, None if low is None else -low, 0)


def correlation(low: float | None, high: float | None) -> str:
    return above(low, high, STRONG)


def partial(low: float | None, high: float | None) -> str:
    """An effect, or no strong one."""
    return SUPPORTED if above(low, high, 0) == SUPPORTED else REFUTED if above(low, high, STRONG) == REFUTED else OPEN


def most(verdicts: list[str]) -> str:
    """Of single verdicts, such as those of tasks; more than half cannot be both."""
    half = len(verdicts) / 2
    if verdicts.count(SUPPORTED) > half:
        return SUPPORTED
    return REFUTED if verdicts.count(REFUTED) > half else OPEN
