"""How often the rules of claims would be right and wrong: the same estimators on simulated studies of this shape.

Each replicate draws scores around a curve of which the claim is true, or false, with this study's noise between
checkpoints and between sizes, and applies the rule as the table of claims does.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from retscale.fit import isoflop, rules
from retscale.fit.bands import half_width
from retscale.fit.correlate import INTERVAL_SIZES, pearson, size_bootstrap
from retscale.fit.forms import FORMS
from retscale.fit.ladder import LN10, Ladder
from retscale.fit.partial import FEWEST_DF, beyond_compute, control
from retscale.fit.reml import reml
from retscale.fit.slopes import RATIO, SAMPLED, SIZE
from retscale.fit.trend import DECADES, missing
from retscale.fit.variance import Prior, components, distribution

RESAMPLES = 500
SIGMA, TAU = 0.004, 0.006  # where a study cannot tell its own: of the ladders of published encoders
GROWS = 0.03  # growth in a decade where a claim of growth is true; 0 where it is false
CHANGE = 0.02  # mean difference over backbones where one is simulated
UNEQUAL = 0.02  # score per decade of tokens per parameter where equal compute is false
PATHS = {
    "log-linear": {SAMPLED: {"slope": 1}},
    "log-linear-ratio": {RATIO: {"slope": 1}, SIZE: {"slope": 1, "delta": 1}},
}
CORRELATED, PARTIAL = 0.9, 0.8  # correlations where those claims are true; STRONG and 0 where they are false


@dataclass(frozen=True)
class Rates:
    """Shares of replicates with a verdict, in worlds where the claim is true and where it is false."""

    supported_if_true: float | None = None
    supported_if_false: float | None = None
    refuted_if_true: float | None = None
    refuted_if_false: float | None = None
    worlds: str = ""


def rates(true: list[str], false: list[str], worlds: str) -> Rates:
    def share(verdicts: list[str], verdict: str) -> float:
        return verdicts.count(verdict) / len(verdicts)

    shares = (share(world, verdict) for verdict in (rules.SUPPORTED, rules.REFUTED) for world in (true, false))
    return Rates(*shares, worlds)


@dataclass(frozen=True)
class Noise:
    """Standard deviations between checkpoints of a size and between sizes, and in how many studies they are drawn."""

    sigma: float = SIGMA
    tau: float = TAU
    studies: int = 100

    def draw(self, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(studies, n)"""
        effects = rng.normal(size=(self.studies, groups.max() + 1))[:, groups]
        return self.tau * effects + self.sigma * rng.normal(size=(self.studies, len(groups)))

    def words(self) -> str:
        return f"noise {self.sigma:.4f} between checkpoints and {self.tau:.4f} between sizes"


def decades(ladder: Ladder) -> np.ndarray:
    """log10 FLOPs from their mean."""
    return (ladder.at.x - ladder.centre.x) / LN10


def growth_rates(
    ladder: Ladder, noise: Noise, prior: Prior, alpha: float, rng: np.random.Generator
) -> dict[str, Rates]:
    """Of growth along each path of `slopes`.

    Its forms are linear, so growth shifts an estimate and leaves its interval's width: both worlds share their noise.
    """
    drawn, single = noise.draw(ladder.groups, rng), np.ones(len(ladder))  # one training of each checkpoint
    words = f"true: growth of {GROWS:g} a decade of FLOPs; false: none; {noise.words()}"
    table = {}
    for name, paths in PATHS.items():
        form = FORMS[name]
        if missing(form, ladder, DECADES):
            table |= dict.fromkeys(paths, rates([rules.OPEN], [rules.OPEN], words))
            continue
        at = ladder.at.minus(ladder.centre)
        columns = np.column_stack([form.jacobian(np.zeros(len(form.parameters)), at), ladder.contrasts()])
        inverse = np.linalg.pinv(columns)
        factors = [[path.get(parameter, 0) for parameter in form.parameters] for path in paths.values()]
        weights = np.array(factors, float) @ inverse[: len(form.parameters)]
        halves = []
        for y in drawn:
            variance = components(columns, y - columns @ (inverse @ y), ladder.groups, single)
            halves.append(half_width(distribution(variance, prior, ladder.groups, single), weights, alpha))
        for path, estimates, half in zip(paths, (drawn @ weights.T).T, np.array(halves).T, strict=True):
            worlds = [
                [
                    rules.growth(low, high)
                    for low, high in zip(shift + estimates - half, shift + estimates + half, strict=True)
                ]
                for shift in (GROWS, 0.0)
            ]
            table[path] = rates(*worlds, words)
    return table


def most_rates(single: Rates, tasks: int) -> Rates:
    """Of growth on more than half of independent tasks, from the rates of one."""
    from scipy.stats import binom

    shares = (single.supported_if_true, single.supported_if_false, single.refuted_if_true, single.refuted_if_false)
    more = (float(binom.sf(tasks // 2, tasks, share)) for share in shares)
    return Rates(*more, f"{single.worlds}; {tasks} independent tasks")


def equal_rates(ladder: Ladder, noise: Noise, alpha: float, rng: np.random.Generator) -> Rates:
    """Of equal compute."""
    if isoflop.lacks(ladder):
        return Rates()
    design, df = isoflop.columns(ladder), isoflop.degrees(ladder)
    verdicts = []
    for delta in (0.0, UNEQUAL):
        curve = 0.3 + GROWS * design[:, -3] + delta * design[:, -1]
        fitted = reml(design, curve + noise.draw(ladder.groups, rng), ladder.groups)
        last = np.eye(design.shape[1])[-1]
        ends = [end for level in (alpha, 2 * alpha) for end in isoflop.interval(fitted, last, df, level)[1:]]
        verdicts.append(list(isoflop.judge(*ends)))
    words = f"true: no effect of tokens per parameter; false: {UNEQUAL:g} a decade of them; {noise.words()}"
    return rates(*verdicts, words)


def icl_rates(ladder: Ladder, noise: Noise, alpha: float, rng: np.random.Generator) -> dict[str, Rates]:
    """Of a strong correlation, and of one beyond compute, between in-context and retrieval scores."""
    given, groups = control(ladder.at.n, ladder.at.d, ladder.groups), ladder.groups
    raw, beyond = {}, {}
    for r in (CORRELATED, rules.STRONG):
        a, b = noise.draw(groups, rng), noise.draw(groups, rng)
        x = r * a + np.sqrt(1 - r * r) * b
        raw[r] = [rules.OPEN]
        if ladder.n_sizes >= INTERVAL_SIZES:
            resamples = [size_bootstrap(pearson, [u, v], groups, RESAMPLES, rng) for u, v in zip(x, a, strict=True)]
            ends = [np.quantile(values, [alpha / 2, 1 - alpha / 2]) for values in resamples]
            raw[r] = [rules.correlation(low, high) for low, high in ends]
    for r in (PARTIAL, 0.0):
        a, b = (replace(noise, tau=0.0).draw(groups, rng) for _ in range(2))
        x = GROWS * decades(ladder) + r * a + np.sqrt(1 - r * r) * b
        y = GROWS * decades(ladder) + a
        beyond[r] = [rules.OPEN]
        if given.df < FEWEST_DF:
            continue
        correlations = [beyond_compute(u, v, given, groups, alpha, 1, rng) for u, v in zip(x, y, strict=True)]
        beyond[r] = [rules.partial(row.low, row.high) for row in correlations]
    words = f"true: a correlation of {CORRELATED:g}; false: of {rules.STRONG:g}; {noise.words()}"
    more = f"both sides grow with FLOPs; beyond that true: a correlation of {PARTIAL:g}; false: none"
    return {
        "icl-retrieval": rates(raw[CORRELATED], raw[rules.STRONG], words),
        "icl-beyond-compute": rates(beyond[PARTIAL], beyond[0.0], more),
    }


def size_rates(
    judge: Callable[[np.ndarray], list[str]],
    curve: np.ndarray,
    noise: Noise,
    groups: np.ndarray,
    rng: np.random.Generator,
) -> Rates:
    """Of growth with parameters, which `curve` (n,) counts in decades; `judge` gives the verdicts on scores (r, n)."""
    true, false = (judge(world * curve + noise.draw(groups, rng)) for world in (GROWS, 0.0))
    return rates(true, false, f"true: growth of {GROWS:g} a decade of parameters; false: none; {noise.words()}")
