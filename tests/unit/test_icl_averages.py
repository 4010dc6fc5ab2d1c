"""Averages of the gauntlet from results to report: the second axis, what is absent, what is said of tasks."""

import json
from pathlib import Path

import pytest
import yaml
from test_collect_synthetic import ICL_TASKS, write_study
from test_report import SPEC, made, page

from retscale import cli
from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.fit.points import icl_points
from retscale.fit.run import run as fit
from retscale.report.in_context import gauntlets
from retscale.study import catalog

pytestmark = pytest.mark.usefixtures("svg_only")

FIRST, SECOND, *REST = ICL_TASKS
SMALL = {"sizes": {"40k": 40_000, "160k": 160_000}, "levels": (5, 10), "queries": 12}
VERSION = {
    "categories": {"knowing": [FIRST, SECOND], "reading": REST, "coding": ["human_eval.0"]},
    "averages": {"core_average": ["knowing", "reading"], "with_code": ["knowing", "reading", "coding"]},
}


@pytest.fixture
def study(tmp_path):
    spec, inputs = write_study(tmp_path / "results", **SMALL)
    (tmp_path / "collect").mkdir()
    return spec | {"averages": {"v": VERSION}}, inputs, tmp_path / "collect"


def test_a_version_may_have_baselines_of_its_own(study):
    """(value - baseline) / (1 - baseline), with the standard error of the value; the task's own score stays."""
    spec, inputs, out = study
    core = {"categories": {"core": list(ICL_TASKS)}, "averages": {"core": ["core"]}, "baselines": {FIRST: 0.4}}
    collect(spec | {"averages": {"v": VERSION, "own": core}}, inputs, out)
    icl, averages = (read_table(out / "collect.json", name) for name in ("icl", "icl_averages"))
    checkpoint = averages["checkpoint"][0]
    tasks = icl[icl["checkpoint"] == checkpoint].set_index("task")
    scores, errors = tasks["score"].to_dict(), (tasks["stderr"] / (1 - tasks["baseline"])).to_dict()
    assert tasks.loc[FIRST, "baseline"] != 0.4
    scores[FIRST], errors[FIRST] = (tasks.loc[FIRST, "value"] - 0.4) / 0.6, tasks.loc[FIRST, "stderr"] / 0.6
    mean = (
        averages[(averages["checkpoint"] == checkpoint) & (averages["gauntlet"] == "own")].set_index("name").loc["core"]
    )
    assert mean["score"] == pytest.approx(sum(scores.values()) / len(scores))
    expected = sum(error**2 for error in errors.values()) ** 0.5 / len(errors)
    assert mean["stderr"] == pytest.approx(expected)


def test_core_lacking_one_of_22_tasks_is_absent_and_names_it(tmp_path, monkeypatch):
    """hellaswag counts twice, by its two numbers of shots; a checkpoint counts once in what is made of the average."""
    version = catalog.gauntlet("dclm-core-v1")
    ids = version["categories"]["core"]
    assert len(ids) == 22 and {"hellaswag.0", "hellaswag.10"} < set(ids)
    monkeypatch.setattr("test_collect_synthetic.ICL_TASKS", {id: rank / 100 for rank, id in enumerate(ids)})
    spec, inputs = write_study(tmp_path / "results", **SMALL)
    lacking = next(path for path in inputs["icl"] if path.name == "hellaswag.10.json")
    inputs["icl"].remove(lacking)
    (tmp_path / "collect").mkdir(), (tmp_path / "fit").mkdir()
    collect(spec | {"averages": {"dclm-core-v1": version}}, inputs, tmp_path / "collect")
    icl, averages = (read_table(tmp_path / "collect/collect.json", name) for name in ("icl", "icl_averages"))
    one = averages.set_index("checkpoint")
    assert len(one) == 4 and (one["kind"] == "average").all() and (one["name"] == "core").all()
    assert one["missing"].to_dict() == {name: "hellaswag.10" * (name == lacking.parent.name) for name in one.index}
    assert one.index[one["score"].isna()].tolist() == [lacking.parent.name]
    for name in one.index.drop(lacking.parent.name):
        tasks = icl[icl["checkpoint"] == name].set_index("task")
        baselines = tasks["baseline"].to_dict() | version["baselines"]
        scores = [(row.value - baselines[task]) / (1 - baselines[task]) for task, row in tasks.iterrows()]
        assert len(scores) == 22 and one.loc[name, "score"] == pytest.approx(sum(scores) / 22, rel=1e-12)
    (table,) = gauntlets(read_table(tmp_path / "collect/collect.json", "checkpoints"), averages)
    assert (table["names"], table["absent"]) == (["core"], {"core": "hellaswag.10"})
    fit({"bootstrap": 200}, {"collect": tmp_path / "collect/collect.json"}, tmp_path / "fit")
    rows = read_table(tmp_path / "fit/fit.json", "correlations").query("headline and about == 'icl-retrieval'")
    assert set(rows["n"]) == {3}


def unscored(path):
    """The result of programs that were generated and not run."""
    result = json.loads(path.read_text())
    result |= {"task": "human_eval.0", "type": "code_evaluation", "value": None, "score": None, "stderr": None}
    other = path.with_name("human_eval.0.json")
    other.write_text(json.dumps(result | {"executed": False, "odd": [], "baseline": 0}))
    return other


def test_the_core_average_is_the_second_axis_and_a_missing_benchmark_makes_absent(study):
    spec, inputs, out = study
    inputs = inputs | {"icl": [*inputs["icl"], unscored(inputs["icl"][0])]}
    collect(spec, inputs, out)
    icl, averages = (read_table(out / "collect.json", name) for name in ("icl", "icl_averages"))
    checkpoint = json.loads(inputs["icl"][0].read_text())["checkpoint"]
    own = averages[averages["checkpoint"] == checkpoint].set_index("name")
    scores = icl[icl["checkpoint"] == checkpoint].set_index("task")["score"]
    knowing, reading = scores[[FIRST, SECOND]].mean(), scores[REST].mean()
    assert own.loc["core_average", "score"] == pytest.approx((knowing + reading) / 2)
    assert own.loc["coding", "missing"] == "human_eval.0" and own.loc["with_code", "missing"] == "coding"
    assert own["score"].isna().sum() == 2
    points = icl_points(icl, averages).set_index(["checkpoint", "task"])["score"]
    assert points[checkpoint, "mean"] == points[checkpoint, "v/core_average"] == own.loc["core_average", "score"]
    assert (checkpoint, "human_eval.0") not in points.index
    (out.parent / "fit").mkdir()
    fit({"bootstrap": 200}, {"collect": out / "collect.json"}, out.parent / "fit")
    assert json.loads((out.parent / "fit" / "fit.json").read_text())["icl_headline"] == "v/core_average"


def test_only_programs_may_go_without_a_score(study):
    spec, inputs, out = study
    path = inputs["icl"][0]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"value": None}))
    with pytest.raises(UserError, match="value is None and score "):
        collect(spec, inputs, out)


@pytest.mark.slow
@pytest.mark.parametrize("executed", [False, True])
def test_the_report_names_what_is_absent_odd_and_run_or_not(tmp_path, monkeypatch, executed):
    def with_averages(root, **options):
        spec, inputs = write_study(root / "results", **options)
        path = inputs["icl"][0]
        odd = {"odd": ["the right choice is always number 0: a model that ties on every item scores 1"], "tied": 7}
        path.write_text(json.dumps(json.loads(path.read_text()) | odd))
        (root / "collect").mkdir()
        inputs = inputs | {"icl": [*inputs["icl"], unscored(path)]}
        if executed:
            program = json.loads(inputs["icl"][-1].read_text()) | {"executed": True, "value": 0.5, "score": 0.5}
            inputs["icl"][-1].write_text(json.dumps(program))
        collect(spec | {"averages": {"v": VERSION}}, inputs, root / "collect")
        return root / "collect" / "collect.json"

    monkeypatch.setattr("test_report.collected", with_averages)
    text = page(made(tmp_path, **SMALL), tmp_path / "out", SPEC)
    assert "Averages of v, with standard errors" in text
    assert "coding (human_eval.0); with code (coding)." in text and ">absent<" in text
    assert "a model that ties on every item scores 1" in text and "best choices tie in up to 7 items" in text
    assert ("so none were generated, and it has no score" in text) is not executed
    assert ("generated programs were run, in a sandbox without network" in text) is executed


def test_check_names_what_a_requested_average_lacks_before_anything_runs(tmp_path, capsys):
    written = yaml.safe_load((Path(__file__).parents[2] / "config/smoke.yaml").read_text())
    programs = ["human_eval", "human_eval_cpp", "human_eval_js", "human_eval_return_simple"]
    programs += ["human_eval_return_complex", "human_eval_25", "human_eval_50", "human_eval_75"]
    all_programs = f"coding (no {', '.join(f'{name}.0' for name in programs)}); core_average (no coding)"

    def said(**more) -> list[str]:
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(written | more))
        assert cli.main(["check", str(tmp_path / "study.yaml")]) == 0
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("averages")]

    both = {"averages": ["gauntlet-v0.3", "gauntlet-v0.3-code"]}
    assert said(icl=["gauntlet-v0.3-code"], **both) == [
        "averages     gauntlet-v0.3",
        f"averages     gauntlet-v0.3-code, without {all_programs}",
    ]
    run = [{"use": "gauntlet-v0.3-code", "execute": True}]
    assert said(icl=run, averages=["gauntlet-v0.3-code"]) == ["averages     gauntlet-v0.3-code"]
    (line,) = said(icl=[{"use": "gauntlet.piqa", "id": "piqa.0"}], averages=["gauntlet-v0.3"])
    assert "commonsense_reasoning (no copa.0, siqa.3, commonsense_qa.0, openbook_qa.10, bigbench_strange" in line
    assert said() == []
