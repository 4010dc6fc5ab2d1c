"""The encoders that a training kept, evaluated in the job of its last one."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest
from safetensors.numpy import load_file, save_file
from test_evaluate import encoder, spec, tasks  # noqa: F401 - pytest finds the fixtures by their names

from retscale import job
from retscale.errors import UserError
from retscale.evaluate import run as stage
from retscale.provenance import record

KEEP = {"keep": [1, 2], "curve_tasks": ["two"]}


def recorded(primary: Path) -> Path:
    """With a record that vouches for it and what lies beside it."""
    names = [path.name for path in primary.parent.iterdir() if path.is_file() and path != record.path_of(primary)]
    made = record.make("finetune", {}, "code", [], primary.parent, names, None, time.time())
    record.path_of(primary).write_text(json.dumps(made))
    return primary


def trained(source: Path, folder: Path, steps: int) -> Path:
    """A copy of an encoder with other weights, as of so many steps."""
    folder.mkdir(parents=True)
    for path in source.parent.iterdir():
        shutil.copy(path, folder)
    weights = load_file(folder / "model.safetensors")
    save_file(
        {name: value * (1 + steps / 10) for name, value in weights.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    facts = json.loads((folder / "encoder.json").read_text()) | {"steps": steps}
    facts["files"]["model.safetensors"] = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    (folder / "encoder.json").write_text(json.dumps(facts))
    return recorded(folder / "encoder.json")


@pytest.fixture
def results(encoder, tasks, tmp_path, monkeypatch):
    """A study's results: a training that kept three encoders, and two tasks."""
    monkeypatch.chdir(tmp_path)
    for steps in (1, 2, 3):
        trained(encoder, tmp_path / f"finetune/c/r/step-{steps}", steps)
    trained(encoder, tmp_path / "last", 4)
    for path in (tmp_path / "last").iterdir():
        path.rename(tmp_path / "finetune/c/r" / path.name)
    for name, path in zip(("one", "two"), tasks):
        shutil.copytree(path.parent, tmp_path / "task" / name)
        recorded(tmp_path / "task" / name / "task.json")
    cards = [tmp_path / f"task/{name}/task.json" for name in ("one", "two")]
    read = {"encoder": tmp_path / "finetune/c/r/encoder.json", "tasks": cards}
    whole = {"tasks": {"one": {}, "two": {}}}
    job.run("tokens", whole, read, [tmp_path / f"tokens/c/r/{name}.json" for name in whole["tasks"]])
    return tmp_path


@pytest.fixture
def loaded(monkeypatch) -> list[str]:
    """The folders of the encoders that are loaded."""
    folders, load = [], stage.encoders.load_encoder

    def seen(path, *rest):
        folders.append(path.parent.name)
        return load(path, *rest)

    monkeypatch.setattr(stage.encoders, "load_encoder", seen)
    return folders


def evaluate(results: Path, **more) -> None:
    """One job, as the rules start it."""
    whole = spec(["one", "two"], **more)
    inputs = {
        "encoder": results / "finetune/c/r/encoder.json",
        "tasks": [results / f"task/{name}/task.json" for name in whole["tasks"]],
        "tokens": [results / f"tokens/c/r/{name}.json" for name in whole["tasks"]],
    }
    job.run(
        "evaluate",
        whole,
        inputs,
        [results / "evaluate/c/r" / product for product in job.STAGES["evaluate"].products(whole)],
    )


def files(folder: Path) -> dict[str, bytes]:
    """The results below `folder`; of records what does not depend on the time."""
    contents = {}
    for path in sorted(folder.rglob("*")):
        if path.name.endswith(".record.json"):
            content = json.loads(path.read_text())
            contents[str(path.relative_to(folder))] = {
                key: content[key] for key in ("spec", "inputs", "outputs", "code_sha256")
            }
        elif path.is_file():
            contents[str(path.relative_to(folder))] = path.read_bytes()
    return contents


def test_one_job_makes_what_a_job_for_each_encoder_makes(results, loaded):
    evaluate(results, **KEEP)
    assert loaded == ["r", "step-1", "step-2"]
    together = files(results / "evaluate")
    shutil.rmtree(results / "evaluate")
    evaluate(results)
    for step in (1, 2):
        part = spec(["two"], step=step)
        inputs = {
            "encoder": results / f"finetune/c/r/step-{step}/encoder.json",
            "tasks": [results / "task/two/task.json"],
            "tokens": [results / "tokens/c/r/two.json"],
        }
        job.run("evaluate", part, inputs, [results / f"evaluate/c/r/step-{step}/two.json"])
    assert together == files(results / "evaluate") and len(together) == 12
    made = together["c/r/step-2/two.record.json"]
    assert made["spec"] == spec(["two"], step=2)
    assert "../../../../finetune/c/r/step-2/model.safetensors" in [row["path"] for row in made["inputs"]]
    scores = {together[f"c/r/{folder}two.parquet"] for folder in ("", "step-1/", "step-2/")}
    assert len(scores) == 3  # each of its own weights


def test_only_what_no_record_vouches_for_is_made_again(results, loaded):
    evaluate(results, **KEEP)
    loaded.clear()
    evaluate(results, **KEEP)
    assert loaded == []
    (results / "evaluate/c/r/step-2/two.json").unlink()
    evaluate(results, **KEEP)
    assert loaded == ["step-2"]
    loaded.clear()
    evaluate(results, keep=[1, 2, 3], curve_tasks=["two"])
    assert loaded == ["step-3"]
    loaded.clear()
    before = (results / "evaluate/c/r/step-1/two.record.json").read_bytes()
    evaluate(results, keep=[1, 2, 3], curve_tasks=["one", "two"])
    assert loaded == ["step-1", "step-2", "step-3"]
    assert (results / "evaluate/c/r/step-1/two.record.json").read_bytes() == before


def test_a_training_that_ends_in_the_same_weights_costs_no_evaluation(results, loaded):
    """Its log holds times."""
    folder = results / "finetune/c/r"
    for line in ("1000 tokens a second", "999"):
        (folder / "log.jsonl").write_text(line)
        recorded(folder / "encoder.json")
        evaluate(results)
    assert loaded == ["r"]


def test_what_is_finished_before_a_failure_stays(results):
    (results / "finetune/c/r/step-2/model.safetensors").write_bytes(b"another")
    with pytest.raises(UserError, match="step-2/model.safetensors is not the file that was made"):
        evaluate(results, **KEEP)
    assert [path for path in files(results / "evaluate") if path.endswith("o.json")] == [
        "c/r/step-1/two.json",
        "c/r/two.json",
    ]
    assert not list((results / "evaluate").rglob(".*"))


def test_a_kept_encoder_that_is_missing_is_named(results):
    with pytest.raises(UserError, match="--encoder: there is no file .*/step-9/encoder.json"):
        evaluate(results, keep=[9], curve_tasks=["two"])


@pytest.mark.parametrize(
    "more, message",
    [
        ({"keep": [1], "curve_tasks": ["three"]}, "curve_tasks: three must also stand in tasks"),
        ({"keep": [1], "curve_tasks": ["two"], "step": 2}, "keep needs the last encoder; remove step"),
    ],
)
def test_a_spec_of_kept_encoders_must_hold_together(more, message):
    from retscale.evaluate.config import Spec

    with pytest.raises(ValueError, match=message):
        Spec.model_validate(spec(["one", "two"], **more))
