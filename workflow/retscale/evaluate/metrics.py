"""The metrics of retrieval by name: what readers call them, their range, and what computes them.

Every stage that meets a metric asks here. A new measure is a function and its entry in MEASURES; one of tasks with
instructions is an entry in INSTRUCTION. A study is checked with this module, so it imports neither arrays nor models.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

if TYPE_CHECKING:
    import numpy as np

    from retscale.evaluate.matches import Matches
    from retscale.evaluate.task_tables import Task

MAIN = "ndcg_at_10"
STANDARD = (MAIN, "recall_at_10", "recall_at_100", "mrr_at_10", "map_at_100", "precision_at_10")  # of every evaluation


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What readers call it, and the range of its values."""

    label: str
    least: float = 0.0
    most: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Measure(Metric):
    """A metric for each cut-off k, such as ndcg_at_10, as trec_eval defines it and by mteb's name.

    `compute` gives float64 (queries,); a query without a relevant document scores 0. A `graded` measure has gains; the
    others count a document as relevant from a judged score on (trec_eval's -l).
    """

    compute: Callable[[Matches, int], np.ndarray]
    graded: bool = False


@dataclass(frozen=True, kw_only=True)
class Instruction(Metric):
    """A further metric of a task whose queries have instructions; `about` explains it to readers.

    `compute` takes the task, its ranking (row numbers (queries, k), -1 for none) and each query's nDCG@10, and gives
    float64 (queries,), NaN where there is no value. At least `depth` documents are ranked.
    """

    compute: Callable[[Task, np.ndarray, np.ndarray], np.ndarray]
    about: str
    depth: int = 0


def ndcg(matches: Matches, k: int) -> np.ndarray:
    """nDCG@k with linear gains (trec_eval's ndcg_cut)."""
    return matches.ratio(matches.dcg(k), matches.best_dcg(k))


def recall(matches: Matches, k: int) -> np.ndarray:
    """Fraction of the relevant documents that are among the first k."""
    return matches.ratio(matches.count(k), matches.relevant())


def precision(matches: Matches, k: int) -> np.ndarray:
    """Fraction of relevant documents in the first k; ranks that a short ranking leaves empty count as not relevant."""
    return matches.count(k) / k


def mrr(matches: Matches, k: int) -> np.ndarray:
    """Reciprocal rank of the first relevant document, 0 beyond rank k."""
    return matches.total(1 / (matches.rank + 1), (matches.position() == 0) & (matches.rank < k))


def average_precision(matches: Matches, k: int) -> np.ndarray:
    """Precision at each relevant document among the first k, summed and divided by all the relevant (map_cut)."""
    precisions = (matches.position() + 1) / (matches.rank + 1)
    return matches.ratio(matches.total(precisions, matches.rank < k), matches.relevant())


def p_mrr(task: Task, rows: np.ndarray, ndcg_at_10: np.ndarray) -> np.ndarray:
    from retscale.evaluate import instructions

    return instructions.p_mrr(task.query_ids, task.doc_ids, rows, task.changed)


def robustness(task: Task, rows: np.ndarray, ndcg_at_10: np.ndarray) -> np.ndarray:
    from retscale.evaluate import instructions

    return instructions.robustness(task.query_ids, ndcg_at_10)


MEASURES = {
    "ndcg": Measure(label="nDCG", compute=ndcg, graded=True),
    "recall": Measure(label="Recall", compute=recall),
    "mrr": Measure(label="MRR", compute=mrr),
    "map": Measure(label="MAP", compute=average_precision),
    "precision": Measure(label="Precision", compute=precision),
}
INSTRUCTION = {
    "p_mrr": Instruction(
        label="p-MRR",
        least=-1.0,
        compute=p_mrr,
        about="from −1 to 1, above 0 where rankings follow a changed instruction (FollowIR)",
        depth=1000,  # as in mteb; a document that is not among them ranks behind the last
    ),
    "robustness_at_10": Instruction(
        label="robustness@10",
        compute=robustness,
        about="the mean over questions of the lowest nDCG@10 under their instructions (InstructIR)",
    ),
}


def parts(name: str) -> tuple[str, int] | None:
    """Measure and cut-off: `ndcg_at_10` -> ("ndcg", 10); None of anything else."""
    match = re.fullmatch(r"(\w+)_at_([1-9][0-9]{0,3})", name, re.ASCII)
    return (match[1], int(match[2])) if match and match[1] in MEASURES else None


def metric(name: str) -> Metric | None:
    """The metric called `name`; None if there is none."""
    if name_and_cutoff := parts(name):
        measure, k = name_and_cutoff
        definition = MEASURES[measure]
        return Metric(label=f"{definition.label}@{k}", least=definition.least, most=definition.most)
    return INSTRUCTION.get(name)


def label(name: str) -> str:
    """`nDCG@10` of `ndcg_at_10`."""
    return metric(name).label


def values(name: str, matches: Matches, relevant: int = 1) -> np.ndarray:
    """A measure at a cut-off of each query: float64 (queries,). `relevant`: the least score of a relevant document."""
    measure, k = parts(name)
    definition = MEASURES[measure]
    return definition.compute(matches if definition.graded else matches.at_least(relevant), k)


def ungraded() -> str:
    """The labels of the measures that have no gains: `Recall, MRR, MAP, Precision`."""
    return ", ".join(measure.label for measure in MEASURES.values() if not measure.graded)


def _at_cutoff(name: str) -> str:
    return _one_of(name, [])


def _any(name: str) -> str:
    return _one_of(name, list(INSTRUCTION))


def _one_of(name: str, others: list[str]) -> str:
    if not parts(name) and name not in others:
        known = ", ".join([*(f"{measure}_at_K" for measure in MEASURES), *others])
        raise ValueError(f"must be one of {known}, with K from 1 to 9999")
    return name


# As a study writes them: what it may ask every evaluation for, and what it may draw and fit.
AtCutoff = Annotated[str, AfterValidator(_at_cutoff)]
Name = Annotated[str, AfterValidator(_any)]
