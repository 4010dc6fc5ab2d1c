"""Tasks that a study trains on are shown and marked, and are in no zero-shot mean; groups of one's own change none."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from test_collect_synthetic import TASKS, write_study

from retscale.audit.points import origins
from retscale.audit.walk import Walk
from retscale.collect.means import MEAN, averaged_over, compared_on, in_domain_of, means, own_tasks, tasks_of
from retscale.collect.run import run as collect
from retscale.collect.summary import CollectSummary, StudySummary
from retscale.common.tables import read_table
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.external.run import run as external
from retscale.external.summary import ExternalSummary
from retscale.figure import backbones
from retscale.figure.run import FIGURES
from retscale.figure.run import run as draw
from retscale.fit.claims import size_claims
from retscale.fit.comparisons import COLUMNS as COMPARISONS
from retscale.fit.config import Spec
from retscale.fit.dimension_claims import tokens_in_domain, tuned_for_chat
from retscale.fit.dimensions import dimensions
from retscale.fit.efficiency import COLUMNS as EFFICIENCY
from retscale.fit.error_rates import Rates
from retscale.fit.lengths import COLUMNS as LENGTHS
from retscale.fit.run import run as fit
from retscale.fit.slopes import SIZE
from retscale.report import in_domain as in_domain_metrics
from retscale.report.run import environment
from retscale.report.run import run as report
from retscale.study import check, load, specs
from retscale.study.figure_needs import missing_for

pytestmark = pytest.mark.usefixtures("svg_only")

CONFIG = Path(__file__).parents[2] / "config"


def study_of(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load((CONFIG / "smoke.yaml").read_text()) | changes))
    return load.study(path)


@pytest.mark.parametrize(("name", "zero_shot"), [("portes2025", 14), ("open-ladders", 14), ("luo2024", 13)])
def test_ms_marco_is_in_no_zero_shot_mean_of_a_study_that_trains_on_it(name, zero_shot):
    study = load.study(CONFIG / f"{name}.yaml")
    spec = specs.collect(study)
    own = ["msmarco", *(["trec-dl-2019", "trec-dl-2020"] if name == "luo2024" else [])]
    assert spec["in_domain"] == {task: [task] for task in own} and len(spec["headline"]) == zero_shot
    assert averaged_over(study) == f"{zero_shot} zero-shot tasks" and "msmarco" not in means(study)[MEAN]
    assert specs.external(study)["headline"] == list(spec["headline"])


def test_a_study_on_other_data_has_none():
    for name in ("mini", "smoke", "smollm2"):
        study = load.study(CONFIG / f"{name}.yaml")
        assert study.in_domain == {} and study.headline == study.units


def test_a_cut_of_a_training_task_is_in_domain_without_the_whole_one(tmp_path):
    pairs = {"use": "boolq", "tasks": ["msmarco"]}
    study = study_of(tmp_path, tasks=["fiqa", "msmarco-hard", "nano-msmarco"], pairs=pairs, held_out=[])
    assert list(study.in_domain) == ["msmarco-hard", "nano-msmarco"] and list(study.headline) == ["fiqa"]
    study = load.study(CONFIG / "questions/size-or-tokens.yaml")
    assert list(study.in_domain) == ["msmarco-hard"] and averaged_over(study) == "14 zero-shot tasks"


def test_what_a_task_is_called_or_read_from_changes_nothing(tmp_path):
    tasks = [
        "fiqa",
        {"use": "msmarco", "id": "part", "max_queries": 100},
        {"use": "msmarco", "id": "here", "source": {"kind": "folder", "path": "/nowhere"}},
        "trec-dl-2019",
        "NanoMSMARCORetrieval",
    ]
    pairs = {"use": "boolq", "tasks": ["MSMARCO", "trec-dl-2019", "nano-msmarco"]}
    study = study_of(tmp_path, tasks=tasks, pairs=pairs, held_out=[])
    assert list(study.in_domain) == ["part", "here", "trec-dl-2019", "nano-msmarco"]
    assert list(study.headline) == ["fiqa"]


def test_only_what_a_recipe_trains_on_counts(tmp_path):
    pairs = ["boolq", {"use": "boolq", "id": "other", "max_pairs": 10, "tasks": ["fiqa"]}]
    recipes = [{"use": "own-mini", "n_negatives": 2, "weights": {"boolq": 1}}]
    assert study_of(tmp_path, pairs=pairs, recipes=recipes).in_domain == {}
    recipes.append({"use": "own-mini", "n_negatives": 2, "id": "both", "checkpoints": ["d16"]})
    assert list(study_of(tmp_path, pairs=pairs, recipes=recipes).in_domain) == ["fiqa"]
    study = study_of(tmp_path, pairs=pairs, recipes=recipes, only=["d24"])
    assert study.in_domain == {}  # `both` trains none of these


MINI = CONFIG / "mini-luo2024.yaml"


def summary(study) -> StudySummary:
    """What readers of the tables know of a study."""
    spec = specs.collect(study)
    return StudySummary.model_validate({name: spec[name] for name in StudySummary.model_fields if name in spec})


def test_a_recipe_is_in_domain_on_what_it_trains_on():
    """The first recipe of the embedded study trains on BoolQ alone; an encoder made elsewhere is compared on the same."""
    study = summary(load.study(MINI))
    assert list(study.in_domain) == ["boolq-heldout", "wikidesc-heldout", "wiki-aspects", "wiki-aspects-plain"]
    own = {recipe: own_tasks(study, recipe) for recipe in (*study.recipes, GIVEN)}
    boolq, wiki = ["boolq-heldout"], ["wikidesc-heldout"]
    assert own.items() >= {"alone": boolq, "adapters": boolq, "wiki-alone": wiki, "mixture": boolq + wiki}.items()
    assert own["instructed"] == own["uninstructed"] == ["wiki-aspects-plain"] and own[GIVEN] == boolq
    assert compared_on(study, "alone") == (boolq, [MEAN]) and compared_on(study, "wiki-alone") == (wiki, [MEAN])
    assert in_domain_of("wiki-aspects", study, "instructed") and not in_domain_of("wiki-aspects", study, "alone")
    luo = summary(load.study(CONFIG / "luo2024.yaml"))
    assert own_tasks(luo, "luo2024-bert") == list(luo.in_domain) and luo.in_domain_by_recipe == {"gooaq-alone": []}
    for name in ("portes2025", "mini", "smoke"):  # where all recipes train on the same, no spec says so
        assert "in_domain_by_recipe" not in specs.collect(load.study(CONFIG / f"{name}.yaml"))


def points_of(study: StudySummary, recipe: str = "alone", checkpoints: tuple[str, ...] = ("d48",)) -> pd.DataFrame:
    rows = [
        (checkpoint, recipe, task, 0.3, 0.2, 0.4)
        for checkpoint in checkpoints
        for task in (*study.in_domain, *study.headline, MEAN)
    ]
    return pd.DataFrame(rows, columns=["checkpoint", "recipe", "task", "y", "low", "high"])


def test_backbones_are_compared_on_what_their_first_recipe_trains_on():
    study = summary(load.study(MINI))
    points = pd.concat(
        [
            points_of(study, checkpoints=("d48", "e48")),
            points_of(study, "mixture"),
            points_of(study, "wiki-alone", ("only-wiki",)),
            points_of(study, "untuned"),  # a control, which is no recipe of the summary
            points_of(study, GIVEN, ("made-elsewhere",)),
        ]
    )
    columns = {"efficiency": EFFICIENCY, "lengths": LENGTHS, "comparisons": COMPARISONS}
    tables = {"points": points} | {name: pd.DataFrame(columns=names) for name, names in columns.items()}
    rows = dimensions(tables, study)
    own = rows[rows["dimension"] == "in-domain"][["checkpoint", "recipe", "measure"]]
    assert set(own.itertuples(index=False, name=None)) == {
        ("d48", "alone", "boolq-heldout"),
        ("e48", "alone", "boolq-heldout"),
        ("only-wiki", "wiki-alone", "wikidesc-heldout"),
        ("made-elsewhere", GIVEN, "boolq-heldout"),
    }
    known = points[points["recipe"].isin(study.recipes)].assign(n_params=1e6)
    panels = backbones.of_each(SimpleNamespace(summary=study, points=known), 0)
    drawn = {name: set(rows["checkpoint"]) for name, rows in panels.items()}
    assert drawn == {"boolq-heldout": {"d48", "e48"}, "wikidesc-heldout": {"only-wiki"}}
    scores = known.assign(metric="recall_at_1000", value=0.5)
    shown = in_domain_metrics.rows_of(scores, study, ["d48", "only-wiki"])
    assert [task for task, label in shown["columns"] if label == "Recall@1000"] == ["boolq-heldout", "wikidesc-heldout"]
    assert [[value for value in row["values"] if value] for row in shown["rows"]] == [[0.5], [0.5]]
    assert shown["rows"][0]["values"].index(0.5) < shown["rows"][1]["values"].index(0.5)


def test_claims_on_the_training_task_are_of_the_main_recipes(tmp_path):
    """The order of tasks decides nothing: the first is in-domain for the second recipe alone."""
    base = {"use": "own-mini", "n_negatives": 2, "max_pairs": 512}
    study = study_of(
        tmp_path,
        pairs=[{"use": "boolq", "max_pairs": 1000}, "wiki"],
        tasks=["fiqa", "wikidesc-heldout", "boolq-heldout"],
        recipes=[base | {"id": "alone", "weights": {"boolq": 1}}, base | {"id": "other", "weights": {"wiki": 1}}],
    )
    known = summary(study)
    assert next(iter(known.in_domain)) == "wikidesc-heldout" and known.main_recipe == "alone"
    rng = np.random.default_rng(0)
    rows = [
        {"task": task, "checkpoint": f"c{i}", "family": "f", "size": f"{i}", "n_params": 10.0 ** (6 + i), "y": y * i}
        for i in range(6)
        for task, y in {"wikidesc-heldout": 0.0, "boolq-heldout": 0.05}.items()
    ]
    points = pd.DataFrame(rows).assign(n_tokens=1e9, flops=1e16)
    points["y"] += 0.001 * rng.normal(size=len(points))
    claim = next(
        row
        for row in size_claims(points, points.head(0), known, Spec(bootstrap=400))
        if row.claim == "larger-in-domain"
    )
    assert claim.value == pytest.approx(0.05, abs=0.005)
    about = {"path": SIZE, "recipe": "alone", "schedule": "finished", "status": "ok", "low": 0.0, "high": 0.1, "n": 6}
    slopes = pd.DataFrame({"task": ["wikidesc-heldout", "boolq-heldout"], "slope": [-0.02, 0.05]}).assign(**about)
    assert tokens_in_domain(slopes, known, Rates()).value == 0.05
    changes = pd.DataFrame({"task": ["wikidesc-heldout", "boolq-heldout"], "difference": [0.2, 0.001]})
    changes = changes.assign(against="a", against_family="f")
    assert tuned_for_chat(changes, known, Spec(bootstrap=400)).value == 0.001


def test_the_figure_in_domain_needs_a_first_recipe_that_trains_on_a_task(tmp_path):
    base = {"use": "own-mini", "n_negatives": 2, "max_pairs": 512}
    pairs = [{"use": "boolq", "max_pairs": 1000, "tasks": []}, "wiki"]
    recipes = [base | {"id": "alone", "weights": {"boolq": 1}}, base | {"id": "other", "weights": {"wiki": 1}}]
    study = study_of(tmp_path, pairs=pairs, tasks=["fiqa", "wikidesc-heldout"], recipes=recipes)
    assert list(study.in_domain) == ["wikidesc-heldout"] and missing_for(study, "in-domain")
    study = study_of(tmp_path, pairs=pairs, tasks=["fiqa", "wikidesc-heldout"], recipes=recipes[::-1])
    assert not missing_for(study, "in-domain")


def test_a_group_is_in_domain_with_any_of_its_tasks(tmp_path):
    pairs = {"use": "boolq", "tasks": ["cqadupstack-tex"]}
    study = study_of(tmp_path, tasks=["fiqa", "cqadupstack"], pairs=pairs)
    assert list(study.in_domain) == ["cqadupstack"] and len(study.in_domain["cqadupstack"]) == 12
    study = study_of(tmp_path, tasks=["fiqa", "cqadupstack"], pairs={"use": "boolq", "tasks": ["CQADupstackRetrieval"]})
    assert list(study.in_domain) == ["cqadupstack"]


def test_where_nothing_is_zero_shot_the_mean_says_so(tmp_path):
    study = study_of(tmp_path, pairs={"use": "boolq", "tasks": ["fiqa", "consumer-contracts"]})
    assert averaged_over(study) == "2 in-domain tasks"
    study = study_of(tmp_path, tasks=["fiqa"], pairs={"use": "boolq", "tasks": ["fiqa"]})
    assert averaged_over(study) == "1 in-domain task"


def test_it_makes_no_job_of_the_training_data_run_again(tmp_path):
    one, other = study_of(tmp_path), study_of(tmp_path, pairs={"use": "boolq", "max_pairs": 1000, "tasks": ["fiqa"]})
    assert specs.pairs(one, "boolq") == specs.pairs(other, "boolq")
    assert specs.collect(one) != specs.collect(other)


def test_learning_curves_may_be_of_an_in_domain_task(tmp_path):
    pairs = {"use": "boolq", "tasks": ["fiqa"]}
    assert study_of(tmp_path, pairs=pairs).curve_tasks == ["consumer-contracts"]
    assert study_of(tmp_path, pairs=pairs, curve_tasks=["fiqa"]).curve_tasks == ["fiqa"]


def test_an_unknown_task_of_training_data_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"pairs \(boolq\).tasks.0: unknown task 'MSMARKO'; did you mean 'msmarco'"):
        study_of(tmp_path, pairs={"use": "boolq", "tasks": ["MSMARKO"]})


def test_check_says_what_the_mean_is_over(tmp_path, capsys):
    pairs = {"use": "boolq", "tasks": ["fiqa"]}
    study_of(tmp_path, pairs=pairs, groups={"law": ["consumer-contracts"]})
    check.main(SimpleNamespace(study=tmp_path / "study.yaml", why=False, profile=None))
    lines = capsys.readouterr().out.splitlines()
    assert "mean         over 1 zero-shot task: consumer-contracts" in lines
    assert "in-domain    fiqa: measured, and not in the mean" in lines
    assert "group        law: the mean of consumer-contracts, beside the mean over all tasks" in lines


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ({"mine": ["fiqu"]}, "groups.mine.0: unknown task or group of this study 'fiqu'; did you mean 'fiqa'"),
        ({"mine": ["fiqa", "fiqa"]}, "groups.mine.1: fiqa is named twice"),
        ({"fiqa": ["consumer-contracts"]}, "groups.fiqa: also the name of a task or a group of the catalog"),
        ({"mean": ["fiqa"]}, "`mean` is the name of the mean over all tasks"),
        ({"mine": []}, "groups.mine: list should have at least 1 item"),
        ({"My group": ["fiqa"]}, "groups"),
    ],
)
def test_a_group_that_would_mean_nothing_is_refused(tmp_path, groups, message):
    with pytest.raises(UserError, match=message):
        study_of(tmp_path, groups=groups)


def test_a_group_may_hold_a_group_and_be_named_as_mteb_does(tmp_path):
    study = study_of(tmp_path, tasks=["fiqa", "cqadupstack"], groups={"forums": ["fiqa", "CQADupstackRetrieval"]})
    assert study.groups == {"forums": ["fiqa", "cqadupstack"]}
    assert len(tasks_of("forums", study)) == 13


SIZES = {"40k": 40_000, "160k": 160_000, "640k": 640_000}
FIVE = dict(list(TASKS.items())[:5])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A made-up study, plain and with an in-domain task and two groups, one of which lacks a score."""
    by_kind = {}
    for kind in ("plain", "marked"):
        root = tmp_path_factory.mktemp(kind)
        spec, inputs = write_study(root, sizes=SIZES, tasks=FIVE, queries=20)
        names = list(spec["headline"])
        if kind == "marked":
            spec["in_domain"] = {names[0]: spec["headline"].pop(names[0])}
            spec["groups"] = {"web": names[:2], "half": names[2:4]}
        for stage in ("collect", "fit", "figure", "report"):
            (root / stage).mkdir()
        collect(spec, inputs, root / "collect")
        given = {"collect": root / "collect" / "collect.json", "fit": root / "fit" / "fit.json"}
        fit({"bootstrap": 200}, given, root / "fit")
        by_kind[kind] = root, given, names
    return by_kind


def test_the_report_has_the_further_metrics_of_the_training_tasks(made):
    """MRR@10, Recall@10 and what the study names, of each checkpoint under its first recipe; nothing where it names none."""
    root, given, names = made["marked"]
    scores = read_table(given["collect"], "scores")
    study = CollectSummary.read(given["collect"]).model_copy(update={"recipes": ["microbatch", "paper"]})
    assert in_domain_metrics.rows_of(scores, study, ["toy-40k-5"]) == {"columns": [], "rows": []}
    deep = scores[scores["metric"] == "recall_at_100"].assign(metric="recall_at_1000")
    shown = in_domain_metrics.rows_of(pd.concat([scores, deep]), study, ["gone", "toy-40k-5"])
    assert shown["columns"] == [(names[0], label) for label in ("MRR@10", "Recall@10", "Recall@1000")]
    own = scores[
        (scores["checkpoint"] == "toy-40k-5") & (scores["recipe"] == "microbatch") & (scores["task"] == names[0])
    ]
    value = own.set_index("metric")["value"]
    assert shown["rows"] == [
        {"checkpoint": "toy-40k-5", "values": [value["mrr_at_10"], value["recall_at_10"], value["recall_at_100"]]}
    ]
    html = environment().get_template("in_domain.html").render(in_domain_metrics=shown)
    assert f"{names[0]}: Recall@1000" in html and f"{value['mrr_at_10']:.3f}" in html


def test_an_average_with_a_training_task_is_compared_as_in_domain(made):
    """`web` has one; a study whose only group is of the training data shows no zero-shot mean of it."""
    root, given, names = made["marked"]
    study = CollectSummary.read(given["collect"])
    assert compared_on(study, "paper") == ([names[0], "web"], [MEAN, "half"])
    rows = read_table(given["fit"], "dimensions").groupby("dimension")["measure"].unique().map(set)
    assert rows["in-domain"] == {names[0], "mean of web"} and rows["zero-shot"] == {"mean", "mean of half"}
    by_group = {}
    for figure in ("in-domain", "zero-shot"):
        (root / figure).mkdir()
        draw({"name": figure}, {**given, "external": None}, root / figure)
        by_group[figure] = set(pd.read_csv(next((root / figure).glob("*.csv")))["task"])
    assert by_group == {"in-domain": {names[0], "web"}, "zero-shot": {MEAN, "half"}}


def test_means_are_over_what_they_say(made):
    root, given, names = made["marked"]
    points = read_table(given["fit"], "points").query("recipe == 'paper'").set_index(["task", "checkpoint"])
    y = points["y"].unstack("task")
    np.testing.assert_allclose(y[MEAN], y[names[1:]].mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(y["web"], y[names[:2]].mean(axis=1), rtol=1e-12)
    assert (points["low"] < points["y"]).all() and (points["y"] < points["high"]).all()
    assert points["in_domain"].groupby("task").first()[lambda marked: marked].index.tolist() == [names[0], "web"]
    trends = read_table(given["fit"], "fits").query("recipe == 'paper' and form == 'log-linear'").set_index("task")
    assert trends.loc["web", "status"] == "ok" and trends.loc["web", "n"] == 9 and trends.loc["web", "in_domain"]


def test_the_claim_on_the_training_data_is_simulated_too(made):
    claims = read_table(made["marked"][1]["fit"], "claims").set_index("claim")
    assert claims.loc["tokens-in-domain", "worlds"].startswith("true: growth of 0.03 a decade of FLOPs")
    assert "tokens-in-domain" not in read_table(made["plain"][1]["fit"], "claims")["claim"].tolist()


def test_groups_and_marks_change_no_other_number(made):
    """Every estimate of a task is what it was; only the mean over fewer tasks is another."""
    names = made["plain"][2]
    for table, key in (("points", ["checkpoint", "recipe", "task"]), ("fits", ["recipe", "schedule", "task", "form"])):
        tables = [read_table(given["fit"], table) for _, given, _ in made.values()]
        plain, marked = (one[one["task"].isin(names)].drop(columns="in_domain").set_index(key) for one in tables)
        pd.testing.assert_frame_equal(plain, marked, check_exact=True)


def test_a_group_that_lacks_a_score_is_absent_and_says_which(tmp_path):
    spec, inputs = write_study(tmp_path, sizes={"40k": 40_000}, queries=12)
    names = list(spec["headline"])
    spec |= {"headline": {names[0]: [names[0]]}, "groups": {"half": names[:2]}}
    inputs["scores"] = [path for path in inputs["scores"] if not (path.stem == names[1] and "toy-40k-5" in path.parts)]
    (tmp_path / "collect").mkdir(), (tmp_path / "fit").mkdir()
    collect(spec, inputs, tmp_path / "collect")
    fit({"bootstrap": 200}, {"collect": tmp_path / "collect/collect.json"}, tmp_path / "fit")
    points = read_table(tmp_path / "fit/fit.json", "points").query("recipe == 'paper'")
    points = points.set_index(["checkpoint", "task"])
    assert points.loc[("toy-40k-5", "half"), "missing"] == names[1] and pd.isna(points.loc[("toy-40k-5", "half"), "y"])
    assert points.loc[("toy-40k-10", "half"), "y"] > 0 and points.loc[("toy-40k-5", MEAN), "y"] > 0


@pytest.mark.slow
def test_figures_and_report_say_what_is_in_domain(made):
    root, given, names = made["marked"]
    for name in FIGURES:
        draw({"name": name, "dpi": 72}, given, root / "figure")
    caption = {name: (root / "figure" / f"{name}.md").read_text() for name in FIGURES}
    for name in ("1a", "1b"):
        assert "over 4 zero-shot tasks" in caption[name]
    assert set(pd.read_csv(root / "figure" / "2.csv")["task"]) == set(names)
    assert "In-domain: the encoders were trained on data of this kind" in caption["2"]
    assert f"{names[0]} (in-domain): slope per decade" in (root / "figure" / "2.txt").read_text()
    assert f"over {names[0]} (in-domain), {names[1]} of encoders kept" in caption["curves"]
    inputs = given | {"figures": [root / "figure" / f"{name}.png" for name in FIGURES], "tasks": [], "pairs": []}
    report({}, inputs, root / "report")
    page = (root / "report" / "report.html").read_text()
    assert "5 retrieval tasks" in page and "over 4 zero-shot tasks" in page
    assert f"; {names[0]} is left out of it, since encoders of some recipe were trained on data of that kind." in page
    assert f"web: the mean of {names[0]}, {names[1]}." in page and "web nDCG@10, paper" in page
    assert f'<th scope="row">{names[0]} (in-domain)</th>' in page and "of 4 tasks</strong>" in page
    assert f'<th scope="col" class="n">{names[0]} (in-domain)</th><th scope="col" class="n">{names[1]}</th>' in page


@pytest.mark.slow
def test_a_study_without_them_says_nothing_of_them(made):
    root, given, names = made["plain"]
    figures = [name for name in FIGURES if name != "in-domain"]  # which such a study has not
    for name in figures:
        draw({"name": name, "dpi": 72}, given, root / "figure")
        assert "n-domain" not in (root / "figure" / f"{name}.md").read_text()
    inputs = given | {"figures": [root / "figure" / f"{name}.png" for name in figures], "tasks": [], "pairs": []}
    report({}, inputs, root / "report")
    page = (root / "report" / "report.html").read_text()
    assert "n-domain" not in page and "over 5 zero-shot tasks" in page


def test_the_audit_names_the_files_of_each_mean(made):
    root, _, names = made["marked"]
    files = origins(root, Walk([]))
    for task, behind in {MEAN: names[1:], "web": names[:2]}.items():
        mark = {"checkpoint": "toy-40k-5", "recipe": "paper", "task": task, "file": ""}
        listed = {line.split()[0].rpartition("/")[2] for line in files(mark) if "/evaluate/" in line}
        assert listed == {f"{name}.json" for name in behind}, task


def test_published_points_are_averaged_over_the_same_tasks(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("model,task,ndcg_at_10\na,fiqa,0.9\na,consumer-contracts,0.3\na,MSMARCO,0.1\n")
    entry = {"table": str(table), "source": "s"}
    study = study_of(tmp_path, pairs={"use": "boolq", "tasks": ["fiqa"]}, external=entry)
    out = tmp_path / "results/s/external/work"
    out.mkdir(parents=True)
    external(json.loads(json.dumps(specs.external(study))), {"tables": [table]}, out)
    y = read_table(out / "external.json", "external").set_index("task")["y"].to_dict()
    assert y == {"fiqa": 0.9, "consumer-contracts": 0.3, "mean": 0.3}
    assert ExternalSummary.read(out / "external.json").tables[0].elsewhere == 1
