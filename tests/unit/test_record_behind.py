"""What stands behind a result: what identifies it, and the versions of the code that made it."""

from pathlib import Path

import pytest
from test_collect_synthetic import write_study
from test_record import made

from retscale.collect.run import run as collect
from retscale.provenance import behind, record
from retscale.report.origin import listed, mixed


@pytest.fixture
def results(tmp_path) -> dict[str, Path]:
    """A table of two evaluations of one encoder, by stage: each with its record."""
    encoder, table = tmp_path / "encoder/task.json", tmp_path / "collect/task.json"
    scores = [tmp_path / f"evaluate/{name}/task.json" for name in "ab"]
    made(encoder.parent, stage="finetune")
    for path in scores:
        made(path.parent, record.verified_inputs({"encoder": encoder}, path.parent), stage="evaluate")
    made(table.parent, record.verified_inputs({"scores": scores}, table.parent), stage="collect")
    return {"finetune": encoder, "evaluate": scores[0], "collect": table}


def test_a_result_is_identified_by_its_spec_and_the_records_behind_it(results):
    def source(spec: dict | None = None, flag: str = "collect") -> str:
        return behind.made_from(spec or {}, [(flag, results["collect"]), ("fit", results["evaluate"])])

    before = source()
    assert source() == before
    assert source({"k": 1}) != before and source(flag="external") != before
    saved = record.read(results["collect"])
    record.write(record.path_of(results["collect"]), saved | {"notes": {"n": 2}, "code_changed": True})
    assert source() == before
    record.write(record.path_of(results["collect"]), saved | {"packages": {}})
    assert source() != before


def test_a_file_without_a_record_counts_by_its_bytes(tmp_path):
    (tmp_path / "a.json").write_text("1")
    before = behind.made_from({}, [("collect", tmp_path / "a.json")])
    (tmp_path / "a.json").write_text("2")
    assert behind.made_from({}, [("collect", tmp_path / "a.json")]) != before
    assert behind.root(tmp_path / "a.json") is None


def test_results_of_several_versions_of_the_code_are_told_apart(results):
    assert mixed({"collect": results["collect"]}) == {}
    saved = record.read(results["evaluate"])
    git = {"commit": "f" * 40, "dirty": True}
    record.write(record.path_of(results["evaluate"]), saved | {"code_sha256": "another", "git": git})
    assert mixed({"collect": results["collect"]}) == {
        "evaluate": [
            {"code_sha256": "another", "results": 1, "commits": ["f" * 40 + "+"]},
            {"code_sha256": "code", "results": 1, "commits": ["unknown"]},
        ]
    }


def test_the_report_lists_the_roots_of_its_inputs(results, tmp_path):
    (tmp_path / "bare.json").write_text("{}")
    inputs = {"fit": tmp_path / "bare.json", "figures": [results["evaluate"], results["collect"]]}
    rows = listed(inputs)
    assert [(row["name"], row["file"]) for row in rows] == [
        ("figures", "collect/task.json"),
        ("figures", "a/task.json"),
        ("fit", f"{tmp_path.name}/bare.json"),
    ]
    assert [row["root"] for row in rows] == [behind.root(results["collect"]), behind.root(results["evaluate"]), None]


def test_the_tables_say_which_code_made_what_they_hold(tmp_path):
    spec, inputs = write_study(tmp_path / "results", sizes={"40k": 40_000}, levels=(5,), queries=12)
    card = inputs["cards"][0]
    made(card.parent, name=card.name, text=card.read_text(), stage="checkpoint")
    (tmp_path / "out").mkdir()
    notes = collect(spec, inputs, tmp_path / "out")
    assert notes["code"] == {"checkpoint": [{"code_sha256": "code", "results": 1, "commits": ["unknown"]}]}
