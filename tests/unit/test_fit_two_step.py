"""From compute to contrastive entropy to score: known parameters are recovered, in intervals that know of sizes."""

from dataclasses import replace

import ladders
import numpy as np
import pytest
from scipy import stats
from worlds import line as single_sizes

from retscale.fit import two_step
from retscale.fit.two_step import BEYOND, DIRECT, ENTROPY, SCORE, THROUGH, steps

FALL, GAIN = -0.4, -0.1  # nats per decade, and score per nat


def world(rng, tau, direct=0.0, families=None):
    """The paper's cells with entropies, which fall by FALL a decade, and scores; tau is of the scores."""
    size_of_entropy, size_of_score = (rng.normal(0, sd, ladders.SIZES.max() + 1) for sd in (10 * tau, tau))
    entropy = 3 + FALL * ladders.X0 + size_of_entropy[ladders.SIZES] + rng.normal(0, 0.04, 27)
    noise = size_of_score[ladders.SIZES] + rng.normal(0, ladders.SIGMA, 27)
    return ladders.ladder(0.7 + GAIN * entropy + direct * ladders.X0 + noise, families), entropy


def by_step(ladder, entropy, alpha=0.05):
    return {row.step: row for row in steps(ladder, entropy, alpha)}


@pytest.mark.parametrize("tau", [0.0, 0.006])
def test_known_parameters_are_recovered(tau):
    rng, hits, values = np.random.default_rng(1), [], []
    truth = {ENTROPY: FALL, SCORE: GAIN, THROUGH: FALL * GAIN, BEYOND: 0.0, DIRECT: FALL * GAIN}
    for _ in range(100):
        rows = by_step(*world(rng, tau))
        hits.append([rows[name].low <= value <= rows[name].high for name, value in truth.items()])
        values.append([rows[name].slope for name in truth])
    assert (np.mean(hits, axis=0) >= 0.92).all()
    error = np.std(values, axis=0) / 10
    assert (np.abs(np.mean(values, axis=0) - list(truth.values())) < 3.5 * error).all()


def test_growth_that_does_not_show_in_entropy_is_beyond_it():
    rng = np.random.default_rng(2)
    rows = [by_step(*world(rng, 0.003, direct=0.03)) for _ in range(20)]
    assert np.mean([row[BEYOND].low > 0 for row in rows]) >= 0.7
    assert np.mean([row[DIRECT].slope for row in rows]) == pytest.approx(FALL * GAIN + 0.03, abs=0.004)


def test_without_effects_of_size_a_step_is_least_squares():
    rng = np.random.default_rng(3)
    ladder = single_sizes(np.zeros(9), decades=4)
    entropy = 3 - 0.4 * np.arange(9) + rng.normal(0, 0.1, 9)
    ladder = replace(ladder, y=0.5 - 0.1 * entropy + rng.normal(0, 0.01, 9))
    rows = by_step(ladder, entropy)
    ordinary = stats.linregress(entropy, ladder.y)
    half = stats.t.ppf(0.975, 7) * ordinary.stderr
    assert rows[SCORE].slope == pytest.approx(ordinary.slope)
    assert (rows[SCORE].low, rows[SCORE].high) == pytest.approx((ordinary.slope - half, ordinary.slope + half))
    assert rows[SCORE].r2 == pytest.approx(ordinary.rvalue**2)
    first = stats.linregress(np.log10(np.exp(ladder.at.x)), entropy)
    assert rows[THROUGH].slope == pytest.approx(first.slope * ordinary.slope)
    spread = np.sqrt((first.slope * ordinary.stderr) ** 2 + (ordinary.slope * first.stderr) ** 2)
    assert rows[THROUGH].high - rows[THROUGH].slope == pytest.approx(stats.t.ppf(0.975, 7) * spread)
    both = ordinary.intercept + ordinary.slope * (first.intercept + first.slope * ladder.at.x / np.log(10))
    assert rows[THROUGH].rmse == pytest.approx(np.sqrt(np.mean((ladder.y - both) ** 2)))


def test_families_have_levels_of_their_own():
    rng = np.random.default_rng(4)
    families = np.where(ladders.SIZES % 2, "a", "b")
    ladder, entropy = world(rng, 0.002, families=families)
    apart = replace(ladder, y=ladder.y + 0.2 * (families == "a"))
    for step in (SCORE, DIRECT, BEYOND):
        assert by_step(apart, entropy)[step].slope == pytest.approx(by_step(ladder, entropy)[step].slope)


def test_what_is_not_known_has_a_reason():
    rng = np.random.default_rng(5)
    ladder, entropy = world(rng, 0.003)
    rows = by_step(ladder, np.full(27, np.nan))  # published scores
    assert {rows[step].status for step in (ENTROPY, SCORE, THROUGH, BEYOND)} == {"insufficient"}
    assert rows[THROUGH].reason == "0 checkpoints with both sides; this needs 4" and rows[DIRECT].status == "ok"
    assert by_step(ladder, np.where(np.arange(27) < 20, entropy, np.nan))[SCORE].n == 20
    one = ladders.SIZES == 0
    assert by_step(ladder[one], entropy[one])[SCORE].reason == "1 size of 1 family leave no degree of freedom"
    assert by_step(ladder, np.full(27, 2.0) + 1e-16)[ENTROPY].status == "unidentified"
    exact = by_step(replace(ladder, y=0.7 - 0.1 * entropy), entropy)
    assert exact[SCORE].reason == exact[THROUGH].reason == "the line passes through every point"
    assert exact[ENTROPY].status == "ok"


def test_four_checkpoints_leave_one_degree_beyond_entropy():
    ladder = single_sizes([0.1, 0.2, 0.25, 0.37])
    rows = by_step(ladder, np.array([3, 2.5, 2.4, 1.7]))
    assert (rows[SCORE].df, rows[BEYOND].df) == (2, 1)
    assert two_step.FEWEST == 4 and by_step(ladder[:3], np.array([3, 2.5, 2.4]))[SCORE].status == "insufficient"
