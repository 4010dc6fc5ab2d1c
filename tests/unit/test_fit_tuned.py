"""Models tuned for chat against their bases: which are compared, and the claim that tuning changes little."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import stats
from test_collect_synthetic import write_study
from test_study import smoke, written

from retscale.collect.comparisons import Comparisons
from retscale.collect.run import run as collect
from retscale.collect.summary import StudySummary
from retscale.common.tables import read_table
from retscale.fit import rules
from retscale.fit.comparisons import KIND, TUNED, comparisons
from retscale.fit.config import Spec
from retscale.fit.dimension_claims import ABSENT, tuned_for_chat
from retscale.fit.run import run as fit
from retscale.study import catalog, load, specs
from retscale.study import comparisons as of_study

SPEC = Spec(bootstrap=400)
TUNED_TO = {"a-chat": "a", "a-sft": "a", "late-chat": "late", "orphan-chat": None}
STUDY = StudySummary(
    study="s", headline={"t": ["t"]}, recipes=["one", "two"], main_recipe="one", comparisons=Comparisons(tuned=TUNED_TO)
)
FAMILIES = {"a": "base", "other": "another", "late": "base", "a-chat": "chat", "a-sft": "sft", "late-chat": "chat"}
FAMILIES |= {"orphan-chat": "chat"}
SIZES = {"40k": 40_000, "160k": 160_000, "640k": 640_000, "2.5m": 2_500_000}


@pytest.fixture(scope="module")
def compared() -> pd.DataFrame:
    """Everything is as large and as long trained; late-chat has recipe two alone, and its base both."""
    rng, rows, drawn = np.random.default_rng(0), [], {}
    level = {"a": 0.5, "a-chat": 0.52, "a-sft": 0.49, "late": 0.5, "late-chat": 0.47}
    for checkpoint, family in FAMILIES.items():
        for recipe in ("two",) if checkpoint == "late-chat" else ("one", "two"):
            for task in ("t", "mean"):
                rows.append((checkpoint, family, recipe, task, level.get(checkpoint, 0.4) + 0.1 * (recipe == "one")))
                drawn[checkpoint, recipe, task] = rows[-1][-1] + 0.001 * rng.normal(size=SPEC.bootstrap)
    points = pd.DataFrame(rows, columns=["checkpoint", "family", "recipe", "task", "y"])
    draws = pd.DataFrame(drawn)
    draws.columns.names = ["checkpoint", "recipe", "task"]
    points = points.assign(role="fit", size=points["family"], n_params=1e6, n_tokens=1e7, schedule_finished=True)
    points.loc[points["checkpoint"] == "late", ["role", "n_tokens"]] = ["reference", np.nan]
    return comparisons(points, draws, [], pd.DataFrame(columns=["task"]), STUDY, SPEC)


def test_what_was_tuned_is_compared_with_its_base_under_a_recipe_of_both(compared):
    rows = compared[compared["kind"] == TUNED].query("task == 'mean'").set_index("checkpoint")
    assert rows["against"].to_dict() == {"a-chat": "a", "a-sft": "a", "late-chat": "late"}
    assert rows["recipe"].to_dict() == {"a-chat": "one", "a-sft": "one", "late-chat": "two"}
    assert rows["difference"].to_dict() == pytest.approx({"a-chat": 0.02, "a-sft": -0.01, "late-chat": -0.03})
    assert rows.loc["a-sft", "against_family"] == "base" and (rows["low"] < rows["difference"]).all()


def test_tuning_is_no_contest_of_families(compared):
    rows = compared[compared["kind"] == KIND]
    assert set(rows[["checkpoint", "against"]].itertuples(index=False, name=None)) == {("other", "a")}


def changes(*values: float, against: list[str] | None = None) -> pd.DataFrame:
    bases = against or [f"b{i}" for i in range(len(values))]
    return pd.DataFrame({"task": "mean", "against": bases, "against_family": "f", "difference": values})


def test_tuning_changes_little_where_two_one_sided_tests_say_so():
    values = [0.004, -0.003, 0.001, -0.002, 0.003]
    row = tuned_for_chat(changes(*values), STUDY, SPEC)
    p = [
        stats.ttest_1samp(values, side * rules.MARGIN, alternative=alternative).pvalue
        for side, alternative in ((-1, "greater"), (1, "less"))
    ]
    assert max(p) < SPEC.alpha and row.verdict == rules.SUPPORTED
    ends = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (row.low, row.high) == pytest.approx((ends.low, ends.high))
    inner = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    assert f"{inner.low:+.4f} to {inner.high:+.4f}".replace("-", "−") in row.detail
    assert "on the mean; 5 bases of 1 family, each a replicate" in row.detail
    assert tuned_for_chat(changes(*(0.03 + value for value in values)), STUDY, SPEC).verdict == rules.REFUTED
    wide = [5 * value for value in values]  # a 90% interval of more than the margin on one side
    assert tuned_for_chat(changes(*wide), STUDY, SPEC).verdict == rules.OPEN


def test_what_was_tuned_from_one_base_counts_once():
    rows = changes(0.0, 0.004, -0.002, -0.002, 0.001, against=["a", "a", "b", "b", "c"])
    row = tuned_for_chat(rows, STUDY, SPEC)
    expected = stats.ttest_1samp([0.002, -0.002, 0.001], 0).confidence_interval(0.95)
    assert row.n == 3 and (row.low, row.high) == pytest.approx((expected.low, expected.high))


def test_the_claim_is_on_the_task_of_the_training_data_where_there_is_one():
    rows = pd.concat([changes(0.1, 0.1, 0.1), changes(0.001, 0.0, -0.001).assign(task="own")])
    row = tuned_for_chat(rows, STUDY.model_copy(update={"in_domain": {"own": ["own"]}}), SPEC)
    assert row.value == pytest.approx(0) and row.detail.startswith("on own; 3 bases")
    assert tuned_for_chat(rows.head(0), STUDY, SPEC).reason == ABSENT


def test_the_catalog_has_a_base_of_every_tuned_checkpoint():
    entries = catalog.entries("checkpoint")
    tuned = {id: entry for id, entry in entries.items() if entry["family"] in catalog.tuned_from()}
    assert len(tuned) == 3 * 3 + 2 + 4
    for id, entry in tuned.items():
        base, key = catalog.tuned_from()[entry["family"]], ("size", "n_params", "tokens")
        alike = [one for one in entries.values() if one["family"] == base and one["size"] == entry["size"]]
        assert [[one.get(name) for name in key] for one in alike] == [[entry.get(name) for name in key]], id


def test_a_study_knows_bases_and_its_jobs_do_not(tmp_path):
    data = smoke()
    study = load.study(written(tmp_path, smoke()))
    assert "comparisons" not in specs.collect(study)
    del data["lengths"], data["text"]
    data["recipes"] = data["recipes"][:1]
    data["checkpoints"] = ["olmo-2-1b-final", "olmo-2-1b-sft", "llama-2-7b", "llama-2-7b-chat", "llama-2-13b-chat"]
    study = load.study(written(tmp_path, data))
    expected = {"olmo-2-1b-sft": "olmo-2-1b-final", "llama-2-7b-chat": "llama-2-7b", "llama-2-13b-chat": None}
    assert of_study.of(study).tuned == specs.collect(study)["comparisons"]["tuned"] == expected
    job = specs.checkpoint(study, "llama-2-7b-chat")
    assert job.keys() == specs.checkpoint(study, "llama-2-7b").keys() and "tuned_from" not in yaml.safe_dump(job)


def test_only_bases_are_fitted():
    """Twenty-two models of known compute are eight replicates, since all that was tuned from one base shares its noise."""
    study = load.study(Path(__file__).resolve().parents[2] / "config/questions/alignment.yaml")
    fitted = {id for id, labels in specs.collect(study)["checkpoints"].items() if labels["role"] == "fit"}
    known = {id for id, checkpoint in study.checkpoints.items() if checkpoint.tokens}
    assert len(known) == 22 and fitted == known - of_study.of(study).tuned.keys() and len(fitted) == 8


def test_what_was_tuned_is_fitted_only_where_a_study_says_so(tmp_path):
    """Also without its base, whose compute would be taken for all that the model had."""
    data = smoke()
    del data["lengths"], data["text"]
    data["recipes"] = data["recipes"][:1]
    own = {"id": "mine", "use": "olmo-2-1b-final", "family": "olmo-2-sft", "source": {"repo": "me/mine"}}
    data["checkpoints"] = ["llama-2-7b", "llama-2-13b-chat", {"use": "llama-2-7b-chat", "role": "fit"}, own]
    roles = {id: checkpoint.role for id, checkpoint in load.study(written(tmp_path, data)).checkpoints.items()}
    assert roles == {
        "llama-2-7b": "fit",
        "llama-2-13b-chat": "reference",
        "llama-2-7b-chat": "fit",
        "mine": "reference",
    }


def test_tuned_models_are_listed_and_compared_and_in_no_fit(tmp_path):
    sizes = {f"{name}-{kind}": n for name, n in SIZES.items() for kind in ("base", "chat", "dpo")}
    spec, inputs = write_study(tmp_path, sizes=sizes, levels=(10,), tasks={"alpha": 0.05}, queries=20)
    spec["comparisons"] = {"tuned": {}}
    for id, labels in spec["checkpoints"].items():
        size, labels["family"] = labels["size"].split("-")
        labels["size"] = size
        if labels["family"] != "base":
            labels["role"] = "reference"
            spec["comparisons"]["tuned"][id] = f"toy-{size}-base-10"
    (tmp_path / "collect").mkdir(), (tmp_path / "fit").mkdir()
    collect(spec, inputs, tmp_path / "collect")
    fit(
        {"bootstrap": 200, "paired": ["chat", "base"]}, {"collect": tmp_path / "collect/collect.json"}, tmp_path / "fit"
    )
    tables = {
        name: read_table(tmp_path / "fit/fit.json", name)
        for name in ("claims", "fits", "comparisons", "paired_families", "dimensions", "efficiency_trends")
    }
    claims = tables["claims"].set_index("claim")
    assert claims.loc["larger-zero-shot", "n"] == claims.loc["larger-early", "n"] == claims.loc["grows", "n"] == 4
    assert set(tables["fits"].query("recipe == 'paper'")["n"]) == set(tables["efficiency_trends"]["n"]) == {4}
    tuned = tables["comparisons"].query(f"kind == '{TUNED}' and task == 'mean'")
    assert len(tuned) == 8 and claims.loc["tuned-for-chat", "n"] == 4
    assert len(tables["paired_families"].query("recipe == 'paper' and task == 'mean'")) == 4
    assert tables["dimensions"].query("measure == 'mean'")["checkpoint"].nunique() == 12
    reasons = read_table(tmp_path / "collect/collect.json", "checkpoints").set_index("checkpoint")["reason"]
    assert (
        reasons["toy-40k-chat-10"] == "in no fit, for it was tuned after pretraining" and not reasons["toy-40k-base-10"]
    )


def test_studies_without_tuned_checkpoints_keep_their_spec():
    pairs = Comparisons(asked={"a": "b"})
    assert pairs.model_dump() == {"asked": {"a": "b"}, "trained": {}, "mixed": {}}
    assert Comparisons(tuned={"a": None}) and not Comparisons()
