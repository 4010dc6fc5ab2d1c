"""A stage run by hand: its spec is checked before anything starts, and --help says what it holds."""

import json
import subprocess
import sys

import pytest

from retscale import cli, spec, stages
from retscale.common.canonical import canonical
from retscale.errors import UserError
from retscale.study import load, specs

GOOD = {
    "mine": {"negatives": 3},
    "task": {"id": "t", "source": {"kind": "folder", "path": "/data"}},
    "evaluate": {
        "checkpoint": "c",
        "recipe": "r",
        "tasks": {"t": {}},
        "precision": "fp32",
        "tokens_per_batch": 512,
    },
    "encoder": {"id": "e", "source": {"kind": "folder", "path": "/models/e"}},
    "leakage": {"tasks": {"t": {}}},
    "tokens": {"tasks": {"t": {}}},
    "finetune": {"recipe": {"id": "r"}, "pairs": {"p": None}, "seed": 1, "precision": "fp32"},
    "figure": {"name": "1b"},
}


@pytest.mark.parametrize(
    ("stage", "change", "message"),
    [
        ("mine", {"negativs": 3}, "--spec: negativs: unknown key; did you mean 'negatives'?"),
        ("mine", {"top": 2}, "--spec: top (2) must be at least skip + negatives (0 + 3); raise it"),
        ("mine", {"negatives": "many"}, "--spec: negatives: input should be a valid integer"),
        ("task", {"id": None}, "--spec: id: input should be a valid string"),
        ("task", {"source": {"kind": "folders"}}, "unknown kind 'folders'; known: wheel, folder, mteb"),
        ("task", {"source": {"path": "/data"}}, "--spec: source.kind: this key is required"),
        ("evaluate", {"tasks": {}}, "--spec: tasks: dictionary should have at least 1 item"),
        ("evaluate", {"tasks": {"t": {"k": 5}}}, "--spec: tasks.t.k: unknown key"),
        ("encoder", {"source": {"pth": "/models/e"}}, "--spec: source.pth: unknown key; did you mean 'path'?"),
        ("leakage", {"task": ["t"]}, "--spec: task: unknown key; did you mean 'tasks'?"),
        ("finetune", {"recipe": {"id": "r", "temprature": 1}}, "did you mean 'temperature'?"),
        ("finetune", {"recipe": {"id": "r", "weights": {"p": 2}}}, "--spec: recipe.weights: input should be null"),
        ("figure", {"dpi": 1}, "--spec: dpi: input should be greater than or equal to 72"),
    ],
)
def test_a_wrong_spec_is_refused_by_key(stage, change, message):
    assert spec.read(json.dumps(GOOD[stage]), stages.spec_model(stage)) == GOOD[stage]
    with pytest.raises(UserError) as error:
        spec.read(json.dumps(GOOD[stage] | change), stages.spec_model(stage))
    assert message in str(error.value)


@pytest.mark.parametrize("stage", [name for name in GOOD if name != "mine"])
def test_a_missing_key_is_named(stage):
    for key in GOOD[stage]:
        with pytest.raises(UserError, match=f"--spec: {key}: this key is required"):
            spec.read(json.dumps({k: v for k, v in GOOD[stage].items() if k != key}), stages.spec_model(stage))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ("@/no/such", "cannot read"),
        ('{"seed": 1, "seed": 2}', "the key 'seed' is given twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key 'b' is given twice"),
    ],
)
def test_what_is_no_spec_is_refused(text, message):
    with pytest.raises(UserError, match=f"--spec: {message}"):
        spec.read(text, stages.spec_model("mine"))


def test_the_help_of_every_stage_lists_the_keys_of_its_spec(capsys):
    for stage in stages.STAGES:
        with pytest.raises(SystemExit):
            cli.main([stage, "--help"])
        shown = capsys.readouterr().out
        for key, field in stages.spec_model(stage).model_fields.items():
            assert f"{'*' if field.is_required() else ' '} {key}: " in shown, (stage, key)


def test_the_command_says_it_in_one_line_without_starting(tmp_path):
    options = ["--spec", '{"negativs": 3}', "--pairs", "x", "--out", "y/negatives.parquet"]
    command = [sys.executable, "-m", "retscale", "mine", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "retscale mine: error: --spec: negativs: unknown key; did you mean 'negatives'?\n"
    assert not list(tmp_path.iterdir())


def test_every_spec_that_the_rules_write_fits_its_job():
    from conftest import ROOT

    study = load.study(ROOT / "config" / "mini.yaml")
    first, recipe = next(iter(study.checkpoints)), next(iter(study.recipes))
    written = {
        "text": specs.text(study),
        "checkpoint": specs.checkpoint(study, first),
        "pairs": specs.pairs(study, "boolq"),
        "mine": specs.mine(study),
        "finetune": specs.finetune(study, recipe),
        "task": specs.task(study, "fiqa"),
        "evaluate": specs.evaluate(list(study.tasks))(study, first, recipe),
        "tokens": specs.tokens(list(study.tasks))(study, first, recipe),
        "leakage": specs.leakage(study),
        "icl": specs.icl(study, first),
        "collect": specs.collect(study),
        "fit": specs.fit(study),
        "figure": specs.figure(study, "1b"),
        "report": specs.report(study),
    }
    for stage, part in written.items():
        assert spec.read(canonical(part), stages.spec_model(stage)) == part
