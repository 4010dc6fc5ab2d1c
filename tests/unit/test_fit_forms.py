"""Forms of fit: one more takes one class, and goes from the fit to the words of the report."""

import html
import re

import numpy as np
import pytest
from scipy.optimize import least_squares
from test_collect_synthetic import collected
from test_report import drawn, page

from retscale.collect.means import MEAN
from retscale.common.tables import read_table
from retscale.fit import trend
from retscale.fit.forms import FORMS, Form
from retscale.fit.forms.log_linear import LogLinear
from retscale.fit.summary import FitSummary

pytestmark = pytest.mark.usefixtures("svg_only")

KEY = ["recipe", "schedule", "task"]


class Power(Form):
    """y = 1 - gap C^-exponent, which is linear neither in its parameters nor in log C."""

    name = "power"
    method = "least squares of the distance from 1"
    parameters = {"gap": "1 − score at the mean of log10 FLOPs", "exponent": "of FLOPs"}

    def estimate(self, x, y):
        return least_squares(lambda p: self.predict(p, x) - y, [1 - y.mean(), 0.1], xtol=1e-14, ftol=1e-14).x

    def predict(self, parameters, x):
        gap, exponent = parameters
        return 1 - gap * 10 ** (-exponent * x)

    def gradient(self, parameters, x):
        gap, exponent = parameters
        power = 10 ** (-exponent * x)
        return np.column_stack([-power, gap * np.log(10) * x * power])

    def sentence(self, metric, growth, parameters):
        return f"1 − {metric} falls with the power {parameters['exponent']:.3f} of FLOPs, a gain of {growth} a decade"


class PlainLine(LogLinear):
    """The line without its closed forms."""

    weights, growth = Form.weights, Form.growth


def ladder(n: int = 12, sizes: int = 4):
    x = np.linspace(10, 13, n)
    return x, [str(i * sizes // n) for i in range(n)]


def scores(x: np.ndarray, noise: float) -> np.ndarray:
    return 0.1 + 0.08 * (x - 10) + np.random.default_rng(1).normal(0, noise, len(x))


def fit(form: Form, n: int = 12, noise: float = 0.01) -> trend.Fit:
    x, sizes = ladder(n)
    return trend.fit(form, x, scores(x, noise), sizes, 0.05, 400, np.random.default_rng(0))


@pytest.mark.parametrize("n", [4, 12])
def test_the_closed_forms_of_the_line_are_the_general_ones(n):
    line, plain = fit(LogLinear(), n), fit(PlainLine(), n)
    assert line.trend.method == plain.trend.method == ("t" if n == 4 else "mixed bootstrap")
    for name, value in vars(line.trend).items():
        assert vars(plain.trend)[name] == (value if isinstance(value, str | None) else pytest.approx(value, rel=1e-9))
    grid = np.linspace(10, 14, 9)
    for name, values in trend.bands(line, grid, 0.05).items():
        np.testing.assert_allclose(trend.bands(plain, grid, 0.05)[name], values, rtol=1e-9)


def test_weights_say_how_a_curve_moves_with_each_score():
    """Against refits: what a hundred-thousandth more at one checkpoint adds to the curve and to its growth."""
    form, (x, _) = Power(), ladder()
    x = x - x.mean()
    y, at, step = form.predict(np.array([0.7, 0.05]), x), np.array([-1.0, 0.5, 3.0]), 1e-5
    parameters = form.estimate(x, y)
    weights, growth = form.weights(parameters, x, at), form.growth(parameters, x)
    assert growth[0] == pytest.approx((y[-1] - y[0]) / 3)
    for i in range(len(x)):
        more = form.estimate(x, y + step * (np.arange(len(x)) == i))
        moved = (form.predict(more, at) - form.predict(parameters, at)) / step
        np.testing.assert_allclose(moved, weights[:, i], atol=1e-4)
        assert (form.growth(more, x)[0] - growth[0]) / step == pytest.approx(growth[1][i], abs=1e-4)


def test_a_curve_has_bands_around_it_and_a_growth():
    fitted = fit(Power(), noise=0.004)
    assert fitted.trend.low < fitted.trend.slope < fitted.trend.high
    assert fitted.trend.slope == pytest.approx(0.08, abs=0.01)
    band = trend.bands(fitted, np.linspace(10, 14, 9), 0.05)
    assert (np.diff(band["y"], 2) < 0).all()
    assert (band["prediction_low"] < band["confidence_low"]).all() and (band["confidence_low"] < band["y"]).all()


def test_curvature_of_the_form_is_no_noise():
    form, (x, sizes) = Power(), ladder()
    y = form.predict(np.array([0.4, 0.3]), x - x.mean())
    estimate = trend.fit(form, x, y, sizes, 0.05, 400, np.random.default_rng(0)).trend
    assert estimate.method == "mixed bootstrap" and estimate.r2 == pytest.approx(1)
    assert max(estimate.sigma, estimate.tau, estimate.t_high - estimate.t_low, estimate.high - estimate.low) < 1e-6


class FourParameters(Power):
    parameters = dict.fromkeys("abcd", "")


def test_a_form_needs_a_checkpoint_more_than_it_has_parameters():
    fitted = fit(FourParameters(), 4)
    assert fitted.trend.status == "insufficient" and "needs 5" in fitted.trend.reason


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return collected(tmp_path_factory.mktemp("study"), queries=20)


@pytest.fixture(scope="module")
def alone(source, tmp_path_factory):
    """The study with the forms that are there."""
    return drawn(tmp_path_factory.mktemp("alone"), source)


def words(inputs: dict, out) -> str:
    """Captions, alternative texts and the report."""
    captions = [path.with_suffix(suffix).read_text() for path in inputs["figures"] for suffix in (".md", ".txt")]
    return html.unescape(" ".join([*captions, re.sub("<[^>]*>", " ", page(inputs, out))]))


@pytest.mark.slow
def test_another_form_goes_from_the_fit_to_the_words_of_the_report(source, tmp_path, monkeypatch):
    for name in list(FORMS):
        monkeypatch.delitem(FORMS, name)
    monkeypatch.setitem(FORMS, "power", Power())
    inputs = drawn(tmp_path, source)
    assert FitSummary.read(inputs["fit"]).form == "power"
    mean = f"recipe == 'paper' and task == '{MEAN}' and schedule == 'finished'"
    estimate = read_table(inputs["fit"], "trends").query(mean).iloc[0]
    parameters = read_table(inputs["fit"], "parameters").query(mean).set_index("parameter")
    assert dict(parameters["unit"]) == Power.parameters
    curve = read_table(inputs["fit"], "predictions").query(mean)
    expected = Power().predict(parameters["value"], np.log10(curve["flops"]) - estimate["centre"])
    np.testing.assert_allclose(curve["y"], expected, rtol=1e-12)
    text = words(inputs, tmp_path / "page")
    growth = f"{estimate.slope:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
    assert "Power trend over 12 checkpoints of 4 sizes: 1 − nDCG@10 falls with the power " in text
    assert f"{parameters.loc['exponent', 'value']:.3f} of FLOPs, a gain of {growth} a decade" in text
    assert f"{growth} per decade of FLOPs, 12 checkpoints" in text  # the claim
    assert Power.method in text
    assert "log-linear" not in text.lower() and "ordinary least squares" not in text.lower()


@pytest.mark.slow
def test_a_second_form_is_in_the_tables_and_changes_no_figure_or_claim(source, alone, tmp_path, monkeypatch):
    monkeypatch.setitem(FORMS, "power", Power())
    inputs = drawn(tmp_path, source)
    for name in ("trends", "parameters", "predictions"):
        both = read_table(inputs["fit"], name)
        assert set(both["form"]) == set(both.query("task == @MEAN")["form"]) == FORMS.keys()
        line = both[both["form"] == "log-linear"].reset_index(drop=True)
        expected = read_table(alone["fit"], name).query("form == 'log-linear'")
        assert line.equals(expected.reset_index(drop=True)), name
    for before, after in zip(alone["figures"], inputs["figures"], strict=True):
        for suffix in (".csv", ".md", ".txt"):
            assert before.with_suffix(suffix).read_bytes() == after.with_suffix(suffix).read_bytes()
        pictures = (path.with_suffix(".svg").read_text() for path in (before, after))
        before, after = (re.sub("<dc:description>.*", "", picture) for picture in pictures)
        assert before == after
    pages = page(alone, tmp_path / "alone"), page(inputs, tmp_path / "both")
    before, after = (text[text.index('id="claims"') : text.index('id="scores"')] for text in pages)
    assert before == after
    assert Power.method in pages[1] and Power.method not in pages[0]
