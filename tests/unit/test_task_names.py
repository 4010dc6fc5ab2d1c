"""Names of tasks: mteb's are understood, published tables find a task under any of its names, and hints are short."""

from pathlib import Path

import pytest
import yaml

from retscale.common.phrase import counted, hint
from retscale.errors import UserError
from retscale.study import catalog, load, names

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"


def study_of(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))
    return load.study(path)


def refused(tmp_path, **changes) -> str:
    with pytest.raises(UserError) as error:
        study_of(tmp_path, **changes)
    return str(error.value)


@pytest.mark.parametrize(
    ("mteb", "ours"),
    [("SciFact", "scifact"), ("NFCorpus", "nfcorpus"), ("MSMARCO", "msmarco"), ("FiQA2018", "beir-fiqa")],
)
def test_a_task_may_be_named_as_mteb_does(tmp_path, mteb, ours):
    study = study_of(tmp_path, tasks=[mteb, "fiqa"], groups={"both": [mteb, "fiqa"]})
    assert list(study.tasks) == [ours, "fiqa"] and study.groups == {"both": [ours, "fiqa"]}
    assert list(study_of(tmp_path, tasks=[{"use": mteb, "max_queries": 9}]).tasks) == [ours]
    assert study_of(tmp_path, tasks=[mteb, "fiqa"], curve_tasks=[mteb]).curve_tasks == [ours]
    assert "the id 'scifact' is given twice" in refused(tmp_path, tasks=["SciFact", "scifact"])


def test_mtebs_name_of_a_group_is_the_group(tmp_path):
    study = study_of(tmp_path, tasks=["CQADupstackRetrieval", "fiqa"])
    assert study.tasks.keys() == {*catalog.suites()["cqadupstack"], "fiqa"}
    assert list(study.units) == ["cqadupstack", "fiqa"]
    assert names.published(study)["CQADupstackRetrieval"] == "cqadupstack"


def test_every_name_of_mteb_means_one_entry():
    named = [entry["source"]["name"] for entry in catalog.entries("task").values() if entry["source"]["kind"] == "mteb"]
    assert len(named) == len(set(named)) and not set(named) & catalog.entries("task").keys()


@pytest.mark.parametrize(
    ("tasks", "means"),
    [
        (["scifact"], {"SciFact": "scifact", "scifact": "scifact"}),
        ([{"use": "scifact", "source": {"kind": "folder", "path": "/a"}}], {"SciFact": "scifact"}),
        (
            [{"use": "scifact", "id": "mine", "source": {"kind": "folder", "path": "/a"}}],
            {"SciFact": "mine", "scifact": "mine"},
        ),
        ([{"use": "scifact", "id": "few", "max_queries": 5}], {"SciFact": "few", "scifact": "few"}),
        (["scifact", {"use": "scifact", "id": "few", "max_queries": 5}], {"SciFact": "scifact"}),
        (["nq"], {"NQ": "nq", "SciFact": None, "scifact": None, "CQADupstackRetrieval": None, "cqadupstack": None}),
    ],
)
def test_published_tables_find_a_task_under_any_of_its_names(tmp_path, tasks, means):
    published = names.published(study_of(tmp_path, tasks=tasks))
    assert {name: published[name] for name in means} == means


def test_a_name_of_several_tasks_means_none_of_them(tmp_path):
    published = names.published(study_of(tmp_path, tasks=["long-embed"]))
    assert "LEMBNeedleRetrieval" not in published and published["LEMBQMSumRetrieval"] == "lemb-qmsum"


@pytest.mark.parametrize(
    "changes",
    [{"tasks": ["no-such-task-at-all"]}, {"held_out": ["qqqqqqq"]}, {"checkpoints": ["qqq"]}, {"icl": ["qqqq"]}],
)
def test_a_name_like_no_other_gets_a_short_answer(tmp_path, changes):
    message = refused(tmp_path, **changes)
    assert len(message) < 400 and "\n" not in message and "known: " in message and "config/catalog" in message


def test_hints():
    assert hint("MSMARKO", ["msmarco", "nq"]) == "; did you mean 'msmarco'?"
    assert hint("x", ["b", "a"]) == "; known: a, b" and hint("x", []) == "; known: none"
    many = [f"task-{i}" for i in range(2000)]
    assert hint("zz9", many, "the file").startswith("; the nearest of 2,000 known: ") and len(hint("zz9", many)) < 120
    assert hint("zz9", many, "the file").endswith("; the file has all")


def test_counts_agree_with_their_nouns():
    assert [counted(n, "task") for n in (0, 1, 2, 1000)] == ["0 tasks", "1 task", "2 tasks", "1,000 tasks"]
    assert [counted(n, "query") for n in (1, 2)] == ["1 query", "2 queries"]
