"""A made-up study with seeds through collect, fit and figures: what the tables keep, and what is joined."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from test_collect_synthetic import TASKS, write_encoder, write_evaluation, write_study

from retscale.audit import figures as audit_figures
from retscale.audit import grid as audit_grid
from retscale.audit import points as audit_points
from retscale.audit import tables as audit_tables
from retscale.cli import main
from retscale.collect.repeats import Repeats
from retscale.collect.run import run as collect
from retscale.collect.summary import CollectSummary
from retscale.common.tables import read_table, write_tables
from retscale.exchange.card import scores_of
from retscale.figure import curves as learning
from retscale.figure import efficiency, fig1a, training
from retscale.figure.config import FigureConfig
from retscale.figure.data import Tables
from retscale.fit import claims, two_step
from retscale.fit.points import KEY
from retscale.fit.run import run as fit
from retscale.fit.summary import FitSummary
from retscale.lineage.graph import graph
from retscale.report import analysis, dimensions, scores
from retscale.report.checklist import repeated
from retscale.report.results import Results
from retscale.report.run import environment

REPEATED, SEEDS = ("toy-40k-5", "toy-160k-5"), (2, 3)
FEW = {task: TASKS[task] for task in ("alpha", "beta")}
SIZES = {"40k": 40_000, "160k": 160_000, "640k": 640_000}
SEED_SD = 0.03
SEEN = {}  # what a claim was made from


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> tuple[Path, Path]:
    """collect.json and fit.json of two repeated checkpoints among six."""
    root, rng = tmp_path_factory.mktemp("study"), np.random.default_rng(5)
    spec, inputs = write_study(root, sizes=SIZES, levels=(5, 20), tasks=FEW)
    for checkpoint in REPEATED:
        for recipe in (f"paper.seed-{seed}" for seed in SEEDS):
            path = write_encoder(root / "finetune" / checkpoint / recipe, checkpoint, "paper", 0.0)
            encoder = json.loads(path.read_text())
            encoder["recipe"]["id"] = recipe
            path.write_text(json.dumps(encoder))
            inputs["encoders"].append(path)
            for task in FEW:
                folder, mean = root / "evaluate" / checkpoint / recipe, 0.2 + rng.normal(0, SEED_SD)
                inputs["scores"].append(write_evaluation(folder, checkpoint, recipe, task, mean, 60, rng))
                for step, part in {10: 0.5, 20: 0.8}.items():
                    kept = folder / f"step-{step}", checkpoint, recipe, task, part * mean, 60
                    inputs["kept"].append(
                        write_evaluation(*kept, np.random.default_rng([step, len(inputs["kept"])]), step)
                    )
    spec |= {"seed": 1, "repeats": {"recipes": {f"paper.seed-{s}": {"of": "paper", "seed": s} for s in SEEDS}}}
    (root / "collect").mkdir()
    collect(spec, inputs, root / "collect")
    (root / "fit").mkdir()
    early = claims.early
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(claims, "early", lambda *of: SEEN.setdefault("early", early(*of)))
        fit({"bootstrap": 200, "seed": 1}, {"collect": root / "collect/collect.json"}, root / "fit")
    return root / "collect/collect.json", root / "fit/fit.json"


def test_every_table_keeps_the_seed(study):
    for name in ("scores", "per_query", "training", "curves"):
        table = read_table(study[0], name)
        seeds = table["recipe"].map({"paper": 1, "microbatch": 1} | {f"paper.seed-{seed}": seed for seed in SEEDS})
        assert (table["seed"] == seeds).all(), name
        assert set(table["seed"]) == {1, 2, 3}, name
    assert CollectSummary.read(study[0]).recipes == ["paper", "microbatch"]


def test_a_point_is_the_mean_of_its_trainings_and_its_interval_knows_them(study):
    points, trainings = read_table(study[1], "points"), read_table(study[1], "trainings")
    assert set(points["recipe"]) == {"paper", "microbatch"} and not points.duplicated(KEY).any()
    several = points[points["seeds"] == 3]
    assert set(several["checkpoint"]) == set(REPEATED) and set(several["recipe"]) == {"paper"}
    for row in several.itertuples():
        own = trainings.query("of_checkpoint == @row.checkpoint and of_recipe == 'paper' and task == @row.task")
        assert sorted(own["recipe"]) == ["paper", "paper.seed-2", "paper.seed-3"]
        assert row.y == pytest.approx(own["y"].mean()) and not isinstance(row.file, str)
    spread = (
        read_table(study[1], "variance").query("recipe == 'paper' and task == 'alpha'").set_index("source")["variance"]
    )
    of_task = points.query("recipe == 'paper' and task == 'alpha'")
    for row in of_task.itertuples():
        least = (spread["fine-tuning seed"] / row.seeds + 0.3 * spread["query"]) ** 0.5
        assert row.high - row.y > 1.96 * least
    alone = points.query("recipe == 'microbatch' and task == 'alpha'").iloc[0]
    scores = read_table(study[0], "scores").query("checkpoint == @alone.checkpoint and recipe == 'microbatch'")
    assert alone["seeds"] == 1 and alone["file"] in set(scores["file"])


def test_the_noise_of_seeds_is_found_and_stands_beside_comparisons(study):
    variance = read_table(study[1], "variance").query("recipe == 'paper'").set_index(["task", "source"])
    row = variance.loc["alpha", "fine-tuning seed"]
    assert (row["status"], row["df"]) == ("ok", 4) and row["low"] < SEED_SD**2 < row["high"]
    assert set(read_table(study[1], "noise").query("recipe == 'paper' and source == 'seed'")["status"]) == {"ok"}
    other = read_table(study[1], "variance").query("recipe == 'microbatch' and source == 'fine-tuning seed'")
    assert set(other["reason"]) == {"each checkpoint was fine-tuned with one seed"}
    ablation = read_table(study[1], "ablation")
    assert set(ablation["recipe"]) == {"microbatch"}  # a repeat is no other recipe
    known = ablation[ablation["task"] == "alpha"]
    assert set(known["detectable_knows"]) == {"queries and seeds"}
    assert set(known["method"]) == {"queries and seeds; Student's t"}
    several, single = (
        known[known["checkpoint"].isin(REPEATED) == is_one]["detectable"].mean() for is_one in (True, False)
    )
    assert several < single


def test_reliability_counts_the_noise_of_seeds(study):
    variance = (
        read_table(study[1], "variance").query("recipe == 'paper' and task == 'alpha'").set_index("source")["variance"]
    )
    reliability = read_table(study[1], "reliability").query("recipe == 'paper' and task == 'alpha'").iloc[0]
    seeds = variance["fine-tuning seed"] * (4 + 2 / 3) / 6  # two of six are means of three
    assert seeds + 0.3 * variance["query"] < reliability["noise_variance"] < seeds + 1.2 * variance["query"]


def test_the_entropy_of_a_point_is_the_mean_of_its_trainings(study, monkeypatch):
    seen = {}

    def steps(ladder, entropy, alpha):
        seen[len(seen)] = entropy
        return []

    monkeypatch.setattr(two_step, "steps", steps)
    scores = read_table(study[0], "scores")
    points = read_table(study[1], "points").query("recipe == 'paper' and task == 'alpha' and checkpoint in @REPEATED")
    two_step.two_step(points, scores, CollectSummary.read(study[0]), 0.05)
    rows = scores[
        scores["recipe"].str.startswith("paper") & (scores["task"] == "alpha") & (scores["metric"] == "ndcg_at_10")
    ]
    means = rows.groupby("checkpoint")["contrastive_entropy"].mean()
    assert seen[0] == pytest.approx([means[name] for name in points["checkpoint"]])


def test_figures_show_trainings_beside_their_mean_and_curves_of_the_first_alone(study):
    tables = Tables(*study)
    drawn = fig1a.draw(tables, FigureConfig())
    assert "over queries and seeds" in drawn.caption and "Dashes: each training" in drawn.caption
    assert sorted(drawn.marks.query("checkpoint == 'toy-40k-5'")["recipe"]) == ["paper"] * 2 + [
        "paper.seed-2",
        "paper.seed-3",
    ]
    assert set(training.draw(tables, FigureConfig()).marks["recipe"]) == {"paper", "microbatch"}


def test_data_efficiency_is_of_the_mean_of_trainings(study):
    table, curves = read_table(study[1], "efficiency"), read_table(study[0], "curves")
    assert len(table) == 6 * 3 and set(table["recipe"]) == {"paper"} and not table.duplicated(KEY).any()
    ends = curves.query("metric == 'ndcg_at_10' and checkpoint in @REPEATED").groupby([*KEY, "step"])["value"].first()
    several = table[table["seeds"] == 3].set_index(KEY)
    assert set(several.index.get_level_values("checkpoint")) == set(REPEATED)
    for checkpoint in REPEATED:
        trainings = [ends[checkpoint, recipe, "alpha"] for recipe in ("paper", "paper.seed-2", "paper.seed-3")]
        row = several.loc[(checkpoint, "paper", "alpha")]
        assert row["y_first"] == pytest.approx(np.mean([one.iloc[0] for one in trainings]))
        assert row["y_last"] == pytest.approx(np.mean([one.iloc[-1] for one in trainings]))
    assert {*table["area_knows"], *table["needed_knows"]} == {"queries and seeds"}
    trends = read_table(study[1], "efficiency_trends")
    assert (set(trends["recipe"]), set(trends["n"])) == ({"paper"}, {6})
    assert "intervals over test queries and seeds." in efficiency.draw(Tables(*study), FigureConfig()).caption


@pytest.mark.parametrize(
    ("knows", "words"),
    [
        (["queries"] * 2, "test queries"),
        (["queries and seeds"] * 2, "test queries and seeds"),
        (["queries", "queries and seeds"], "test queries, and over seeds where a recipe has several"),
    ],
)
def test_the_caption_says_over_what_intervals_of_data_efficiency_are(knows, words):
    assert efficiency.over(pd.DataFrame({"area_knows": knows, "needed_knows": knows})) == words


def test_a_learning_curve_is_the_mean_of_its_trainings(study, tmp_path):
    marks = learning.draw(Tables(*study), FigureConfig()).marks
    assert set(marks["recipe"]) == {"paper"} and not marks.duplicated(["checkpoint", "step"]).any()
    rows = read_table(study[0], "curves").query("metric == 'ndcg_at_10' and recipe != 'microbatch'")
    means = rows.groupby(["checkpoint", "step"])["value"].mean()
    assert list(marks["y"]) == pytest.approx([means[row.checkpoint, row.step] for row in marks.itertuples()])
    marks.to_csv(tmp_path / "curves.csv", index=False)
    files = [SimpleNamespace(name=name, path=path) for name, path in zip(("collect", "fit"), study, strict=True)]
    node = SimpleNamespace(inputs=files, primary=tmp_path / "curves.png", stage="figure")
    assert list(audit_figures._lines(node)) == []
    mark = {"checkpoint": REPEATED[0], "recipe": "paper", "step": "10", "task": "alpha, beta"}
    nothing = SimpleNamespace(nodes={}, hashed={}, findings=SimpleNamespace(problems={}))
    lines = audit_points.origins(study[0].parent.parent, nothing)(mark)
    for recipe in ("paper", "paper.seed-2", "paper.seed-3"):
        assert any(f"/evaluate/{REPEATED[0]}/{recipe}/step-10/alpha.json" in line for line in lines)
    claimed = SEEN["early"]
    assert len(claimed) == 6
    assert list(claimed["y"]) == pytest.approx([means[row.checkpoint, 10] for row in claimed.itertuples()])


def test_an_audit_follows_a_point_to_all_of_its_trainings(study, tmp_path):
    root = study[0].parent.parent
    nothing = SimpleNamespace(nodes={}, hashed={}, findings=SimpleNamespace(problems={}))
    mark = {"checkpoint": "toy-40k-5", "recipe": "paper", "task": "mean"}
    lines = audit_points.origins(root, nothing)(mark)
    for recipe in ("paper", "paper.seed-2", "paper.seed-3"):
        assert any(f"/finetune/toy-40k-5/{recipe}/encoder.json" in line for line in lines)
        assert any(f"/evaluate/toy-40k-5/{recipe}/alpha.json" in line for line in lines)
    rows = [
        SimpleNamespace(name="collect", path=study[0], record=None),
        SimpleNamespace(name="fit", path=study[1], record=None),
    ]
    node = SimpleNamespace(inputs=rows, spec={"metric": "ndcg_at_10"}, primary=study[1], path=study[1], stage="fit")
    assert list(audit_tables.check(node, nothing)) == []
    marks = fig1a.draw(Tables(*study), FigureConfig()).marks
    marks.to_csv(tmp_path / "1a.csv", index=False)
    figure = SimpleNamespace(inputs=rows, primary=tmp_path / "1a.png", stage="figure")
    assert list(audit_figures._marks(figure)) == []
    marks.assign(y=marks["y"].where(marks["recipe"] != "paper.seed-3", 0.5)).to_csv(tmp_path / "1a.csv", index=False)
    assert ["y is 0.5, but the point says" in line for _, line in audit_figures._marks(figure)] == [True]


def test_an_audit_misses_no_in_context_score_of_a_repeated_pretraining():
    place = SimpleNamespace(names={"checkpoint": "c", "task": "copy"})
    spec = {"headline": {}, "in_domain": {}, "checkpoints": {"c": {}, "c.seed-2": {}}}
    rows = {Path("icl.record.json"): [SimpleNamespace(name="icl")]}
    walked = SimpleNamespace(nodes={Path("icl.record.json"): SimpleNamespace(place=place)})
    repeats = {"repeats": {"checkpoints": {"c.seed-2": {"of": "c", "seed": 2}}}}
    for known, problems in (({}, 1), (repeats, 0)):
        node = SimpleNamespace(stage="collect", spec=spec | known, by_source=rows, path=Path("collect.json"))
        assert len(list(audit_grid.check(node, walked))) == problems


def test_an_audit_sees_a_point_that_is_not_the_mean_of_its_trainings(study, tmp_path):
    points = read_table(study[1], "points")
    wrong = points.assign(y=points["y"].where(points["seeds"] == 1, points["y"] + 0.01))
    files = {"points": wrong, "trainings": read_table(study[1], "trainings")}
    write_tables(tmp_path / "fit.json", FitSummary, files, FitSummary.read(study[1]).model_dump(exclude={"files"}))
    rows = [SimpleNamespace(name="collect", path=study[0], record=None)]
    fit_json = tmp_path / "fit.json"
    node = SimpleNamespace(inputs=rows, spec={"metric": "ndcg_at_10"}, primary=fit_json, path=fit_json, stage="fit")
    [(path, message)] = audit_tables.check(node, None)
    assert path.name == "points.parquet" and "whose scores give" in message


def test_compare_knows_the_seeds_of_the_study_that_results_lie_in(study, capsys):
    evaluate = study[0].parent.parent / "evaluate"
    assert main(["compare", str(evaluate / "toy-40k-5/paper"), str(evaluate / "toy-40k-5/microbatch"), "alpha"]) == 0
    assert "knowing queries and seeds" in capsys.readouterr().out
    assert (
        main(["compare", *(str(evaluate / f"toy-40k-5/{name}") for name in ("paper.seed-2", "paper.seed-3")), "alpha"])
        == 0
    )
    assert "knowing queries and seeds" in capsys.readouterr().out
    arguments = ["compare", *(str(evaluate / f"toy-40k-5/{name}") for name in ("paper", "microbatch")), "alpha"]
    assert main([*arguments, "--metric", "mrr_at_10"]) == 0
    assert "knowing queries alone" in capsys.readouterr().out


def test_the_report_splits_the_variance_and_lists_no_repeat_as_a_recipe(study):
    results = Results(*study)
    rows = analysis.variance(results)
    assert [row["source"] for row in rows if row["task"] == "mean"] == ["query", "fine-tuning seed", "checkpoint"]
    assert {row["detectable_knows"] for row in analysis.comparisons(results)} == {"queries and seeds"}
    assert len(scores.score_table(results)["rows"]) == 6
    assert repeated(results) == "; ".join(f"{name} by paper, 3 trainings" for name in sorted(REPEATED))


def test_the_page_of_dimensions_says_over_what_its_intervals_are(study):
    results = Results(*study)
    shown = dimensions.table(results.table("dimensions"), results.checkpoints)
    page = environment().get_template("dimensions.html")
    about = {"dimensions": shown, "metric": results.metric, "percent": results.percent}
    about["equals"] = dimensions.equals(results.table("comparisons"))
    assert "over seeds as well where a recipe has several." in page.render(about, study=results.study)
    alone = results.study.model_copy(update={"repeats": Repeats()})
    assert "Intervals of 95% over queries.<" in page.render(about, study=alone)


def test_a_card_is_of_one_training(study):
    own, over = scores_of(study[1], REPEATED[0], "paper")
    again, _ = scores_of(study[1], REPEATED[0], "paper.seed-2")
    points = read_table(study[1], "points").query("checkpoint == @REPEATED[0] and recipe == 'paper'")
    assert over == "queries" and len(own) == len(again) == len(points)
    assert not np.isclose(own["y"], points["y"]).any() and not np.isclose(own["y"], again["y"]).any()
    assert scores_of(study[1], "toy-640k-5", "paper")[1] == "queries and seeds"


def test_repeats_share_a_box_with_what_they_repeat():
    def record(stage: str, spec: dict) -> dict:
        return {"stage": stage, "spec": spec, "inputs": [], "outputs": []}

    collected = {"repeats": {"recipes": {"paper.seed-2": {"of": "paper", "seed": 2}}}}
    records = {Path("results/s/collect/collect.record.json"): record("collect", collected)}
    for recipe in ("paper", "paper.seed-2"):
        path = Path("results/s/finetune/c", recipe, "encoder.record.json")
        records[path] = record("finetune", {"recipe": {"id": recipe}})
    assert [box.group.kind for box in graph(records).boxes.values() if box.group.stage == "finetune"] == ["paper"]
