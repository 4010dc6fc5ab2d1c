"""How often rules about means over backbones are right and wrong, against their distributions and a direct simulation."""

from dataclasses import replace

import ladders
import numpy as np
import pytest
from scipy import integrate, stats

from retscale.fit import rules
from retscale.fit.analysis import Analysis
from retscale.fit.backbones import ENOUGH, GAIN, NOT_LESS, SAME, SPREAD, Rule, rates_of
from retscale.fit.claims import simulated_in_domain
from retscale.fit.config import Spec
from retscale.fit.efficiency import HALF, fewer_rates, growth, plane
from retscale.fit.error_rates import Rates
from retscale.fit.forms import FORMS
from retscale.fit.trend import fit
from retscale.fit.variance import Prior

SPEC = Spec(bootstrap=10_000)  # shares are then known to .005
SPEC_FEW = Spec(bootstrap=1000)
NEAR = pytest.approx
N = [3, 6, 12]


def simulated(rule: Rule, n: int, own: float, seed: int = 0) -> Rates:
    return rates_of(rule, n, own, SPEC, np.random.default_rng(seed))


@pytest.mark.parametrize("n", N)
@pytest.mark.parametrize(("rule", "threshold"), [(GAIN, 0.0), (NOT_LESS, -rules.MARGIN)])
def test_rates_of_a_threshold_are_those_of_noncentral_t(rule, threshold, n):
    own = 0.012
    rates, spread = simulated(rule, n, own), own if n >= ENOUGH else SPREAD
    critical = stats.t.ppf(0.975, n - 1)
    expected = [
        end
        for mean in (rule.true, rule.false)
        for shift in [(mean - threshold) * np.sqrt(n) / spread]
        for end in (stats.nct.sf(critical, n - 1, shift), stats.nct.sf(critical, n - 1, -shift))
    ]
    seen = rates.supported_if_true, rates.refuted_if_true, rates.supported_if_false, rates.refuted_if_false
    assert seen == NEAR(expected, abs=0.02)
    assert rates.worlds.startswith("true: ") and rates.worlds.endswith("assumed") == (n < ENOUGH)


def both_sided(mean: float, n: int, spread: float) -> tuple[float, float]:
    """Supported and not supported, integrated over the standard deviation of n normal values."""
    of_spread = stats.chi(n - 1, scale=spread / np.sqrt(n - 1))
    at = np.linspace(*of_spread.ppf([1e-9, 1 - 1e-9]), 400)
    narrow, wide = (stats.t.ppf(level, n - 1) * at / np.sqrt(n) for level in (0.95, 0.975))
    normal, margin = stats.norm(mean, spread / np.sqrt(n)), rules.MARGIN
    inside = np.maximum(normal.cdf(margin - narrow) - normal.cdf(narrow - margin), 0)
    outside = normal.sf(margin + wide) + normal.cdf(-margin - wide)
    return tuple(integrate.simpson(np.array([inside, outside]) * of_spread.pdf(at), x=at))


@pytest.mark.parametrize("n", N)
def test_rates_of_two_one_sided_tests_are_those_of_their_integral(n):
    rates, spread = simulated(SAME, n, 0.012), 0.012 if n >= ENOUGH else SPREAD
    seen = (rates.supported_if_true, rates.refuted_if_true), (rates.supported_if_false, rates.refuted_if_false)
    assert seen[0] == NEAR(both_sided(SAME.true, n, spread), abs=0.02)
    assert seen[1] == NEAR(both_sided(SAME.false, n, spread), abs=0.02)


@pytest.mark.parametrize("rule", [GAIN, NOT_LESS, SAME])
def test_more_backbones_and_less_noise_make_a_rule_right_more_often(rule):
    by_n = [simulated(rule, n, 0.02, n).supported_if_true for n in (5, 10, 15, 20)]
    by_noise = [simulated(rule, 8, own).supported_if_true for own in (0.03, 0.02, 0.014, 0.01)]
    assert (np.diff(by_n) > 0.02).all() and (np.diff(by_noise) > 0.02).all(), (by_n, by_noise)


def test_rates_are_of_the_studys_own_noise_where_it_says_enough():
    few = simulated(GAIN, ENOUGH - 1, 0.5)
    assert few == simulated(GAIN, ENOUGH - 1, 0.001) and few != simulated(GAIN, ENOUGH - 1, 0.5, seed=1)
    assert f"noise {SPREAD:.4f} between 4 backbones, assumed" in few.worlds
    assert "noise 0.0300 between 5 backbones" in simulated(GAIN, ENOUGH, 0.03).worlds
    assert simulated(GAIN, 9, 0.0).worlds.endswith("assumed")  # all values are equal


def test_fewer_queries_are_seen_as_often_as_by_the_table_itself():
    """Against the trends of one drawn ladder at a time, with the noise that the ladder was estimated to have."""
    rng = np.random.default_rng(0)
    effects = 0.15 * rng.normal(size=ladders.SIZES.max() + 1)[ladders.SIZES]
    start = ladders.ladder(4 - 0.2 * np.log10(ladders.N) + effects + 0.1 * rng.normal(size=len(ladders.N)))
    own, seen = plane(start), {}
    for world in (HALF, 0.0):
        curve = 4 + world * np.log10(ladders.N)
        verdicts = []
        for _ in range(80):
            drawn = own.tau * rng.normal(size=ladders.SIZES.max() + 1)[ladders.SIZES]
            row = growth(replace(start, y=curve + drawn + own.sigma * rng.normal(size=len(start))), 0.05)[0]
            verdicts.append(rules.fewer(row["low"], row["high"]))
        seen[world] = verdicts.count(rules.SUPPORTED) / 80
    rates = fewer_rates(start, Spec(bootstrap=4000), np.random.default_rng(1))
    assert 0.2 < seen[HALF] < 0.95 and rates.supported_if_true == NEAR(seen[HALF], abs=0.12)
    assert rates.supported_if_false == NEAR(seen[0.0], abs=0.04)
    assert rates.worlds.endswith(
        f"{own.sigma[0]:.4f} between checkpoints and {own.tau[0]:.4f} between sizes, in decades of queries"
    )
    quiet = fewer_rates(
        replace(start, y=-0.2 * np.log10(ladders.N) + 0.01 * rng.normal(size=len(start))), SPEC_FEW, rng
    )
    assert quiet.supported_if_true > rates.supported_if_true and quiet.refuted_if_true == 0
    assert fewer_rates(replace(start, y=np.zeros(len(start))), SPEC_FEW, rng) == Rates()


def test_growth_with_tokens_in_domain_has_the_noise_of_its_own_ladder():
    """Growth along all FLOPs would be seen twice as often in the noise of `loud`: .44 against .20."""

    def at(sigma: float) -> Rates:
        drawn = sigma * np.random.default_rng(6).normal(size=len(ladders.N))
        ladder = ladders.ladder(0.3 + 0.03 * ladders.X0 + drawn)
        trend = [fit(FORMS["log-linear"], ladder, 0.05, Prior(0.012, 4))]
        return simulated_in_domain(Analysis({}, True, ladder, np.array([]), trend, {}, [], [], (0, 1)), SPEC_FEW)

    quiet, loud = at(0.002), at(0.04)
    assert quiet.supported_if_true > 0.9 and quiet.refuted_if_false > 0.9 and loud.supported_if_true < 0.35
    assert quiet.worlds.startswith("true: growth of 0.03 a decade of FLOPs; false: none; noise 0.00")
    assert simulated_in_domain(None, SPEC_FEW) == Rates()
