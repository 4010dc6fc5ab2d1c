"""The sentences of the answer: for every verdict and for what is missing, in words that need no glossary."""

import re

import pytest

from retscale.report import answer
from retscale.report.answer import Scale

SCALE = Scale("nDCG@10", 8, 1, "95%")
VERDICTS = ["supported", "not supported", "cannot tell"]
# What only the field says; "nDCG@10" is explained where it stands.
JARGON = (
    r"\b(FLOPs?|decade|checkpoint|recipe|headline|zero-shot|tau|encoder|bootstrap|AICc|RMSE|p-value|Pearson|nan|None)\b"
)


def claim(verdict: str, value: float | None = 0.02, **more) -> dict:
    row = {"value": value, "low": value and value - 0.01, "high": value and value + 0.01, "n": 12, "reason": ""}
    return row | {"verdict": verdict} | more


def target(**more) -> dict:
    row = {"target": "13B x 2T", "n_params": 13e9, "n_tokens": 2e12, "flops": 1.56e23, "decades_beyond": 1.4}
    return row | {"y": 0.361, "low": 0.33, "high": 0.393, "status": "ok", "reason": ""} | more


PAST = {"hits": 9, "n": 10}
MISSING = [None, claim("cannot tell", None, n=None, reason="too few checkpoints (2); this form needs 3")]
NOT_MADE = target(y=None, low=None, high=None, status="insufficient")


@pytest.mark.parametrize(
    ("verdict", "words"),
    [("supported", "**Yes**"), ("not supported", "**No**"), ("cannot tell", "**cannot be told**")],
)
def test_growth(verdict, words):
    text = answer.growth_sentence(claim(verdict), SCALE)
    assert words in text
    assert "+0.020 (95% interval 0.010 to 0.030), as 12 models show" in text and "mean nDCG@10 over 8 tasks" in text


@pytest.mark.parametrize(
    ("verdict", "value", "words"),
    [
        ("supported", 0.001, "does **as well**"),
        ("not supported", 0.03, "does **better**"),
        ("not supported", -0.03, "does **worse**"),
        ("cannot tell", -0.03, "**cannot be told**: ten times as much text per parameter changes the score by −0.030"),
    ],
)
def test_small_against_large(verdict, value, words):
    assert words in answer.equal_sentence(claim(verdict, value), SCALE)


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ({"supported": 4, "cannot tell": 4}, "on **4 of 8 tasks**; on 4 the scores are too few"),
        ({"supported": 1, "not supported": 2}, "on **1 of 3 tasks**; on 2 it does not."),
        ({"supported": 1}, "on **1 of 1 task**."),
    ],
)
def test_tasks(verdicts, words):
    assert words in answer.tasks_sentence(claim("supported", None), verdicts)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("supported", "they share **more** than that: correlation 0.60 (95% interval 0.59 to 0.61)"),
        ("not supported", "share **little or nothing**: correlation 0.60"),
        ("cannot tell", "**cannot be told**: correlation 0.60"),
    ],
)
def test_in_context_learning_says_that_shared_growth_is_expected(verdict, words):
    text = answer.icl_sentence(claim("supported", 0.9), claim(verdict, 0.6), SCALE)
    assert words in text
    assert "and retrieval go together across 12 models (correlation 0.90" in text and "are expected to" in text
    assert "hardly go together" in answer.icl_sentence(claim("not supported", 0.1), claim(verdict, 0.6), SCALE)


def test_the_farthest_forecast_stands_beside_its_backtest():
    text = answer.forecast_sentence([target(), target(flops=1e24, y=0.5, low=0.4, high=0.6)], PAST, SCALE)
    assert "13B parameters pretrained on 2T tokens" in text and "**0.50** (95% interval 0.40 to 0.60)" in text
    assert "of 10 models whose sizes were held out" in text and "**9** scored within" in text
    families = answer.forecast_sentence([target()], PAST, Scale("nDCG@10", 8, 6, "95%"))
    assert "in the average of the 6 families" in families


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ([NOT_MADE | {"decades_beyond": 3.0}], "takes 1k times the computation of the largest here"),
        ([NOT_MADE | {"reason": "too few checkpoints (2)"}], "may be forecast: too few models (2);"),
        ([NOT_MADE | {"decades_beyond": None, "reason": ""}], "there is no trend"),
        ([], "names none"),
    ],
)
def test_no_forecast_says_why(targets, words):
    text = answer.forecast_sentence(targets, None, SCALE)
    assert "**No**" in text and words in text and "no size could be held out" in text


def every_sentence() -> list[str]:
    texts = [answer.growth_sentence(row, SCALE) for row in [*map(claim, VERDICTS), *MISSING]]
    texts += [answer.equal_sentence(row, SCALE) for row in [*map(claim, VERDICTS), *MISSING]]
    texts += [answer.tasks_sentence(row, {v: 2}) for row in map(claim, VERDICTS) for v in VERDICTS]
    texts += [answer.tasks_sentence(row, {}) for row in MISSING]
    beyond = [*map(claim, VERDICTS), *MISSING]
    unbounded = claim("cannot tell", 0.9, low=None, high=None, reason="too few sizes (4)")
    texts += [answer.icl_sentence(raw, row, SCALE) for raw in (claim("supported", 0.9), *MISSING) for row in beyond]
    texts += [answer.icl_sentence(unbounded, row, SCALE) for row in beyond]
    texts += [answer.growth_sentence(unbounded, SCALE), answer.equal_sentence(unbounded, SCALE)]
    for targets in ([target()], [NOT_MADE | {"decades_beyond": 9.0}], [NOT_MADE], []):
        texts += [answer.forecast_sentence(targets, past, SCALE) for past in (PAST, {"hits": None, "n": 0}, None)]
    return texts


def test_each_is_one_sentence_without_jargon():
    for text in every_sentence():
        assert text.endswith(".") and not re.search(r"\. [A-Z]", text), text
        assert not re.search(JARGON, text), text
        assert text.count("**") in (2, 4), text


def test_claims_about_backbones_are_counted():
    rows = [claim(verdict) for verdict in ("supported", "cannot tell", "cannot tell", "not supported")]
    (text,) = answer.backbones_sentences(rows)
    assert text.startswith("Of 4 claims of Luo et al. 2024 ") and not re.search(JARGON, text)
    assert "**1 holds** here, 1 does not, and 2 cannot be told" in text
    assert answer.backbones_sentences([]) == []
