"""What a form is fitted to: the compute, scores, sizes and families of some checkpoints."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

LN10 = float(np.log(10))


@dataclass(frozen=True)
class Compute:
    """Natural logarithms of FLOPs (x), parameters (n) and tokens (d), of shape (m,) each, or a mean of each."""

    x: np.ndarray
    n: np.ndarray
    d: np.ndarray

    def minus(self, centre: "Compute") -> "Compute":
        return Compute(self.x - centre.x, self.n - centre.n, self.d - centre.d)

    def __getitem__(self, rows: np.ndarray) -> "Compute":
        return Compute(self.x[rows], self.n[rows], self.d[rows])


def compute(flops: np.ndarray, n_params: np.ndarray, n_tokens: np.ndarray) -> Compute:
    """From plain numbers, all positive."""
    return Compute(*(np.log(np.asarray(values, float)) for values in (flops, n_params, n_tokens)))


@dataclass(frozen=True)
class Ladder:
    """n checkpoints: compute, scores y (n,), and the labels of their sizes and families (n,).

    A size belongs to one family. `precision` (n,): by how many times the noise of one training, as a variance, exceeds
    that of a score, which may be the mean of several; 1 if not given. Raises ValueError for values that are not finite.
    """

    at: Compute
    y: np.ndarray
    sizes: np.ndarray
    families: np.ndarray
    precision: np.ndarray = None

    def __post_init__(self):
        if self.precision is None:
            object.__setattr__(self, "precision", np.ones(len(self.y)))
        if not all(np.isfinite(values).all() for values in (self.at.x, self.at.n, self.at.d, self.y)):
            raise ValueError("a trend needs finite values")

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: np.ndarray) -> "Ladder":
        return Ladder(self.at[rows], self.y[rows], self.sizes[rows], self.families[rows], self.precision[rows])

    @property
    def decades(self) -> float:
        """Of FLOPs, from the least to the most."""
        return float(np.ptp(self.at.x)) / LN10 if len(self) else 0.0

    @property
    def groups(self) -> np.ndarray:
        """Sizes as integers from 0."""
        return np.unique(self.sizes.astype(str), return_inverse=True)[1]

    @property
    def n_sizes(self) -> int:
        return len(set(self.sizes))

    @property
    def n_families(self) -> int:
        return len(set(self.families))

    @property
    def varied(self) -> int:
        """Sizes of which two checkpoints differ in tokens per parameter, by more than rounding to batches."""
        ratio = self.at.d - self.at.n
        return sum(np.ptp(ratio[self.sizes == size]) > np.log(1.1) for size in set(self.sizes))

    @property
    def centre(self) -> Compute:
        return Compute(self.at.x.mean(), self.at.n.mean(), self.at.d.mean())

    def path(self, x: np.ndarray) -> Compute:
        """Models of ln FLOPs x (m,) at the ladder's (geometric) mean tokens per parameter."""
        half = (x - self.centre.x) / 2
        return Compute(x, self.centre.n + half, self.centre.d + half)

    def contrasts(self, families: np.ndarray | None = None) -> np.ndarray:
        """Columns (m, families - 1) that give each family an intercept, and their mean over the ladder none.

        Of the ladder's checkpoints, or of others of its `families` (m,).
        """
        names = sorted(set(self.families))[1:]
        of = self.families if families is None else families
        shares = [(self.families == name).mean() for name in names]
        columns = [(of == name) - share for name, share in zip(names, shares, strict=True)]
        return np.stack(columns, 1).astype(float) if columns else np.zeros((len(of), 0))


def ladder_of(points: pd.DataFrame) -> Ladder:
    """The rows of one recipe and task of the table `points`, in which a size belongs to one family."""
    at = compute(points["flops"], points["n_params"], points["n_tokens"])
    labels = points["size"].to_numpy(str), points["family"].to_numpy(str)
    precision = points["precision"].to_numpy(float) if "precision" in points else None
    return Ladder(at, points["y"].to_numpy(float), *labels, precision)
