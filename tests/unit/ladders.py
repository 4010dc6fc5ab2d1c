"""Made-up ladders for simulations: the 27 cells of 6 sizes of Portes et al. 2025, and scores of several worlds on them."""

import numpy as np

from retscale.fit.ladder import Ladder, compute

CELLS = {
    151e6: (20, 50, 100, 250, 500, 1000, 5000, 10000),
    367e6: (20, 50, 100, 200, 500),
    749e6: (20, 100, 250, 500),
    1.26e9: (20, 50, 100),
    2.46e9: (20, 50, 100, 250, 500),
    7e9: (100, 285),
}
N = np.array([n for n, levels in CELLS.items() for _ in levels])
D = np.array([n * level for n, levels in CELLS.items() for level in levels])
SIZES = np.array([size for size, levels in enumerate(CELLS.values()) for _ in levels])
X, RATIO = np.log10(6 * N * D), np.log10(D / N)
SIGMA = 0.004  # between checkpoints


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


X0 = X - X.mean()
SURFACE = 0.6 - 0.10 * (N / 1e9) ** -0.35 - 0.12 * (D / 1e11) ** -0.30
# What retrieval (y) and in-context scores (x) are made of compute alone, so that beyond it they have nothing in common.
WORLDS = {
    "linear": (0.04 * X0, 0.05 * X0, 0.0),
    "linear with size effects": (0.04 * X0, 0.05 * X0, 0.006),
    "saturating": (-0.12 * np.exp(-0.6 * X0), -0.10 * np.exp(-0.5 * X0), 0.0),
    "bent": (0.04 * X0 - 0.008 * X0**2, 0.05 * X0 + 0.008 * X0**2, 0.003),
    "surface": (SURFACE, 0.8 * SURFACE + 0.01 * X0, 0.0),
    "sigmoid in-context scores": (-0.12 * np.exp(-0.6 * X0), 0.3 * sigmoid(2 * (X0 - 0.5)), 0.0),
}


def scores(curve: np.ndarray, tau: float, replicates: int, rng: np.random.Generator) -> np.ndarray:
    """Scores (replicates, 27) around a curve (27,), with effects of size of standard deviation tau."""
    effects = tau * rng.normal(size=(replicates, SIZES.max() + 1))[:, SIZES]
    return curve + effects + SIGMA * rng.normal(size=(replicates, len(SIZES)))


def ladder(y: np.ndarray, families: np.ndarray | None = None) -> Ladder:
    """The cells with scores (27,)."""
    return Ladder(
        compute(6 * N * D, N, D), y, SIZES.astype(str), np.full(len(N), "mpt") if families is None else families
    )
