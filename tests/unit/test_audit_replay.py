"""Jobs run again from their records: what is right is equal, and a replay really computes."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retscale import job
from retscale.audit import proofs, replay, rerun
from retscale.audit.commits import Commits
from retscale.audit.findings import Findings
from retscale.audit.walk import Node, walk
from retscale.common.files import sha256
from retscale.errors import UserError
from retscale.provenance import record

TABLE = {"source": "a paper", "metric": "ndcg_at_10", "models": None, "names": {"fiqa": "fiqa"}}
SPEC = {"headline": ["fiqa"], "tables": [TABLE | {"splits": {}, "columns": {}}]}
PAIRS = {"id": "p", "source": {"kind": "file", "path": "own/pairs.jsonl"}, "collection": None, "held_out": {}}
MINE = {"method": "bm25", "negatives": 1, "top": 3}


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """The working folder of three jobs: the points of others, pairs from a file of the user's, and what was mined."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("own").mkdir()
        Path("own/table.csv").write_text("model,task,ndcg_at_10\nx,fiqa,0.5\n")
        words = "red green blue black white small large round".split()
        rows = [{"query": f"{a} {b}", "positive": f"{a} {b} {c}"} for a in words for b in words for c in words[:2]]
        Path("own/pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
        out = Path("results/s")
        job.run("external", SPEC, {"tables": [Path("own/table.csv")]}, [out / "external/external.json"])
        job.run("pairs", PAIRS, {"tests": []}, [out / "pairs/p/pairs.json"])
        job.run("mine", MINE, {"pairs": out / "pairs/p/pairs.json"}, [out / "mine/p/negatives.parquet"])
    return folder


@pytest.fixture
def study(made, tmp_path, monkeypatch) -> Path:
    """A copy of its results, with its own files beside, which a test may change."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return Path("results/s")


def nodes(study: Path) -> dict[Path, Node]:
    return walk(sorted(study.rglob("*.record.json"))).nodes


def replayed(study: Path, name: str) -> replay.Replayed:
    return replay.replay(nodes(study)[study / name], nodes(study), Commits())


def forge(path: Path, **changes) -> None:
    """Write to a record, as who made it would."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rehash(path: Path) -> None:
    """Let a record list its outputs as they are now."""
    outputs = [row | {"sha256": sha256(path.parent / row["path"])} for row in json.loads(path.read_text())["outputs"]]
    forge(path, outputs=outputs)


MINED = "mine/p/negatives.record.json"
EXTERNAL = "external/external.record.json"


def test_every_job_makes_the_same_again(study):
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    for node in nodes(study).values():
        again = replay.replay(node, nodes(study), Commits())
        assert (again.equal, again.why) == (True, "")
    assert {path: path.read_bytes() for path in study.rglob("*") if path.is_file()} == before


def test_a_replay_needs_no_stored_product(study):
    (study / "mine/p/negatives.parquet").unlink()
    assert replayed(study, MINED).equal is True


def test_a_forged_output_with_its_hash_differs_in_its_first_value(study):
    path = study / "mine/p/negatives.parquet"
    table = pd.read_parquet(path)
    table.loc[3, "query_id"] = "other"
    table.to_parquet(path, index=False)
    rehash(study / MINED)
    again = replayed(study, MINED)
    assert again.equal is False and again.why.startswith("negatives.parquet: row 4, query_id is other, made again ")
    assert again.line().startswith("mine       p      ") and " DIFFERS: negatives.parquet: row 4" in again.line()


@pytest.mark.parametrize(
    "field, change, why",
    [
        ("inputs", lambda rows: rows[:-1], "the record lacks ../../pairs/p/pairs.json in its inputs"),
        (
            "outputs",
            lambda rows: [{**rows[0], "path": "x.parquet"}],
            "the record lacks negatives.parquet in its outputs",
        ),
        ("inputs", lambda rows: [{**rows[0], "sha256": "0" * 64}, *rows[1:]], "is not the input that the record lists"),
    ],
)
def test_a_record_of_other_files_differs(study, field, change, why):
    forge(study / MINED, **{field: change(record.parse(study / MINED)[field])})
    again = replayed(study, MINED)
    assert again.equal is False and why in again.why


def test_a_spec_of_another_result_differs(study):
    forge(study / MINED, spec=MINE | {"negatives": 2})
    assert replayed(study, MINED).equal is False


def test_other_bits_made_elsewhere_prove_nothing(study):
    forge(study / EXTERNAL, outputs=[{**row, "sha256": "0" * 64} for row in record.parse(study / EXTERNAL)["outputs"]])
    assert replayed(study, EXTERNAL).equal is False
    packages = record.parse(study / EXTERNAL)["packages"]
    forge(study / EXTERNAL, packages=packages | {"pandas": "0.1"})
    again = replayed(study, EXTERNAL)
    assert again.equal is None and again.why.endswith(f"it was made with pandas 0.1, here {packages['pandas']}")
    forge(study / EXTERNAL, packages=packages, code_sha256="0" * 64)
    again = replayed(study, EXTERNAL)
    assert again.equal is None and again.why.endswith("it was made by code that this clone lacks")
    for near in (True, False):  # of what may be compared within a tolerance
        again = replay.replay(nodes(study)[study / EXTERNAL], nodes(study), Commits(), lambda *_: (near, "a hair off"))
        assert again.equal is near and again.why == "a hair off; it was made by code that this clone lacks"
        assert f"  {'near' if near else 'DIFFERS'}: a hair off" in again.line()


def test_a_job_that_fails_tells_nothing(study):
    (study / "pairs/p/pairs.parquet").write_bytes(b"x")
    again = replayed(study, MINED)
    assert again.equal is None and "pairs.parquet is not the file that was made" in again.why
    (study / "pairs/p/pairs.record.json").unlink()
    again = replayed(study, MINED)
    assert again.equal is None and "pairs.record.json is missing or damaged" in again.why


def test_a_job_of_edited_code_differs(study, tmp_path, monkeypatch):
    """The same digest, other code: as if the digest had missed what the job depends on."""
    package = tmp_path / "code" / "retscale"
    shutil.copytree(replay.code.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    path = package / "external/run.py"
    path.write_text(path.read_text().replace("row.value", "row.value / 2"))
    monkeypatch.setattr(replay, "package_of", lambda *_: package)
    again = replayed(study, EXTERNAL)
    assert again.equal is False and again.why == "external.parquet: row 1, y is 0.5, made again 0.25"


def test_what_is_replayed(study):
    made, random = nodes(study), np.random.default_rng(0)
    assert [node.stage for node in proofs.chosen(proofs.EACH, made, random)] == ["pairs", "mine", "external"]
    assert proofs.chosen("mine", made, random) == [made[study / MINED]]
    with pytest.raises(UserError, match="--replay: there is no job of 'mime'; did you mean 'mine'?"):
        proofs.chosen("mime", made, random)


def node(path: str, stage: str, *records: str, **content) -> Node:
    rows = [{"name": "x", "path": name, "sha256": "", "record": name} for name in records]
    return Node(Path("r", path), {"stage": stage, "spec": {}, "inputs": rows, "outputs": []} | content, "", None)


def test_a_point_is_all_behind_it_and_a_cycle_ends():
    scores = node("evaluate/c/r/t.record.json", "evaluate", "../../../finetune/c/r/encoder.record.json")
    encoder = node("finetune/c/r/encoder.record.json", "finetune", "../../../checkpoint/c/card.record.json")
    card = node("checkpoint/c/card.record.json", "checkpoint", "../../evaluate/c/r/t.record.json")
    kept, elsewhere = (node(f"evaluate/{name}/t.record.json", "evaluate") for name in ("c/r/step-8", "c/q/r/s"))
    made = {each.path: each for each in (scores, encoder, card, kept, elsewhere)}
    for point in ("c/r", "c/r/t"):
        assert proofs.chosen(point, made, np.random.default_rng(0)) == [card, encoder, scores]
    assert proofs.chosen("c/r/step-8", made, np.random.default_rng(0)) == [kept]
    with pytest.raises(UserError, match="no job of 'c/q'"):
        proofs.chosen("c/q", made, np.random.default_rng(0))


def test_what_differs_is_a_culprit_and_what_nobody_knows_a_doubt(study):
    for path in nodes(study):
        forge(path, git={"commit": "unknown", "dirty": None})
    forge(study / MINED, code_sha256="0" * 64)
    forge(study / EXTERNAL, outputs=[])
    findings, said = Findings(), []
    proofs.prove(nodes(study), findings, proofs.Asked(replay="external", seed=5), said.append)
    assert list(findings.problems) == [study / EXTERNAL] and findings.status == 1
    assert findings.doubts == ["1 record made by code in no clone: nothing proves the code"]
    assert said[0].startswith("replay    1 of 3 jobs, --seed 5;") and "DIFFERS" in said[1] and len(said) == 2


def test_the_label_of_a_job():
    assert rerun.label(node("evaluate/c/r/step-8/t.record.json", "evaluate")) == "c/r/step-8/t"
    assert rerun.label(node("tokens/c/r/training/p.record.json", "tokens")) == "c/r/p"
    assert rerun.label(node("report.record.json", "report")) == ""
    with pytest.raises(UserError, match="of the stage 'fit', whose outputs do not lie there"):
        rerun.label(node("mine/p/negatives.record.json", "fit"))


def test_a_training_starts_as_many_processes_as_it_had():
    def start(stage="finetune", **notes):
        return " ".join(replay.start_of(node("x.record.json", stage, notes=notes)))

    assert start("mine") == "python" and start() == "env RETSCALE_PROCESSES=1 python"
    assert start(processes=2, device="cpu", sharded=False).endswith(" python -m retscale.finetune.launch --processes 2")
    assert "RETSCALE_SHARDED=true" in start(processes=2, device="cuda", sharded=True)


def test_a_job_has_the_threads_that_it_had(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    for content, threads in [({"run": {"threads": 3}}, "3"), ({"spec": {"threads": 2}}, "2"), ({}, "1")]:
        environment = replay.environment_of(node("x.record.json", "fit", **content), tmp_path / "code" / "retscale")
        assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == threads
        assert environment["PYTHONPATH"] == str(tmp_path / "code")


def test_circumstances_are_processor_accelerator_and_packages():
    machine = {"cpu": "C", "accelerators": [{"name": "G"}, {"name": "G"}]}
    assert replay.circumstances({"machine": machine, "packages": {"torch": "1"}}) == {
        "cpu": "C",
        "accelerator": "G, G",
        "torch": "1",
    }
    assert replay.circumstances({"machine": {"cpu": "C"}}) == {"cpu": "C", "accelerator": "none"}
