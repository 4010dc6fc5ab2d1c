"""What differs in one thing is compared query by query: instructions, mixtures, families; and the claims on them."""

from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_study import smoke, written

from retscale.collect.comparisons import Comparisons
from retscale.collect.repeats import Repeat, Repeats
from retscale.collect.summary import StudySummary
from retscale.fit import rules
from retscale.fit.backbones import GAIN, NOT_LESS, over_backbones
from retscale.fit.claim import OWN
from retscale.fit.comparisons import (
    ASKED,
    KIND,
    MIXED,
    TRAINED,
    comparisons,
    of_families,
    of_recipes,
    of_tasks,
    trained_here,
)
from retscale.fit.config import Spec
from retscale.fit.dimension_claims import ABSENT, between_kinds, fewer_pairs
from retscale.fit.dimensions import by_mixtures, changes_of, dimensions, firsts, longest
from retscale.fit.error_rates import Rates
from retscale.fit.nested import component
from retscale.fit.points import query_scores, resampled
from retscale.fit.seeds import UNKNOWN, Noise, Seeds
from retscale.fit.variants import in_mean, units
from retscale.report.claims import estimate
from retscale.study import comparisons as of_study
from retscale.study import load, specs

SPEC = Spec(bootstrap=400)
GAINS = {"instructed": 0.05, "mixed": -0.02}
PAIRS = Comparisons(
    asked={"aspects": "plain"},
    trained={"instructed": "alone"},
    mixed={"mixed": {"one": "alone", "two": "other"}},
    own_tasks={"one": ["plain"], "two": ["aspects"]},
)
STUDY = StudySummary(
    study="s",
    headline={"t": ["t"]},
    in_domain={"aspects": ["aspects"], "plain": ["plain"]},
    recipes=["alone", "instructed", "mixed", "other"],
    main_recipe="alone",
    comparisons=PAIRS,
)


@pytest.fixture(scope="module")
def compared() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Points and the table of two families; queries differ much from each other, encoders little on each of them."""
    rng, rows = np.random.default_rng(0), []
    hard = {task: rng.normal(0, 0.2, 200) for task in ("t", "plain")}
    ladder = {"d": ("decoder", 1e6, 1e7), "e": ("encoder", 1.1e6, 1e7), "long": ("encoder", 1e6, 4e7)}
    for checkpoint in ladder:
        for recipe in STUDY.recipes:
            level = 0.5 + GAINS.get(recipe, 0.0) + 0.03 * (checkpoint == "e")
            for task in ("t", "plain", "aspects"):
                values = level + hard["plain" if task == "aspects" else task] + rng.normal(0, 0.01, 200)
                values += 0.1 * (task == "aspects")
                rows += [(checkpoint, recipe, task, f"q{i}", value) for i, value in enumerate(values)]
    queries = pd.DataFrame(rows, columns=["checkpoint", "recipe", "task", "query_id", "ndcg_at_10"])
    draws = resampled(query_scores([queries], "ndcg_at_10"), {"mean": ["t"]}, SPEC.bootstrap, 0)
    points = queries.groupby(["checkpoint", "recipe", "task"])["ndcg_at_10"].mean().rename("y").reset_index()
    points = pd.concat([points, points[points["task"] == "t"].assign(task="mean")], ignore_index=True)
    for place, name in enumerate(("family", "n_params", "n_tokens")):
        points[name] = points["checkpoint"].map(lambda id, place=place: ladder[id][place])
    points = points.assign(size=points["checkpoint"], schedule_finished=True)
    points = points.assign(role="fit", low=points["y"] - 0.1, high=points["y"] + 0.1)
    asked = queries[queries["task"].isin(["aspects", "plain"])]
    table = comparisons(points, draws, query_scores([queries], "ndcg_at_10"), asked, STUDY, SPEC)
    return points, table


def test_every_difference_is_found_by_the_queries_that_both_have(compared):
    """Unpaired intervals would be .08 wide: a standard deviation of .2 over 200 queries."""
    _, table = compared
    assert (table["high"] - table["low"] < 0.01).all()
    expected = {ASKED: 0.1, TRAINED: 0.05, MIXED: -0.02}
    for kind, value in expected.items():
        rows = table[table["kind"] == kind]
        assert len(rows) and (abs(rows["difference"] - value) < 0.005).all(), kind
        assert (rows["p"] < 0.01).all() and (rows["p_holm"] >= rows["p"]).all()
    assert set(table.loc[table["kind"] == MIXED, ["against", "data_set"]].itertuples(index=False, name=None)) == {
        ("alone", "one"),
        ("other", "two"),
    }
    asked = table[table["kind"] == ASKED]
    assert set(asked["task"]) == {"aspects"} and len(asked) == 3 * 4


def test_families_are_compared_at_equal_size_and_tokens_alone(compared):
    _, table = compared
    rows = table[table["kind"] == KIND]
    assert set(rows[["checkpoint", "against"]].itertuples(index=False, name=None)) == {("d", "e")}
    assert set(rows["recipe"]) == {"alone"} and rows["difference"].to_numpy() == pytest.approx(-0.03, abs=0.005)


def backbones(*rows: tuple[str, str, str, float, float, bool, str]) -> pd.DataFrame:
    columns = ["checkpoint", "family", "size", "n_params", "n_tokens", "schedule_finished", "role"]
    return pd.DataFrame(rows, columns=columns).assign(recipe="alone", task="mean")


def paired(points: pd.DataFrame) -> list[tuple[str, str]]:
    pairs = of_families(trained_here(points, ["alone"]), set())
    return sorted((one["checkpoint"], other["checkpoint"]) for one, other in pairs)


def test_a_checkpoint_is_paired_with_the_closest_finished_one_alone():
    points = backbones(
        ("a1", "a", "a 1B", 1.00e9, 1e10, True, "fit"),
        ("a2", "a", "a 1.1B", 1.1e9, 1e10, True, "fit"),
        ("a2-later", "a", "a 1.1B", 1.1e9, 1.3e10, True, "fit"),
        ("b1", "b", "b 1.1B", 1.12e9, 1e10, True, "fit"),
        ("b1-step9", "b", "b 1B", 1.00e9, 1e10, False, "fit"),
        ("b1-random", "b", "b 1B", 1.01e9, 1e10, True, "reference"),
        ("c1", "c", "c 1B", 1.00e9, 1.01e10, True, "fit"),
    )
    assert paired(points) == [("a1", "c1"), ("a2", "b1"), ("b1", "c1")]
    # Of two sizes that share a partner in different durations, the closer one has it.
    later = backbones(("b1-later", "b", "b 1.1B", 1.12e9, 1.3e10, True, "fit"))
    without = points[~points["checkpoint"].isin(["a2", "c1"])]
    assert paired(pd.concat([without, later])) == [("a2-later", "b1-later")]


def test_equal_families_differ_in_one_study_of_twenty():
    """Trainings of a size share its noise, and those that had not decayed score less."""
    rng, wrong, n = np.random.default_rng(5), 0, 1000
    points = backbones(
        *(
            (f"{family}-{size}-{tokens}-{finished}", family, f"{family} {size}", size, tokens, finished, "fit")
            for family in "ab"
            for size in (1e8, 1.1e8, 1e9, 1.1e9, 1e10)
            for tokens in (1e10, 1.1e10, 2e11)
            for finished in (True, False)
            if finished or family == "b"
        )
    )
    pairs = of_families(trained_here(points, ["alone"]), set())
    for _ in range(n):
        of_size = {size: rng.normal(0, 0.004) for size in points["size"].unique()}
        level = [of_size[size] - 0.03 * (not done) for size, done in zip(points["size"], points["schedule_finished"])]
        y = dict(zip(points["checkpoint"], level + rng.normal(0, 0.002, len(points))))
        rows = [
            {
                "checkpoint": one["checkpoint"],
                "of_family": one["family"],
                "of_size": one["size"],
                "against_family": other["family"],
                "difference": y[one["checkpoint"]] - y[other["checkpoint"]],
            }
            for one, other in pairs
        ]
        (claim,) = between_kinds(pd.DataFrame(rows), Spec(bootstrap=200))
        wrong += claim.verdict != rules.OPEN
    assert claim.n == 5 and 0.035 * n < wrong < 0.065 * n


def test_a_mixture_is_judged_on_the_tasks_of_the_part_that_it_is_compared_with(compared):
    """Against one part alone it gains on the tasks of the others whatever mixing costs."""
    _, table = compared
    rows = by_mixtures(table, STUDY)
    assert set(zip(rows["data_set"], rows["task"])) == {("one", "plain"), ("two", "aspects")}
    assert len(rows) == 2 * 3


def test_a_table_of_dimensions_takes_each_backbone_under_its_first_recipe(compared):
    points, table = compared
    empty = pd.DataFrame(columns=["checkpoint", "recipe", "task"])
    lengths = pd.DataFrame({"checkpoint": ["d"] * 3, "recipe": "alone", "task": "mean", "length": [64, 128, 256]})
    lengths = lengths.assign(
        own=[True, False, False], difference=[0.0, 0.1, 0.2], difference_low=0.0, difference_high=1.0, low=0.3, high=0.4
    )
    curves = empty.assign(
        **dict.fromkeys(["area", "area_low", "area_high", "needed", "needed_low", "needed_high"], 0.0)
    )
    tables = {"points": points, "efficiency": curves, "lengths": lengths, "comparisons": table}
    rows = dimensions(tables, STUDY).set_index(["checkpoint", "dimension", "measure"]).sort_index()
    assert (
        set(rows.loc[("d", "zero-shot")].index) == {"mean"}
        and (rows.loc[("d", "zero-shot"), "recipe"] == "alone").all()
    )
    assert rows.loc[("d", "lengths", "256 tokens − its own length"), "value"] == 0.2
    assert rows.loc[("e", "instructions", "trained aspects with − without"), "value"] == pytest.approx(0.05, abs=0.005)
    assert rows.loc[("e", "multi-task", "mean − one alone"), "value"] == pytest.approx(-0.02, abs=0.005)
    assert ("e", "multi-task", "plain − one alone") in rows.index
    assert ("e", "multi-task", "plain − two alone") not in rows.index
    # One value a backbone and measure, or the report would show whichever comes last.
    assert rows.index.is_unique and set(rows["recipe"]) == {"alone", "instructed", "mixed"}
    assert rows.loc[("d", "instructions", "asked aspects with − without"), "recipe"] == "alone"
    twice = pd.concat([table, table[table["kind"] == TRAINED].assign(recipe="again")])
    labels = {label for label in changes_of(twice, STUDY)["label"] if "with − without by" in label}
    assert {"aspects with − without by again", "aspects with − without by instructed"} <= labels
    assert longest(lengths)["length"].tolist() == [256] and not changes_of(table, STUDY).empty
    assert (firsts(points[points["recipe"] != "alone"], STUDY)["recipe"] == "instructed").all()


def test_recipes_differ_beyond_the_noise_of_seeds_where_that_is_known():
    rng, names = np.random.default_rng(2), [("d", recipe) for recipe in ("alone", "instructed")]
    rows = [(*name, "t", f"q{i}", rng.normal(0.5, 0.1)) for name in names for i in range(50)]
    queries = pd.DataFrame(rows, columns=["checkpoint", "recipe", "task", "query_id", "ndcg_at_10"])
    points = queries.groupby(["checkpoint", "recipe", "task"])["ndcg_at_10"].mean().rename("y").reset_index()
    draws = resampled(query_scores([queries], "ndcg_at_10"), {}, SPEC.bootstrap, 0)
    pairs = [(TRAINED, "instructed", "alone", None)]

    def row(known: Seeds) -> dict:
        (only,) = of_recipes(points, draws, query_scores([queries], "ndcg_at_10"), pairs, SPEC, known, "alone")
        return only

    noise = component(4e-4, 4, 0.0, 0.05)
    knowing, plain = row(Seeds({}, {("alone", "t"): Noise(noise)})), row(UNKNOWN)
    over_queries = (draws["d", "instructed", "t"] - draws["d", "alone", "t"]).var(ddof=0)
    error = np.sqrt(over_queries + 2 * 4e-4)
    df = error**4 / ((2 * 4e-4) ** 2 / 4)
    assert plain["method"] == "sign flips" and knowing["method"] == "queries and seeds; Student's t"
    assert knowing["difference"] == plain["difference"]
    assert (knowing["high"] - knowing["low"]) / 2 == pytest.approx(stats.t.ppf(0.975, df) * error)
    assert knowing["p"] == pytest.approx(2 * stats.t.sf(abs(plain["difference"]) / error, df))
    assert knowing["high"] - knowing["low"] > plain["high"] - plain["low"]


def test_asking_is_judged_by_the_mean_of_trainings_and_the_noise_between_them():
    """What a training does to both tasks alike, a standard deviation of .1 here, is no noise of their difference."""
    rng, hard, rows = np.random.default_rng(3), np.random.default_rng(4).normal(0, 0.2, 100), []
    gains = {("d", "main"): 0.1, ("d", "main.seed-2"): 0.02, ("d", "main.seed-3"): 0.03, ("e", "main"): 0.04}
    for encoder, gain in gains.items():
        level = 0.5 + rng.normal(0, 0.1)
        for task, more in (("plain", 0.0), ("aspects", gain)):
            rows += [(*encoder, task, f"q{i}", level + more + value) for i, value in enumerate(hard)]
    queries = pd.DataFrame(rows, columns=["checkpoint", "recipe", "task", "query_id", "ndcg_at_10"])
    repeats = Repeats(recipes={f"main.seed-{seed}": Repeat(of="main", seed=seed) for seed in (2, 3)})
    study = STUDY.model_copy(update={"repeats": repeats})
    several, single = of_tasks(queries, study, {"aspects": "plain"}, SPEC)
    assert [(row["checkpoint"], row["recipe"]) for row in (several, single)] == [("d", "main"), ("e", "main")]
    assert several["difference"] == pytest.approx(0.05) == several["y"] - several["y_against"]
    half = stats.t.ppf(0.975, 2) * np.std([0.1, 0.02, 0.03], ddof=1)
    for row, value, n in ((several, 0.05, 3), (single, 0.04, 1)):
        assert (row["low"], row["high"]) == pytest.approx((value - half / n**0.5, value + half / n**0.5))
        assert row["method"] == "queries and seeds; Student's t"
    alone = of_tasks(queries, STUDY, {"aspects": "plain"}, SPEC)
    assert len(alone) == 4 and {row["method"] for row in alone} == {"sign flips"}
    apart = queries[(queries["task"] == "aspects") == (queries["checkpoint"] == "d")]
    assert of_tasks(apart, STUDY, {"aspects": "plain"}, SPEC) == []


def test_no_mean_of_lengths_or_curves_counts_a_contrast():
    study = STUDY.model_copy(update={"contrasts": ["cut"]})
    assert units({"t", "aspects", "cut"}, study) == {"mean": ["t", "aspects"]}
    assert units({"cut"}, study) == {"mean": ["cut"]}


def test_no_mean_of_lengths_or_curves_counts_a_task_and_its_plain_twin():
    study = StudySummary(
        study="s",
        headline={"t": ["t"]},
        in_domain={"aspects": ["aspects"], "plain": ["plain"]},
        contrasts=["apart"],
        recipes=["r"],
        main_recipe="r",
        comparisons=Comparisons(asked={"aspects": "plain", "t": "apart"}),
    )
    assert units({"t", "aspects", "plain"}, study) == {"mean": ["t", "plain"]}
    assert units({"t", "aspects"}, study) == {"mean": ["t", "aspects"]}  # its twin is not there
    assert units({"t", "apart"}, study) == {"mean": ["t"]}  # its twin is in no mean
    assert in_mean({"t", "aspects", "plain"}, study) == {"t": ["t"], "plain": ["plain"]}


def test_a_mean_over_backbones_is_students_and_says_when_they_are_too_few():
    values = pd.Series([0.02, 0.03, 0.05, -0.04])
    row = over_backbones("c", "t", GAIN, values, "none", SPEC)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (row.low, row.high) == pytest.approx((expected.low, expected.high)) and row.verdict == rules.OPEN
    assert over_backbones("c", "t", GAIN, values + 0.1, "none", SPEC).verdict == rules.SUPPORTED
    assert over_backbones("c", "t", NOT_LESS, values - 0.2, "none", SPEC).verdict == rules.REFUTED
    few = over_backbones("c", "t", GAIN, values[:2], "none", SPEC)
    assert (
        few.verdict == rules.OPEN and few.reason == "2 backbones, too few to tell; this needs 3" and few.value == 0.025
    )
    assert over_backbones("c", "t", GAIN, values[:0], "none", SPEC).reason == "none"


def test_fewer_pairs_is_a_slope_below_nothing():
    row = {
        "recipe": "r",
        "measure": "log10 of the queries needed",
        "direction": "parameters",
        "status": "ok",
        "reason": "",
    }
    for low, high, verdict in ((-0.5, -0.1, rules.SUPPORTED), (0.1, 0.5, rules.REFUTED), (-0.5, 0.5, rules.OPEN)):
        table = pd.DataFrame([row | {"slope": (low + high) / 2, "low": low, "high": high, "n": 9}])
        assert fewer_pairs(table, "r", Rates()).verdict == verdict
    assert fewer_pairs(table, "another", Rates()).reason == ABSENT


def test_a_study_knows_what_differs_in_one_thing(tmp_path):
    """Trainings on several data sets against those on one of them, and trainings with instructions."""
    data = smoke()
    base = {"use": "own-mini", "n_negatives": 2, "max_pairs": 512}
    data["pairs"] = [{"use": "boolq", "max_pairs": 1000}, "wiki"]
    data["tasks"] = [*data["tasks"], "boolq-heldout", "wikidesc-heldout"]
    asked = {"boolq": "Ask:"}
    data["recipes"] = [
        base | {"id": "alone", "weights": {"boolq": 1}, "keep": [4]},
        base | {"id": "both", "weights": {"boolq": 1, "wiki": 2}, "max_pairs": 256},
        base | {"id": "hotter", "weights": {"wiki": 1}, "temperature": 0.1},
        base | {"id": "elsewhere", "weights": {"wiki": 1}, "checkpoints": ["d16"]},
        base | {"id": "instructed", "weights": {"boolq": 1}, "instructions": asked, "checkpoints": ["d24"]},
        base | {"id": "both-d24", "weights": {"boolq": 1, "wiki": 1}, "checkpoints": ["d24"]},
    ]
    study = load.study(written(tmp_path, data))
    pairs = of_study.of(study)
    assert pairs.trained == {"instructed": "alone"}
    assert pairs.mixed == {"both": {"boolq": "alone", "wiki": "elsewhere"}, "both-d24": {"boolq": "alone"}}
    assert pairs.own_tasks == {"boolq": ["boolq-heldout"], "wiki": ["wikidesc-heldout"]}
    assert specs.collect(study)["comparisons"]["trained"] == {"instructed": "alone"}
    assert "multi-task" in study.figures and "instructions" not in study.figures
    assert "comparisons" not in specs.collect(load.study(written(tmp_path, smoke())))


def test_a_recipe_is_paired_with_one_that_differs_in_one_thing(tmp_path):
    """The part of a mixture has its instruction, and the most pairs; the one without instructions trains a checkpoint of both."""
    data, base = smoke(), {"use": "own-mini", "n_negatives": 2, "max_pairs": 512}
    data["pairs"] = [{"use": "boolq", "max_pairs": 1000}, "wiki"]
    boolq, both, ask = (
        {"weights": {"boolq": 1}},
        {"weights": {"boolq": 1, "wiki": 1}},
        {"instructions": {"boolq": "Ask:"}},
    )

    def pairs(*recipes: dict) -> Comparisons:
        return of_study.of(load.study(written(tmp_path, data | {"recipes": [base | recipe for recipe in recipes]})))

    asked, alone, few = (
        {"id": "asked", **boolq, **ask},
        {"id": "alone", **boolq},
        {"id": "few", **boolq, "max_pairs": 64},
    )
    every, mixture = {"id": "every", **boolq, "max_pairs": None}, {"id": "both", **both}
    assert pairs(asked, alone, mixture).mixed == {"both": {"boolq": "alone"}}
    assert pairs(few, alone, mixture).mixed == {"both": {"boolq": "alone"}}
    assert pairs(alone, every, mixture).mixed == {"both": {"boolq": "every"}}
    assert pairs(alone, mixture | ask).mixed == {}
    assert pairs(asked, alone, mixture | ask).mixed == {"both": {"boolq": "asked"}}
    here, there = ({"checkpoints": [id]} for id in ("d16", "d24"))
    assert pairs(alone | here, every | there, mixture | there).mixed == {"both": {"boolq": "every"}}
    kept = {"id": "kept", **boolq, "keep": [4]}
    assert pairs(kept | here, alone | there, asked | there).trained == {"asked": "alone"}


def test_instructions_decide_where_each_query_has_its_own(tmp_path):
    """One for all queries of a task only names it."""
    data = smoke()
    aspects = {"use": "wiki-aspects", "source": {"part": {"by": "title", "start": 0.9}}}
    asked = {"use": "fiqa", "id": "fiqa-asked", "instruction": "Answer:"}
    data["tasks"] = [*data["tasks"], asked, aspects, aspects | {"id": "aspects-plain", "instructed": False}]
    pairs = of_study.of(load.study(written(tmp_path, data)))
    assert pairs.asked == {"fiqa-asked": "fiqa", "wiki-aspects": "aspects-plain"} and pairs.deciding == ["wiki-aspects"]


def test_a_study_says_what_its_mean_is_over(tmp_path):
    data = smoke() | {"tasks": ["nano-beir", "fiqa"], "mean": ["nano-beir"], "groups": {"two": ["fiqa", "nano-nq"]}}
    del data["lengths"]
    study = load.study(written(tmp_path, data))
    assert len(study.headline) == 13 and list(study.beside) == ["fiqa"] and study.groups == {"two": ["fiqa", "nano-nq"]}
    spec = specs.collect(study)
    assert spec["beside"] == {"fiqa": ["fiqa"]} and "fiqa" not in spec["headline"]
    data["groups"] = {"all": ["nano-beir", "fiqa"]}
    assert len(load.study(written(tmp_path, data)).groups["all"]) == 14
    data["mean"] = ["scifact"]
    with pytest.raises(Exception, match="mean: unknown task or group of this study 'scifact'"):
        load.study(written(tmp_path, data))


def test_families_are_judged_by_three_pairs_of_sizes_or_more():
    rows = pd.DataFrame({"checkpoint": ["x", "y", "z"], "of_size": ["1", "2", "3"], "difference": [0.02, 0.021, 0.022]})
    rows = rows.assign(of_family="a", against_family="b")
    assert between_kinds(rows[:2], SPEC) == []
    (claim,) = between_kinds(rows, SPEC)
    assert (claim.claim, claim.n, claim.verdict) == ("a-against-b", 3, rules.SUPPORTED)
    assert claim.paper == OWN  # neither paper says so
    assert estimate(asdict(claim)).endswith("on average, 3 pairs")
    # Two durations of a size are one pair of models.
    assert between_kinds(rows.assign(of_size=["1", "1", "2"]), SPEC) == []
