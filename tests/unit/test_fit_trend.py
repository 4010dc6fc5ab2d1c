"""Trends: honest intervals, and nothing claimed from too little."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import linregress, t
from worlds import SIZES, grid, line, linear, surface

from retscale.fit import bands, trend, variance
from retscale.fit.forms import FORMS
from retscale.fit.ladder import Compute, Ladder
from retscale.fit.slopes import slopes
from retscale.fit.solve import rank
from retscale.fit.variance import Prior

LINE, PRIOR = FORMS["log-linear"], Prior(0.008, 4)


def fit(ladder, form=LINE):
    return trend.fit(form, ladder, 0.05, PRIOR)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_the_line_is_that_of_scipy_and_few_checkpoints_have_the_prior():
    ladder = line([0.1, 0.13, 0.14, 0.2])
    row = fit(ladder).trend
    known = linregress(np.arange(4), ladder.y)
    half = t.ppf(0.975, 2) * known.stderr
    assert (row.slope, row.r2) == pytest.approx((known.slope, known.rvalue**2))
    assert (row.t_low, row.t_high) == pytest.approx((known.slope - half, known.slope + half))
    assert (row.method, row.df_within, row.df_between, row.sigma) == (trend.PRIOR, 0, 2, None)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_few_points_claim_nothing(n):
    row = fit(line([0.1, 0.2][:n])).trend
    assert (row.status, row.slope, row.low, row.n) == ("insufficient", None, None, n)
    assert str(n) in row.reason


def test_less_than_a_decade_claims_nothing():
    row = fit(line([0.1, 0.2, 0.3, 0.4], decades=0.9)).trend
    assert (row.status, row.slope) == ("insufficient", None)
    assert "decades" in row.reason


@pytest.mark.parametrize("rounding", [0, 1e-16, 1e-12])
@pytest.mark.parametrize("form", FORMS)
def test_a_constant_is_a_constant_whatever_its_rounding(form, rounding):
    ladder = grid(lambda n, d: 0.2 + 0 * n, rng(), sigma=0)
    row = fit(replace(ladder, y=ladder.y + rounding * np.arange(27)), FORMS[form]).trend
    assert (row.status, row.slope, row.low) == ("unidentified", None, None)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="finite"):
        fit(line([0.1, np.nan, 0.2]))


@pytest.mark.parametrize(
    "ladder", [line([0.1, 0.2, 0.3]), line([0.1, 0.2, 0.3, 0.4]), grid(linear, rng(), sigma=0)], ids=len
)
def test_an_exact_line_has_an_interval(ladder):
    row = fit(ladder).trend
    assert row.status == "ok" and row.method == trend.PRIOR
    assert row.high - row.low > 0.003


def test_order_units_and_seeds_do_not_matter():
    ladder = grid(linear, rng(1), tau=0.004)
    for form in FORMS.values():
        row = fit(ladder, form).trend
        other = fit(ladder[rng(2).permutation(27)], form).trend
        scaled = Compute(ladder.at.x + 7, ladder.at.n - 3, ladder.at.d + 10)
        units = fit(Ladder(scaled, ladder.y, ladder.sizes, ladder.families), form).trend
        for name in ("slope", "low", "high", "sigma", "tau", "rmse"):
            expected = getattr(row, name) and pytest.approx(getattr(row, name), rel=1e-5, abs=1e-7)
            assert getattr(other, name) == expected and getattr(units, name) == expected, (form.name, name)
        assert row == fit(ladder, form).trend  # to the last bit


def test_a_size_effect_is_found_and_widens_the_interval():
    ladder = grid(linear, rng(3))
    effect = {size: 0.03 * (-1) ** i for i, size in enumerate(SIZES)}
    without = fit(ladder).trend
    moved = fit(replace(ladder, y=ladder.y + [effect[size] for size in ladder.sizes])).trend
    assert moved.tau > 0.02 > 0.01 > without.tau
    assert moved.high - moved.low > 2 * (without.high - without.low)


@pytest.mark.parametrize(("sizes", "method"), [(2, trend.PRIOR), (3, trend.PRIOR), (4, trend.MIXED), (6, trend.MIXED)])
def test_few_sizes_have_the_prior_and_more_speak_for_themselves(sizes, method):
    row = fit(grid(linear, rng(4), sizes=SIZES[:sizes])).trend
    assert (row.method, row.df_between) == (method, sizes - 2)


def test_the_prior_is_what_few_sizes_say_of_size_effects():
    """Two sizes cannot show any, so the interval scales with the prior; six do not ask it."""
    widths = {}
    for sizes in (2, 6):
        ladder = grid(linear, rng(4), tau=0.004, sizes=SIZES[:sizes])
        ends = [trend.fit(LINE, ladder, 0.05, Prior(sd, 4)).trend for sd in (0.008, 0.016)]
        widths[sizes] = (ends[1].high - ends[1].low) / (ends[0].high - ends[0].low)
    assert widths[2] > 1.4 and widths[6] == 1


def test_the_prior_joins_the_likelihood_as_bayes_has_it():
    """With sigma 0 both are of the same family: tau² ~ (df sd² + SSB / n0) / chi²(df + df_between)."""
    known = variance.Components(0.0, 0, 0.004, 5, 1.0)
    draws = variance.distribution(known, PRIOR, np.arange(7), np.ones(7))
    order = np.argsort(draws.tau)
    share = np.cumsum(draws.mass[order])
    sample = np.sqrt((4 * 0.008**2 + 0.004) / rng().chisquare(9, 200_000))
    for quantile in (0.05, 0.5, 0.95):
        assert draws.tau[order][np.searchsorted(share, quantile)] == pytest.approx(
            np.quantile(sample, quantile), rel=0.1
        )


def test_components_are_recovered_on_average_for_any_form():
    """E[SSW] = df_within sigma² and E[SSB] = df_between (sigma² + n0 tau²), for a curve as for a line."""
    sigma, tau, world = 0.004, 0.006, rng(5)
    clean = grid(surface, rng(), sigma=0)
    for form in ("log-linear", "log-linear-ratio", "surface"):
        columns = trend.fit(FORMS[form], clean, 0.05, PRIOR).solution.jacobian
        project = np.eye(27) - columns @ np.linalg.pinv(columns)
        within, between = [], []
        for _ in range(400):
            y = world.normal(0, tau, 6)[clean.groups] + world.normal(0, sigma, 27)
            parts = variance.components(columns, project @ y, clean.groups, clean.precision)
            within.append(parts.ss_within / parts.df_within)
            between.append(parts.ss_between / parts.df_between)
        assert np.mean(within) == pytest.approx(sigma**2, rel=0.08)
        assert np.mean(between) == pytest.approx(sigma**2 + parts.n0 * tau**2, rel=0.15)


def test_a_column_that_is_the_same_in_each_size_takes_no_degree_of_freedom_within():
    of_size = np.exp(-0.25 * np.repeat([1.1, 2.3, 3.7], 5)) + 1e-17
    parts = variance.components(
        np.column_stack([np.ones(15), of_size]), rng().normal(size=15), np.repeat([0, 1, 2], 5), np.ones(15)
    )
    assert (parts.df_within, parts.df_between) == (12, 1)
    assert rank(np.column_stack([np.ones(4), np.full(4, 3.0)])) == 1


def test_the_solved_percentiles_are_those_of_a_bootstrap_that_draws_everything():
    ladder, count = grid(linear, rng(7), tau=0.006), 40_000
    row, world = fit(ladder), rng(9)
    picked = world.choice(len(row.draws.mass), count, p=row.draws.mass)
    sigma, tau = row.draws.sigma[picked], row.draws.tau[picked]
    noise = (tau[:, None] * world.normal(size=(count, 6)))[:, ladder.groups] + sigma[:, None] * world.normal(
        size=(count, 27)
    )
    at = ladder.path(np.array([ladder.at.x.max() + 1]))
    _, weights = row.curve(at)
    solved = bands.half_width(row.draws, weights, 0.05)[0]
    assert np.quantile(noise @ weights[0], [0.025, 0.975]) == pytest.approx([-solved, solved], rel=0.05)
    future = noise @ weights[0] + tau * world.normal(size=count) + sigma * world.normal(size=count)
    solved = bands.half_width(row.draws, weights, 0.05, new=True)[0]
    assert np.quantile(future, 0.975) == pytest.approx(solved, rel=0.05)


@pytest.mark.parametrize("n", [4, 27])
def test_bands_are_nested_grow_outwards_and_stay_in_range(n):
    ladder = line([0.1, 0.4, 0.7, 0.97]) if n == 4 else grid(linear, rng(4))
    at = ladder.path(np.linspace(ladder.at.x.min() - 3, ladder.at.x.max() + 3, 30))
    band = trend.bands(fit(ladder), at, 0.05, (0.0, 1.0))
    assert (band["prediction_low"] <= band["confidence_low"]).all()
    assert (band["confidence_high"] <= band["prediction_high"]).all()
    assert all(((0 <= values) & (values <= 1)).all() for values in band.values())
    width = band["confidence_high"] - band["confidence_low"]
    assert n == 4 or width[-1] > width[15]


def families(ladder, shift=0.1):
    """Every other size belongs to a second family, which scores higher."""
    second = np.isin(ladder.sizes, SIZES[1::2])
    return replace(ladder, y=ladder.y + shift * second, families=np.where(second, "second", "first"))


@pytest.mark.parametrize("form", ["log-linear", "logistic", "saturating-power", "log-linear-ratio"])
def test_each_family_has_an_intercept(form):
    plain = grid(linear if form != "saturating-power" else lambda n, d: 0.5 - 0.2 * (n * d / 1e19) ** -0.1, rng(6))
    alone, both = fit(plain, FORMS[form]), fit(families(plain), FORMS[form])
    assert both.trend.k == alone.trend.k + 1 and both.trend.families == 2
    assert both.trend.slope == pytest.approx(alone.trend.slope, abs=0.004)
    assert both.solution.parameters[-1] == pytest.approx(0.1, abs=0.006)
    at = plain.at[np.array([0, 26])]
    first, second = (both.curve(at, np.repeat(name, 2))[0] for name in ("first", "second"))
    np.testing.assert_allclose(second - first, both.solution.parameters[-1])
    share = (families(plain).families == "second").mean()
    np.testing.assert_allclose(both.curve(at)[0], (1 - share) * first + share * second)


def test_the_slope_along_each_path():
    """y = .05 log10 N + .02 log10 D: at fixed tokens per parameter C grows as N², at a fixed size as D."""
    ladder = grid(lambda n, d: 0.05 * np.log10(n) + 0.02 * np.log10(d) - 0.2, rng(8), sigma=1e-4)
    fits = [fit(ladder, form) for form in FORMS.values()]
    sampled, ratio, size = slopes(fits, 0.05)
    assert (ratio.slope, size.slope) == pytest.approx((0.035, 0.02), abs=1e-3)
    assert ratio.slope > sampled.slope > size.slope and sampled.path == "as sampled"
    assert ratio.low < ratio.slope < ratio.high
    few = slopes([fit(line([0.1, 0.2, 0.3, 0.4]), form) for form in FORMS.values()], 0.05)
    assert [row.status for row in few] == ["ok", "insufficient", "insufficient"] and "12" in few[1].reason
