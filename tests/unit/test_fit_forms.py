"""Forms of fit: each is fitted to where it came from, and one more goes from the fit to the words of the report."""

import html
import re
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from test_collect_synthetic import collected
from test_report import drawn, page
from worlds import grid, line, linear

from retscale.collect.means import MEAN
from retscale.common.tables import read_table
from retscale.fit import trend
from retscale.fit.forms import FORMS
from retscale.fit.forms.form import Linear, decades
from retscale.fit.forms.power import Power
from retscale.fit.ladder import LN10
from retscale.fit.solve import solve
from retscale.fit.summary import FitSummary
from retscale.fit.variance import Prior

pytestmark = pytest.mark.usefixtures("svg_only")

PRIOR = Prior(0.008, 4)
TRUTH = {
    "constant": [0.3],
    "log-linear": [0.4, 0.05],
    "logistic": [-0.7, 0.12],
    "power": [0.6, 0.04],
    "saturating-power": [0.62, 0.2, 0.15],
    "saturating-logistic": [0.55, 0.8, 0.4],
    "log-linear-ratio": [0.4, 0.05, -0.02],
    "surface": [0.62, 0.09, 0.07, 0.3, 0.2],
    "quadratic": [0.4, 0.05, -0.004],
}


def along(form: str, noise: float = 0.0):
    """The 27 cells of the paper's grid, on a curve of the form."""
    ladder = grid(linear, np.random.default_rng(0), sigma=0)
    y = FORMS[form].predict(np.array(TRUTH[form]), ladder.at.minus(ladder.centre))
    return replace(ladder, y=y + np.random.default_rng(1).normal(0, noise, 27))


def test_the_forms_that_are_listed_are_tested():
    assert TRUTH.keys() == FORMS.keys() and next(iter(FORMS)) == "log-linear"


@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_found_again_on_its_own_curve(form):
    solution = solve(FORMS[form], along(form))
    assert solution.status == "ok", solution.reason
    np.testing.assert_allclose(solution.parameters, TRUTH[form], rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_the_jacobian_is_that_of_finite_differences(form):
    ladder, parameters, step = along(form), np.array(TRUTH[form]), 1e-6
    at = ladder.at.minus(ladder.centre)
    for index, column in enumerate(FORMS[form].jacobian(parameters, at).T):
        change = step * (np.arange(len(parameters)) == index)
        ends = (FORMS[form].predict(parameters + side * change, at) for side in (1, -1))
        np.testing.assert_allclose(column, (next(ends) - next(ends)) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("form", [form for form in FORMS if form != "constant"])
def test_weights_say_how_a_curve_moves_with_each_score(form):
    """Against refits: what a hundred-thousandth more at one checkpoint adds to the curve and to its growth."""
    ladder, step = along(form), 1e-5
    fitted = trend.fit(FORMS[form], ladder, 0.05, PRIOR)
    at = ladder.path(np.linspace(ladder.at.x.min(), ladder.at.x.max(), 4))
    curve, weights = fitted.curve(at)
    assert fitted.trend.slope == pytest.approx((curve[-1] - curve[0]) / ladder.decades)
    for i in (0, 13, 26):
        more = trend.fit(FORMS[form], replace(ladder, y=ladder.y + step * (np.arange(27) == i)), 0.05, PRIOR)
        np.testing.assert_allclose((more.curve(at)[0] - curve) / step, weights[:, i], atol=2e-3)


def test_curvature_of_the_form_is_no_noise():
    fitted = trend.fit(FORMS["saturating-power"], along("saturating-power"), 0.05, PRIOR).trend
    assert fitted.r2 == pytest.approx(1) and max(fitted.sigma, fitted.tau, fitted.rmse) < 1e-6


@pytest.mark.parametrize(("form", "without"), [("saturating-power", "power"), ("saturating-logistic", "logistic")])
def test_a_ceiling_that_is_not_there_hits_the_bound(form, without):
    """Held there, the form is the one without a ceiling."""
    ladder = along(without)
    fitted, plain = (trend.fit(FORMS[name], ladder, 0.05, PRIOR).trend for name in (form, without))
    assert (fitted.status, fitted.reason) == ("bound_hit", "at a bound: ceiling")
    assert (fitted.df_within, fitted.df_between) == (plain.df_within, plain.df_between)
    assert fitted.slope == pytest.approx(plain.slope, rel=1e-3)


@pytest.mark.parametrize("extreme", [0.0, 1.0])
@pytest.mark.parametrize("form", FORMS)
def test_scores_of_0_and_1_are_fitted(form, extreme):
    ladder = grid(linear, np.random.default_rng(3))
    y = np.where(
        ladder.at.x < np.median(ladder.at.x) if extreme == 0 else ladder.at.x > np.median(ladder.at.x),
        extreme,
        ladder.y,
    )
    fitted = trend.fit(FORMS[form], replace(ladder, y=y), 0.05, PRIOR)
    assert fitted.trend.status in ("ok", "bound_hit") and np.isfinite(fitted.parameters).all()


@pytest.mark.parametrize(
    ("n", "forms"),
    [
        (3, ["log-linear"]),
        (4, ["log-linear"]),
        (5, ["log-linear", "constant", "logistic", "power"]),
        (8, list(FORMS)[:6]),
    ],
)
def test_forms_ask_for_checkpoints(n, forms):
    ladder = line(np.linspace(0.1, 0.4, n) + np.random.default_rng(4).normal(0, 0.01, n))
    fits = {name: trend.fit(form, ladder, 0.05, PRIOR).trend for name, form in FORMS.items()}
    fitted = [name for name, row in fits.items() if row.status != "insufficient"]
    assert fitted == [name for name in FORMS if name in [*forms, *(["quadratic"] if n == 8 else [])]]
    assert all(row.reason for name, row in fits.items() if name not in fitted)


def test_forms_ask_for_sizes_and_durations():
    ladder = grid(linear, np.random.default_rng(5))
    three = trend.fit(FORMS["surface"], ladder[np.isin(ladder.sizes, ["125M", "350M", "3B"])], 0.05, PRIOR).trend
    assert three.status == "insufficient" and "3" in three.reason and "sizes" in three.reason
    fixed = line(np.linspace(0.1, 0.4, 12), sizes="aabbccddeeff")
    assert "vary in 0 sizes" in trend.fit(FORMS["log-linear-ratio"], fixed, 0.05, PRIOR).trend.reason


def test_parameters_that_the_data_do_not_tell_apart_are_unidentified():
    class Twice(Linear):
        name, parameters = "twice", {"a": "", "b": ""}

        def columns(self, at):
            return np.column_stack([decades(at), 2 * decades(at)])

    fitted = trend.fit(Twice(), grid(linear, np.random.default_rng(6)), 0.05, PRIOR).trend
    assert (fitted.status, fitted.slope) == ("unidentified", None)


def test_a_search_that_does_not_end_is_not_converged():
    solution = solve(FORMS["surface"], along("surface", noise=0.01), max_nfev=1)
    assert solution.status == "not_converged" and "1 steps" in solution.reason


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return collected(tmp_path_factory.mktemp("study"), queries=20)


def words(inputs: dict, out) -> str:
    """Captions, alternative texts and the report."""
    captions = [path.with_suffix(suffix).read_text() for path in inputs["figures"] for suffix in (".md", ".txt")]
    return html.unescape(" ".join([*captions, re.sub("<[^>]*>", " ", page(inputs, out))]))


@pytest.fixture
def power_first():
    """The forms in another order, and afterwards in their own."""
    with mock.patch.dict(FORMS, {"power": FORMS["power"]} | dict(FORMS), clear=True):
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("power_first")
def test_the_first_form_goes_from_the_fit_to_the_words_of_the_report(source, tmp_path):
    inputs = drawn(tmp_path, source)
    assert FitSummary.read(inputs["fit"]).form == "power"
    mean = f"recipe == 'paper' and task == '{MEAN}' and schedule == 'finished' and form == 'power'"
    estimate = read_table(inputs["fit"], "fits").query(mean).iloc[0]
    parameters = read_table(inputs["fit"], "parameters").query(mean).set_index("parameter")
    assert dict(parameters["unit"]) == Power.parameters
    curve = read_table(inputs["fit"], "predictions").query(mean)
    gap, exponent = parameters["value"]
    expected = 1 - gap * np.exp(-exponent * (np.log(curve["flops"]) - LN10 * estimate["centre"]))
    np.testing.assert_allclose(curve["y"], expected, rtol=1e-12)
    text = words(inputs, tmp_path / "page")
    growth = f"{estimate.slope:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
    factor = f"{10**-exponent:.3f}"
    assert f"Power trend over 12 checkpoints of 4 sizes: 1 − nDCG@10 is multiplied by {factor} in each decade" in text
    assert f"a mean gain of {growth} per decade" in text
    assert text.count(growth) > 2  # the table of trends as well
    assert Power.method in text
    assert "log-linear trend over" not in text.lower() and "ordinary least squares" not in text.lower()
