"""Ladders with known truth: the grid of Portes et al. 2025 (table 2) in worlds of four shapes, and small ones."""

import numpy as np

from retscale.fit.ladder import Ladder, compute

SIZES = ["125M", "350M", "760M", "1B", "3B", "7B"]
PARAMS = [0.125e9, 0.35e9, 0.76e9, 1.26e9, 2.7e9, 6.7e9]
RATIOS = [[20, 50, 100, 250, 500, 1000, 5000, 10000], [20, 50, 100, 250, 500], [20, 100, 250, 500], [20, 50, 100]]
RATIOS += [[20, 50, 100, 250, 500], [100, 285]]

NOISE = 0.004  # between checkpoints of a size
SLOPE = 0.05


def linear(n, d):
    return 0.38 + SLOPE * (np.log10(6 * n * d) - 21)


def sigmoid(n, d):
    return 0.5 / (1 + np.exp(-(1.0 + 0.9 * (np.log10(6 * n * d) - 20.5))))


def power(n, d):
    return 0.7 - 0.5 * 10 ** (-0.15 * (np.log10(6 * n * d) - 18.27))


def surface(n, d):
    return 0.58 - 0.08 * (n / 1e9) ** -0.25 - 0.05 * (d / 1e11) ** -0.25


def grid(world, rng, tau=0.0, sigma=NOISE, sizes=SIZES) -> Ladder:
    """The 27 cells, or those of some sizes, with an effect of size and noise."""
    parts = [
        (size, params, ratio, effect)
        for size, params, ratios, effect in zip(SIZES, PARAMS, RATIOS, rng.normal(0, tau, 6))
        for ratio in ratios
    ]
    labels, n, ratio, effect = map(np.array, zip(*parts))
    y = world(n, n * ratio) + effect + rng.normal(0, sigma, len(n))
    ladder = Ladder(compute(6 * n * n * ratio, n, n * ratio), y, labels, np.repeat("mpt", len(n)))
    return ladder[np.isin(labels, sizes)]


def line(y, sizes=None, decades=None) -> Ladder:
    """Checkpoints at 20 tokens per parameter, from 1e8 parameters on, over as many decades as there are gaps."""
    y = np.array(y, float)
    x = 18 + np.linspace(0, max(len(y) - 1, 0) if decades is None else decades, len(y))
    n = np.sqrt(10**x / 120)
    labels = np.array([chr(97 + i) for i in range(len(y))] if sizes is None else list(sizes), dtype=str)
    return Ladder(compute(10**x, n, 20 * n), y, labels, np.repeat("f", len(y)))
