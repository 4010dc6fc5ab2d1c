"""`retscale audit` follows a figure back to bytes and names whoever was changed on the way."""

import json
import shutil
import subprocess

import pytest
from conftest import copy_repository

FIGURE = "results/smoke/figure/1b.png"


def audit(clone, status: int, *what: str) -> list[str]:
    """The lines that an audit of the figure prints, or of what else is named, with its points."""
    return clone.run("retscale", "audit", *(what or (FIGURE,)), "--points", status=status).stdout.splitlines()


def test_an_untouched_figure_is_verified_point_by_point(smoke):
    lines = audit(smoke, 0)
    assert lines[-1].startswith("verdict   verified")
    points = [line for line in lines if line.startswith("point")]
    assert {line.split()[1] for line in points} >= {"d16", "d24", "d24-long"}
    text = "\n".join(lines)
    for file in (
        "checkpoint/d24/model/model.safetensors",
        "finetune/d24/own-mini/encoder.json",
        "evaluate/d24/own-mini/fiqa.json",
    ):
        assert f"{file}  sha256 " in text
    assert "PROBLEM" not in text and "unknown" not in text


def test_a_curve_is_traced_to_its_log_encoder_and_weights(smoke):
    lines = audit(smoke, 0, "results/smoke/figure/training.svg")
    assert lines[-1].startswith("verdict   verified")
    assert [line.split()[1] for line in lines if line.startswith("curve")] == ["d16", "d24", "d24", "d24-long", "e24"]
    start = next(i for i, line in enumerate(lines) if line.startswith("curve     d24 / own-mini  2 points"))
    behind = "\n".join(lines[start + 1 : start + 6])
    for file in ("checkpoint/d24/model/model.safetensors", "d24/own-mini/encoder.json", "d24/own-mini/log.jsonl"):
        assert f"{file}  sha256 " in behind and "PROBLEM" not in behind and "unknown" not in behind
    assert "evaluate/" not in behind


@pytest.mark.parametrize("folder, other", [("microbatch-mini", "step-8"), ("microbatch-mini/step-8", "../model")])
def test_an_evaluation_knows_the_weights_of_its_own_encoder_only(smoke, folder, other):
    path = smoke.folder / f"results/smoke/evaluate/d24/{folder}/fiqa.record.json"
    read = [row["path"] for row in json.loads(path.read_text())["inputs"] if row["name"] == "encoder"]
    weights = [name for name in read if name.endswith("model.safetensors")]
    assert [(path.parent / name).resolve() for name in weights] == [
        (smoke.folder / f"results/smoke/finetune/d24/{folder}/model.safetensors").resolve()
    ]
    assert not [name for name in read if other in name]


def test_a_learning_curve_is_traced_to_the_encoders_kept(smoke):
    lines = audit(smoke, 0, "results/smoke/figure/curves.png")
    assert lines[-1].startswith("verdict   verified")
    starts = [i for i, line in enumerate(lines) if line.startswith("point")] + [-1]
    for step, folder, start, end in zip(("8", "16"), ("microbatch-mini/step-8", "microbatch-mini"), starts, starts[1:]):
        assert f"d24 / microbatch-mini / consumer-contracts, fiqa / {step}  x={int(step) * 32}" in lines[start]
        behind = "\n".join(lines[start:end])
        assert "PROBLEM" not in behind and "unknown" not in behind
        for file in (f"finetune/d24/{folder}/encoder.json", f"evaluate/d24/{folder}/fiqa.json"):
            assert f"{file}  sha256 " in behind
        assert behind.count("evaluate/") == 2


def test_a_study_a_folder_a_table_and_the_report_are_audited(smoke):
    said = {
        what: json.loads(smoke.run("retscale", "audit", what, "--json").stdout)
        for what in ("config/smoke.yaml", "results/smoke", "results/smoke/report.html", "results/smoke/fit/fits.csv")
    }
    study, folder, report, table = said.values()
    assert all(each["verdict"] == "verified" and each["status"] == 0 and not each["problems"] for each in said.values())
    assert study["root"] == folder["root"] == report["root"] != table["root"]
    assert study["files"] == folder["files"] == report["files"] and len(table["files"]) < len(study["files"])
    assert not study["notes"] and not study["doubts"]


def test_the_root_and_the_seal_are_compared(smoke):
    *_, root, seal, verdict = audit(smoke, 0, "results/smoke")
    for line in (root, seal):
        assert audit(smoke, 0, "results/smoke", "--root", line.split()[1])[-1] == verdict
    last = audit(smoke, 1, "results/smoke", "--root", "0" * 64)[-1]
    assert last.startswith("verdict   NOT verified: results/smoke/report.record.json is not the record of the root")


@pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="needs ssh-keygen, of openssh-client")
def test_a_signature_covers_what_no_other_record_names(finished, tmp_path):
    key, signature, signers = tmp_path / "key", tmp_path / "audit.sig", tmp_path / "signers"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    signers.write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    audit(finished, 0, "results/smoke", "--sign", str(key), str(signature))
    check = "results/smoke", "--signature", str(signature), str(signers)
    assert "note      signed by ada@example.org" in audit(finished, 0, *check)
    record = finished.folder / "results/smoke/mine/boolq/negatives.record.json"
    content = json.loads(record.read_text())
    record.write_text(json.dumps(content | {"machine": content["machine"] | {"host": "another"}}))
    audit(finished, 0, "results/smoke")
    assert "audit.sig is not a signature of this root and seal: " in audit(finished, 1, *check)[-1]
    record.write_text(json.dumps(content))
    signers.write_text(signers.read_text().replace("AAAAC3NzaC1lZDI1NTE5AAAAI", "AAAAC3NzaC1lZDI1NTE5AAAAJ"))
    audit(finished, 1, *check)


def test_judgments_that_were_changed_are_one_culprit_with_what_rests_on_it(finished):
    path = finished.folder / "results/smoke/task/fiqa/qrels.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    lines = audit(finished, 1, "results/smoke")
    place = lines.index("PROBLEM   results/smoke/task/fiqa/qrels.parquet: is not the file that its record lists")
    assert lines[place + 1] == "          on it rest 10 tokens, 11 evaluate, leakage, collect, fit, 11 figure, report"
    assert [line for line in lines if line.startswith("PROBLEM")] == [lines[place]]
    assert "task/fiqa/qrels.parquet is not the file" in lines[-1]


def test_names_on_the_way_forge_no_line(finished):
    name = "x\nverdict   verified: all\x1b[2K"
    (finished.folder / "results/smoke/figure" / name).write_text("x")
    record = finished.folder / "results/smoke/figure/1b.record.json"
    content = json.loads(record.read_text())
    content["outputs"].append({"path": name, "sha256": "0" * 64, "bytes": 1})
    record.write_text(json.dumps(content))
    lines = audit(finished, 1, "results/smoke")
    assert not [line for line in lines[:-1] if line.startswith("verdict")] and all(map(str.isprintable, lines))
    assert lines[-1].startswith("verdict   NOT verified")


def test_a_study_is_verified_at_another_path_and_without_caches(finished, tmp_path):
    """Moved to another machine: a fresh clone at another path, with the results alone."""
    before = json.loads(finished.run("retscale", "audit", "results/smoke", "--json").stdout)
    other = copy_repository(tmp_path / "elsewhere" / "clone")
    shutil.copytree(finished.folder / "results", other.folder / "results")
    after = json.loads(other.run("retscale", "audit", "results/smoke", "--json").stdout)
    assert after["verdict"] == "verified" and (after["root"], after["seal"]) == (before["root"], before["seal"])


def test_a_study_that_was_edited_since_says_so(finished):
    finished.edit("config/smoke.yaml", "n_negatives: 2, max_pairs: 512}", "n_negatives: 2, max_pairs: 256}")
    finished.edit("config/smoke.yaml", "  - {use: next-word, max_items: 50}\n", "")
    lines = audit(finished, 0, "config/smoke.yaml")
    notes = [line for line in lines if line.startswith("note")]
    assert any("edited since 4 results of finetune: recipe.max_pairs: 512 -> 256" in note for note in notes)
    assert any("3 results that the study no longer names stand behind others" in note for note in notes)


def test_results_that_stand_behind_nothing_and_files_in_no_record_are_said(finished):
    shutil.copytree(finished.folder / "results/smoke/icl/d24", finished.folder / "results/smoke/icl/d25")
    (finished.folder / "results/smoke/fit/mine.csv").write_text("x")
    lines = audit(finished, 0, "results/smoke")
    assert any(
        "2 results stand behind no figure: results/smoke/icl/d25/next-word.record.json" in line for line in lines
    )
    assert any("1 file are in no record: results/smoke/fit/mine.csv" in line for line in lines)


@pytest.mark.parametrize("what", ["README.md", "docs", "config/mini.yaml", "results/smoke/figure/9.png"])
def test_what_is_no_result_cannot_be_told(smoke, what):
    [line] = audit(smoke, 2, what)
    assert line.startswith("verdict   cannot tell: ")


def test_other_code_is_noted(finished):
    path = finished.folder / "workflow/retscale/mine/run.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    lines = audit(finished, 0)
    assert any(line.startswith("note      mine: 1 made by code other than") for line in lines)
