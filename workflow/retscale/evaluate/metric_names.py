"""The metrics of retrieval by name: what a name may be, how it is written for readers, and the range of its values.

Every stage that meets a metric asks here, and this module imports nothing. A measure at a cut-off, such as ndcg_at_10,
is computed by the function that `metrics.MEASURES` has for it; what tasks with instructions are scored by besides, by
`instructions.scores`.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What readers call it, and its least value; none exceeds 1."""

    label: str
    least: float = 0.0


MEASURES = {"ndcg": "nDCG", "recall": "Recall", "mrr": "MRR", "map": "MAP", "precision": "Precision"}
FOLLOWING = {"p_mrr": Metric("p-MRR", -1.0), "robustness_at_10": Metric("robustness@10")}

# Those that every evaluation has.
METRICS = ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10", "map_at_100", "precision_at_10")

AT_CUTOFF = rf"(?:{'|'.join(MEASURES)})_at_[1-9][0-9]{{0,3}}"
NAME = rf"^(?:{AT_CUTOFF}|{'|'.join(FOLLOWING)})$"


def parts(name: str) -> tuple[str, int]:
    """Measure and cut-off: `ndcg_at_10` -> ("ndcg", 10)."""
    measure, _, cutoff = name.partition("_at_")
    return measure, int(cutoff)


def metric(name: str) -> Metric | None:
    """The metric called `name`; None if there is none."""
    if name in FOLLOWING:
        return FOLLOWING[name]
    measure, _, cutoff = name.partition("_at_")
    return Metric(f"{MEASURES[measure]}@{cutoff}") if measure in MEASURES and cutoff.isdecimal() else None


def label(name: str) -> str:
    """`nDCG@10` of `ndcg_at_10`."""
    return metric(name).label
