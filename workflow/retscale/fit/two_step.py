"""From compute to contrastive entropy to score, beside the direct way. Reported; no claim rests on it.

Contrastive entropy falls smoothly with compute (Fang et al. 2024), so what it says of the score may be steadier than the
score itself. Whether it is depends on the task: in public data entropy explains anything from .12 to .99 of the variance.
"""

from dataclasses import asdict, dataclass, fields, replace

import numpy as np
import pandas as pd

from retscale.collect.means import MEAN, tasks_of
from retscale.collect.summary import StudySummary
from retscale.common.phrase import counted
from retscale.fit.constant import ROUNDING, constant
from retscale.fit.correlate import spearman
from retscale.fit.isoflop import degrees
from retscale.fit.ladder import LN10, Ladder, ladder_of
from retscale.fit.reml import reml

FEWEST = 4  # checkpoints
ENTROPY, SCORE, THROUGH, BEYOND, DIRECT = (
    "FLOPs to entropy",
    "entropy to score",
    "through entropy",
    "beyond entropy",
    "FLOPs to score",
)
UNITS = {ENTROPY: "nats per decade of FLOPs", SCORE: "score per nat"}
REML, PRODUCT = "REML, Student's t", "REML, delta method, Student's t"


@dataclass(frozen=True)
class Step:
    """`slope` in `unit`; fields are None where nothing may be claimed. `r2` and `rmse`: of the step's fitted values.

    `spearman`: of the two sides of a step that has two.
    """

    step: str
    n: int
    sizes: int
    families: int
    df: int | None = None
    slope: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    r2: float | None = None
    rmse: float | None = None
    spearman: float | None = None
    method: str | None = None
    status: str = "insufficient"
    reason: str = ""


@dataclass(frozen=True)
class Line:
    """The last column's coefficient, its variance and degrees of freedom, and the fitted values (n,)."""

    slope: float
    variance: float
    df: int
    coefficients: np.ndarray
    fitted: np.ndarray


COLUMNS = ["recipe", "task", "headline", *(field.name for field in fields(Step))]


def two_step(finished: pd.DataFrame, scores: pd.DataFrame, study: StudySummary, alpha: float) -> pd.DataFrame:
    """`steps` of each recipe and task (and mean); the entropy of a mean is that of its tasks."""
    key = ["checkpoint", "recipe", "task"]
    # Published scores come without it.
    columns = scores.reindex(columns=[*key, "contrastive_entropy"]).drop_duplicates(key)
    columns["checkpoint"] = columns["checkpoint"].map(study.repeats.checkpoint)
    columns["recipe"] = columns["recipe"].map(study.repeats.recipe)
    entropy = columns.astype({"contrastive_entropy": float}).groupby(key)["contrastive_entropy"].mean()
    rows = []
    for (recipe, task), group in finished.groupby(["recipe", "task"]):
        parts = tasks_of(task, study)
        means = [
            entropy.reindex([(name, recipe, part) for part in parts]).mean(skipna=False) for name in group["checkpoint"]
        ]
        about = {"recipe": recipe, "task": task, "headline": task == MEAN}
        rows += [about | asdict(step) for step in steps(ladder_of(group), np.array(means, float), alpha)]
    return pd.DataFrame(rows, columns=COLUMNS)


def steps(ladder: Ladder, entropy: np.ndarray, alpha: float) -> list[Step]:
    """Five rows, of x = log10 FLOPs, entropies m (n,), of which some may be nan, and scores y.

    FLOPs to entropy: m = a0 + a x. Entropy to score: y = b0 + b m. Through entropy: a b, the growth that the two steps
    make together, with the variance a² var(b) + b² var(a). Beyond entropy: c of y = c0 + b' m + c x, growth at equal
    entropy. FLOPs to score: the growth of both ways together, over all checkpoints.

    Each line has an intercept for each family and effects of size, by REML, with Student's t on sizes - families - 1
    degrees of freedom at most. Assumes straight lines, and entropies whose error is small beside their spread.
    """
    known = np.isfinite(entropy)
    both, m, x = ladder[known], entropy[known], decades(ladder[known])
    first, second = line(both, m, x), line(both, both.y, m)
    return [
        row(ENTROPY, both, first, m, alpha, x),
        row(SCORE, both, second, both.y, alpha, m),
        row(THROUGH, both, product(first, second, m), both.y, alpha),
        row(BEYOND, both, line(both, both.y, m, x), both.y, alpha),
        row(DIRECT, ladder, line(ladder, ladder.y, decades(ladder)), ladder.y, alpha, decades(ladder)),
    ]


def decades(ladder: Ladder) -> np.ndarray:
    """log10 FLOPs."""
    return ladder.at.x / LN10


def line(ladder: Ladder, y: np.ndarray, *sides: np.ndarray) -> Line | tuple[str, str]:
    """y (n,) on `sides` (n,), of which the last is asked about; or status and reason."""
    if len(y) < FEWEST:
        return "insufficient", f"{counted(len(y), 'checkpoint')} with both sides; this needs {FEWEST}"
    columns = np.column_stack([np.ones(len(y)), ladder.contrasts(), *(side - side.mean() for side in sides)])
    df = min(degrees(ladder), len(y) - columns.shape[1])
    if df < 1:
        here = f"{counted(ladder.n_sizes, 'size')} of {counted(ladder.n_families, 'family')}"
        return "insufficient", f"{here} leave no degree of freedom"
    if constant(y) or any(constant(side) for side in sides):
        return "unidentified", "the values of one side are all equal"
    if np.linalg.matrix_rank(columns / np.linalg.norm(columns, axis=0), tol=1e-8) < columns.shape[1]:
        return "unidentified", "the sides do not vary apart"
    model = reml(columns, y[None], ladder.groups, ladder.precision)
    if model.sigma[0] <= ROUNDING * max(1.0, np.abs(y).max()):
        return "unidentified", "the line passes through every point"
    coefficients = model.beta[0]
    return Line(
        float(coefficients[-1]), float(model.covariance[0, -1, -1]), df, coefficients[:-1], columns @ coefficients
    )


def product(first: Line | tuple[str, str], second: Line | tuple[str, str], m: np.ndarray) -> Line | tuple[str, str]:
    """The product of both steps' slopes, whose errors are independent; or why there is none."""
    lack = next((step for step in (first, second) if isinstance(step, tuple)), None)
    if lack is not None:
        return lack
    variance = first.slope**2 * second.variance + second.slope**2 * first.variance
    fitted = second.fitted + second.slope * (first.fitted - m)
    return Line(first.slope * second.slope, variance, min(first.df, second.df), second.coefficients, fitted)


def row(
    step: str,
    ladder: Ladder,
    estimate: Line | tuple[str, str],
    y: np.ndarray,
    alpha: float,
    side: np.ndarray | None = None,
) -> Step:
    """The estimate with its interval, and how well its fitted values do on y (n,)."""
    from scipy.stats import t

    unit = UNITS.get(step, "score per decade of FLOPs")
    base = Step(step, len(ladder), ladder.n_sizes, ladder.n_families, unit=unit)
    if isinstance(estimate, tuple):
        return replace(base, status=estimate[0], reason=estimate[1])
    half = float(t.ppf(1 - alpha / 2, estimate.df)) * float(np.sqrt(estimate.variance))
    left = y - estimate.fitted
    return replace(
        base,
        df=estimate.df,
        slope=estimate.slope,
        low=estimate.slope - half,
        high=estimate.slope + half,
        r2=1 - float(left @ left) / float(((y - y.mean()) ** 2).sum()),
        rmse=float(np.sqrt((left**2).mean())),
        spearman=None if side is None else float(spearman(side, y)),
        method=PRODUCT if step == THROUGH else REML,
        status="ok",
    )
