"""In-context and retrieval scores beyond compute: the test's size where they have nothing in common, and its power."""

import ladders
import numpy as np
import pytest
from scipy import stats

from retscale.fit.correlate import pearson
from retscale.fit.partial import FEWEST_DF, beyond_compute, control

GIVEN = control(np.log(ladders.N), np.log(ladders.D), ladders.SIZES)
COMPUTE = np.linalg.qr(np.column_stack([np.ones(27), ladders.X0]))[0]


def rejected(x, y, df):
    r = pearson(x, y)
    return (2 * stats.t.sf(np.abs(r) * np.sqrt(df / (1 - r**2)), df) < 0.05).mean()


def rates(name, replicates, seed=1):
    """How often the raw coefficient, that given FLOPs alone, and that given sizes and tokens are significant."""
    rng = np.random.default_rng(seed)
    y, x, tau = ladders.WORLDS[name]
    y, x = (ladders.scores(curve, tau, replicates, rng) for curve in (y, x))
    lines = [values - values @ COMPUTE @ COMPUTE.T for values in (x, y)]
    controlled = [GIVEN.residuals(values) for values in (x, y)]
    return rejected(x, y, 25), rejected(*lines, 24), rejected(*controlled, GIVEN.df)


@pytest.mark.parametrize("name", ladders.WORLDS)
def test_the_control_keeps_its_size_where_others_fail(name):
    raw, line, controlled = rates(name, 2000)
    assert controlled <= 0.09 and raw > 0.9
    # A line over compute is enough only where there is nothing but lines.
    assert line > 0.15 or name == "linear"


@pytest.mark.long
@pytest.mark.parametrize("name", ladders.WORLDS)
def test_the_control_keeps_its_size_over_many_studies(name):
    assert rates(name, 100_000)[2] <= 0.07


def test_what_goes_together_beyond_compute_is_found():
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(2, 500, 27))
    for r, power in ((0.5, 0.4), (0.8, 0.9)):
        x, y = 0.05 * ladders.X0 + 0.004 * (r * a + np.sqrt(1 - r**2) * b), 0.04 * ladders.X0 + 0.004 * a
        assert rejected(GIVEN.residuals(x), GIVEN.residuals(y), GIVEN.df) >= power


def test_the_coefficient_is_that_of_regressions():
    rng = np.random.default_rng(3)
    x, y = 0.05 * ladders.X0 + rng.normal(0, 0.01, 27), 0.04 * ladders.X0 + rng.normal(0, 0.01, 27)
    n, d = np.log(ladders.N), np.log(ladders.D)
    n, d = n - n.mean(), d - d.mean()
    columns = np.column_stack([np.eye(6)[ladders.SIZES], d, d**2, d**3, d**4, n * d, n * d**2])
    left = [values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0] for values in (x, y)]
    row = beyond_compute(x, y, GIVEN, ladders.SIZES, 0.05, 2000, rng)
    assert GIVEN.df == row.df == 27 - 12 - 1
    assert row.value == pytest.approx(np.corrcoef(*left)[0, 1], rel=1e-6)
    # Student's t of y's regression on x and the control.
    whole = np.column_stack([columns, x])
    beta, squares = np.linalg.lstsq(whole, y, rcond=None)[:2]
    error = np.sqrt(squares[0] / 14 * np.linalg.inv(whole.T @ whole)[-1, -1])
    assert row.p == pytest.approx(2 * stats.t.sf(abs(beta[-1] / error), 14), rel=1e-4)
    assert row.low < row.value < row.high


def test_permuted_residuals_keep_their_size_too():
    rng = np.random.default_rng(6)
    y, x = (ladders.scores(curve, 0.003, 300, rng) for curve in ladders.WORLDS["bent"][:2])
    rows = [beyond_compute(*pair, GIVEN, ladders.SIZES, 0.05, 200, rng) for pair in zip(x, y, strict=True)]
    assert 0.02 <= np.mean([row.p_permutation <= 0.05 for row in rows]) <= 0.09


def test_few_degrees_of_freedom_say_nothing():
    rows = np.arange(18)
    given = control(np.log(ladders.N)[rows], np.log(ladders.D)[rows], ladders.SIZES[rows])
    row = beyond_compute(
        *np.random.default_rng(4).normal(size=(2, 18)), given, ladders.SIZES[rows], 0.05, 99, np.random.default_rng(0)
    )
    assert given.df < FEWEST_DF and (row.status, row.value, row.p) == ("insufficient", None, None)
    assert control(np.empty(0), np.empty(0), np.empty(0, int)).df < 0


@pytest.mark.parametrize("side", [np.full(27, 0.4), 0.4 + 1e-16 * np.arange(27), 0.3 + 0.01 * ladders.SIZES])
def test_what_the_control_explains_whole_is_unidentified(side):
    rng = np.random.default_rng(5)
    row = beyond_compute(side, rng.normal(size=27), GIVEN, ladders.SIZES, 0.05, 99, rng)
    assert (row.status, row.low) == ("unidentified", None)
    same = rng.normal(size=27)
    assert beyond_compute(same, 2 * same, GIVEN, ladders.SIZES, 0.05, 99, rng).status == "unidentified"
