"""`retscale audit` follows a figure back to bytes and names whoever was changed on the way."""

import json

import pytest

FIGURE = "results/smoke/figure/1b.png"


def audit(clone, status: int, figure: str = FIGURE) -> list[str]:
    return clone.run("retscale", "audit", figure, status=status).stdout.splitlines()


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
    lines = audit(smoke, 0, "results/smoke/figure/training.png")
    assert lines[-1].startswith("verdict   verified")
    assert [line.split()[1] for line in lines if line.startswith("curve")] == ["d16", "d24", "d24", "d24-long"]
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


@pytest.mark.parametrize(
    "file",
    [
        "checkpoint/d16/model/model.safetensors",
        "finetune/d24/own-mini/model.safetensors",
        "finetune/d24/own-mini/log.jsonl",
        "finetune/d24/microbatch-mini/step-8/model.safetensors",
        "evaluate/d24/microbatch-mini/step-8/fiqa.json",
        "evaluate/d24/own-mini/fiqa.parquet",
        "evaluate/d24/own-mini/fiqa.json",
        "task/fiqa/corpus.parquet",
        "collect/scores.parquet",
        "fit/fits.csv",
        "figure/1b.csv",
        "pairs/boolq/pairs.parquet",
        "mine/boolq/negatives.parquet",
        "tokens/d24/own-mini/fiqa.passage.ids",
        "tokens/d24/own-mini/training/boolq.copies.npy",
        "text/tokens.npy",
    ],
)
def test_one_flipped_bit_is_named(finished, file):
    path = finished.folder / "results/smoke" / file
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    lines = audit(finished, 1)
    named = {line.split()[1].rstrip(":") for line in lines if line.startswith("PROBLEM")}
    assert named == {f"results/smoke/{file}"}
    assert lines[-1].startswith("verdict   NOT verified")


def test_a_deleted_record_and_a_deleted_file_are_named(finished):
    (finished.folder / "results/smoke/mine/boolq/negatives.record.json").unlink()
    (finished.folder / "results/smoke/evaluate/d16/own-mini/fiqa.parquet").unlink()
    text = "\n".join(audit(finished, 1))
    assert "negatives.record.json: the record is missing" in text and "fiqa.parquet: the file is missing" in text


def test_an_edited_spec_is_named(finished):
    path = finished.folder / "results/smoke/finetune/d24/own-mini/encoder.record.json"
    record = json.loads(path.read_text())
    record["spec"]["recipe"]["temperature"] = 0.01
    path.write_text(json.dumps(record))
    assert any("encoder.record.json: the spec was edited" in line for line in audit(finished, 1))


def test_a_result_remade_without_its_figure_is_named(finished):
    """Somebody evaluates again with another encoder and keeps the old figure."""
    folder = finished.folder / "results/smoke/evaluate"
    for file in ("fiqa.json", "fiqa.parquet", "fiqa.record.json"):
        (folder / "d16/own-mini" / file).write_bytes((folder / "d24/own-mini" / file).read_bytes())
    text = "\n".join(audit(finished, 1))
    assert "d16/own-mini/fiqa.json: is not what results/smoke/collect/collect.record.json was made from" in text


def test_what_is_no_figure_is_refused(smoke):
    done = smoke.run("retscale", "audit", "README.md", status=1)
    assert "is not a figure of a study" in done.stderr and "Traceback" not in done.stderr


def test_other_code_is_noted(finished):
    path = finished.folder / "workflow/retscale/mine/run.py"
    path.write_text(path.read_text() + "\n\nADDED = 1\n")
    lines = audit(finished, 0)
    assert any(line.startswith("note      mine: 1 made by code other than") for line in lines)
