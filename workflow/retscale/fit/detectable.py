"""Standard errors of scores and differences from the noise of queries and seeds, and the smallest detectable difference."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from retscale.fit.nested import Component
from retscale.fit.points import KEY
from retscale.fit.seeds import Load, Noise, Seeds

POWER = 0.8
QUERIES, BOTH = "queries", "queries and seeds"
Limit = float | pd.Series  # of all points, or of each


@dataclass(frozen=True)
class Error:
    """A standard error, its degrees of freedom (Satterthwaite's; inf from queries alone), and the noise that it `knows`."""

    se: float
    df: float
    knows: str

    def interval(self, value: float, alpha: float) -> tuple[float, float]:
        half = quantile(1 - alpha / 2, self.df) * self.se
        return value - half, value + half

    def p(self, value: float) -> float:
        """The two-sided p of no difference."""
        from scipy.stats import norm, t

        if self.se == 0:
            return float(value == 0)
        tail = t(self.df) if np.isfinite(self.df) else norm
        return float(2 * tail.sf(abs(value) / self.se))

    def detectable(self, alpha: float) -> float:
        """The difference that a two-sided test at `alpha` finds with the probability POWER."""
        return (quantile(1 - alpha / 2, self.df) + quantile(POWER, self.df)) * self.se


def quantile(p: float, df: float) -> float:
    """The quantile of Student's t, or of the normal distribution if `df` is inf."""
    from scipy.stats import norm, t

    return float(t.ppf(p, df) if np.isfinite(df) else norm.ppf(p))


def error(queries: float, parts: list[tuple[Noise, Load]], same_pretraining: bool = False) -> Error:
    """The error of a sum or difference of scores with these noises and loads; `queries` is its variance over queries.

    Scores of the `same_pretraining` share its noise, which cancels.
    """
    shares: dict[Component, float] = {}
    for noise, load in parts:
        for component, share in ((noise.training, load.training), (noise.pretraining, load.pretraining)):
            if component is not None and not (same_pretraining and component is noise.pretraining):
                shares[component] = shares.get(component, 0.0) + share
    total = queries + sum(share * component.variance for component, share in shares.items())
    uncertain = sum((share * component.mean_square) ** 2 / component.df for component, share in shares.items())
    df = total**2 / uncertain if uncertain else np.inf
    return Error(float(np.sqrt(total)), float(max(df, 1.0)), BOTH if shares else QUERIES)


def of_encoders(queries: float, encoders: list[tuple[str, str]], task: str, known: Seeds, main: str) -> Error:
    """The error of the score of one encoder (checkpoint, recipe), or of the difference of two.

    In a difference, a recipe without seeds is given the noise of the other recipe, or else of the `main` one if known.
    """
    own = [known.of(recipe, task) for _, recipe in encoders]
    others = [*own, known.of(main, task)] if len(encoders) > 1 else []
    parts = [
        (next((one for one in (noise, *others) if one.training or one.pretraining), noise), known.load(*encoder))
        for noise, encoder in zip(own, encoders, strict=True)
    ]
    return error(queries, parts, len({checkpoint for checkpoint, _ in encoders}) < len(encoders))


def knowing_seeds(
    points: pd.DataFrame, draws: pd.DataFrame, known: Seeds, alpha: float, least: Limit, most: Limit
) -> pd.DataFrame:
    """`points` with intervals over queries and seeds where the noise of seeds is known, from `least` to `most`."""
    points = points.copy()
    limits = [np.broadcast_to(limit, len(points)) for limit in (least, most)]
    for index, key, *ends in zip(points.index, points[KEY].itertuples(index=False, name=None), *limits, strict=True):
        if key in draws and knows(known, *key[1:]) == BOTH:
            off = of_encoders(float(draws[key].var(ddof=0)), [key[:2]], key[2], known, key[1])
            points.loc[index, ["low", "high"]] = np.clip(off.interval(points.at[index, "y"], alpha), *ends)
    return points


def knows(known: Seeds, recipe: str, task: str) -> str:
    """What the interval of a score is over."""
    return QUERIES if known.of(recipe, task) == Noise() else BOTH
