"""What the claims on dimensions average over: only what differs in the one thing that a claim names."""

import pandas as pd
import pytest

from retscale.collect.comparisons import Comparisons
from retscale.collect.summary import StudySummary
from retscale.fit import rules
from retscale.fit.comparisons import TRAINED
from retscale.fit.config import Spec
from retscale.fit.dimension_claims import at_shared, followed, helped, mixtures, of_backbones, shared
from retscale.fit.dimensions import further

SPEC = Spec(bootstrap=400)
BACKBONES = ["a", "b", "c", "d"]
NOISE = dict(zip(BACKBONES, (0.001, -0.001, 0.002, -0.002), strict=True))


def changed(changes: dict[str, float], recipe: str = "other") -> pd.DataFrame:
    """A row per backbone and task: the change there, a little noise."""
    rows = [
        (name, recipe, "alone", task, change + NOISE[name]) for task, change in changes.items() for name in BACKBONES
    ]
    return pd.DataFrame(rows, columns=["checkpoint", "recipe", "against", "task", "difference"]).assign(kind=TRAINED)


def read(own: int, changes: dict[int, float], checkpoint: str, task: str = "mean") -> pd.DataFrame:
    rows = [(own, True, 0.0), *((length, False, change) for length, change in changes.items())]
    table = pd.DataFrame(rows, columns=["length", "own", "difference"])
    return table.assign(checkpoint=checkpoint, recipe="alone", task=task)


def test_what_a_mixture_gains_on_one_task_makes_up_for_no_loss_on_another():
    claims = {claim.claim: claim for claim in mixtures(changed({"one": -0.04, "two": 0.06}), SPEC)}
    assert {name: claim.verdict for name, claim in claims.items()} == {
        "mixture-one": rules.REFUTED,
        "mixture-two": rules.SUPPORTED,
    }
    assert claims["mixture-one"].value == pytest.approx(-0.04)


ASKED = {"aspects": "plain", "core": "core-plain", "scifact-asked": "scifact"}
STUDY = StudySummary(
    study="s",
    headline={"scifact": ["scifact"], "plain": ["plain"]},
    in_domain={},
    recipes=["alone", "other"],
    main_recipe="alone",
    comparisons=Comparisons(asked=ASKED, deciding=["aspects", "core"], trained={"other": "alone"}),
)


def test_an_encoder_follows_instructions_by_p_mrr():
    """nDCG@10 falls where any text stands before a query, whatever it asks: then training with instructions would always win."""
    values = {"other": {"aspects": 0.3, "core": 0.1, "scifact-asked": 0.9}, "alone": {"aspects": -0.1, "core": 0.1}}
    rows = [(*key, "p_mrr", value) for key, value in named(values).items()]
    rows += [(*key[:2], task, "ndcg_at_10", 0.9) for key in named(values) for task in ASKED]
    scores = pd.DataFrame(rows, columns=["checkpoint", "recipe", "task", "metric", "value"])
    table = followed(scores, STUDY)
    assert table.groupby("task")["difference"].mean().to_dict() == pytest.approx({"aspects": 0.4, "core": 0.0})
    assert of_backbones(table, "difference").to_dict() == pytest.approx(dict.fromkeys(BACKBONES, 0.2))
    assert followed(scores[scores["recipe"] == "other"], STUDY).empty and followed(scores.head(0), STUDY).empty


def named(values: dict[str, dict[str, float]]) -> dict[tuple[str, str, str], float]:
    return {
        (name, recipe, task): value for name in BACKBONES for recipe, of in values.items() for task, value in of.items()
    }


def test_instructions_help_if_trained_and_asked_with_them_beats_trained_and_asked_without():
    scores = {"scifact-asked": (0.35, 0.10), "scifact": (0.20, 0.32), "aspects": (0.9, 0.1), "plain": (0.1, 0.2)}
    changes = changed(dict.fromkeys(scores, 0.0))
    changes["y"], changes["y_against"] = (
        changes["task"].map({name: of[n] for name, of in scores.items()}) for n in (0, 1)
    )
    table = helped(changes, STUDY)
    assert set(table["task"]) == {"scifact-asked"} and len(table) == len(BACKBONES)
    assert table["difference"].to_numpy() == pytest.approx(0.03)
    assert helped(changes[changes["task"] != "scifact"], STUDY).empty


def test_quality_at_shorter_lengths_says_nothing_of_longer_documents():
    assert further(read(256, {64: -0.05, 128: -0.02}, "a")).empty
    longer = further(read(256, {128: -0.02, 512: 0.01}, "a"))
    assert longer["length"].tolist() == [512]
    assert at_shared(longer.iloc[:0]).empty


def test_backbones_are_compared_at_the_longest_length_that_all_of_them_read():
    curve = {512: 0.02, 2048: -0.02, 32768: -0.06}
    lengths = pd.concat(
        [
            read(256, {512: curve[512]}, "a"),
            read(256, {length: curve[length] for length in (512, 2048)}, "b"),
            read(256, curve, "c"),
            read(256, {2048: -0.5}, "a", task="one task"),
        ]
    )
    rows = at_shared(further(lengths))
    assert of_backbones(rows, "difference").to_dict() == pytest.approx({"a": 0.02, "b": 0.02, "c": 0.02})
    apart = pd.concat([read(256, {512: 0.0}, "a"), read(256, {1024: 0.0}, "b")])
    assert at_shared(further(apart)).empty


def test_growth_with_size_is_over_tasks_that_all_backbones_have():
    """Small models with both parts and large ones with the first alone differ by the parts and not by size."""
    rows = changed({"one": -0.02, "two": 0.02})
    rows = rows[(rows["task"] == "one") | rows["checkpoint"].isin(["a", "b"])]
    assert set(shared(rows)["task"]) == {"one"} and len(shared(rows)) == len(BACKBONES)
    assert shared(rows.iloc[:0]).empty
