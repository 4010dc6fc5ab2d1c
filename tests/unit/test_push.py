"""`retscale push` against a hub on loopback: what arrives there, what resumes, and what is refused in one line."""

import json
from pathlib import Path

import pytest
from artifacts import encoder

from retscale import cli
from retscale.exchange import push
from retscale.provenance import record
from retscale.study import load

ROOT = Path(__file__).resolve().parents[2]
STUDY = """
name: x
title: A study
description: d
seed: 1
checkpoints: [cerebras-gpt-111m]
pairs: msmarco
mine: {method: given, negatives: 15}
recipes: [{use: portes2025, id: r}]
tasks: [scifact, nfcorpus]
fit: {}
"""
FILES = {"1_Pooling/config.json": b"{}", "model.safetensors": bytes(2000), "other.safetensors": bytes(range(99))}
COMMAND = ["push", "cerebras-gpt-111m/r", "x.yaml", "--to", "me/mine"]


@pytest.fixture
def study(tmp_path, monkeypatch):
    """A study that has run, after a fashion, below the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config").symlink_to(ROOT / "config")
    (tmp_path / "x.yaml").write_text(STUDY)
    folder = Path("results/x/finetune/cerebras-gpt-111m/r")
    for name, data in {**FILES, "encoder.json": json.dumps(encoder()).encode()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    made = record.make("finetune", {}, "", [], folder, [*FILES, "encoder.json"], None, 0.0)
    record.write(folder / "encoder.record.json", made)
    (folder / "stray.txt").write_text("of no record")
    scores = Path("results/x/evaluate/cerebras-gpt-111m/r")
    scores.mkdir(parents=True)
    for task in ("scifact", "nfcorpus"):
        (scores / f"{task}.json").write_text(f'{{"task": "{task}"}}')
        (scores / f"{task}.parquet").write_bytes(b"run")
        made = record.make("evaluate", {}, "", [], scores, [f"{task}.json", f"{task}.parquet"], None, 0.0)
        record.write(scores / f"{task}.record.json", made)
    monkeypatch.setattr(push, "described", lambda *_: "the card")
    monkeypatch.setattr(push, "card", str)
    monkeypatch.setenv("HF_TOKEN", "writer")
    return load.study(Path("x.yaml"))


def pushed(hub) -> dict[str, bytes]:
    repository = hub.repositories["model", "me/mine"]
    return repository.commits[repository.branches["main"]]


EXPECTED = {*FILES, "encoder.json", "results/scifact.json", "results/nfcorpus.json", "README.md"}


def test_encoder_scores_and_card_arrive_and_nothing_else(loopback, study, capsys):
    assert cli.main(COMMAND) == 0
    files = pushed(loopback)
    assert files.keys() == EXPECTED and files["README.md"] == b"the card"
    assert {name: files[name] for name in FILES} == FILES
    assert json.loads(files["results/scifact.json"]) == {"task": "scifact"}
    assert loopback.repositories["model", "me/mine"].private
    text = capsys.readouterr().out
    assert f"{loopback.endpoint}/me/mine/commit/" in text.splitlines()[-1] and "writer" not in text


def test_a_dry_run_lists_the_files_and_asks_nobody(loopback, study, monkeypatch, capsys):
    monkeypatch.delenv("HF_TOKEN")
    assert cli.main([*COMMAND, "--dry-run"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert {line.split()[-1] for line in lines} == EXPECTED - {"README.md"} and loopback.requests == []
    assert last == "me/mine: 6 files and the card README.md; nothing was sent"


def test_an_interrupted_upload_resumes(loopback, study, capsys):
    """A large file that arrived is not sent again."""
    loopback.fail("/upload/", method="PUT", status=400)
    assert cli.main(COMMAND) == 1
    error = capsys.readouterr().err
    assert "me/mine: Error while uploading" in error and "it sends what is missing" in error
    assert error.count("\n") == 1 and "writer" not in error and "signature" not in error
    first = len(loopback.stored)
    assert first == 1 and pushed(loopback) == {}
    sent = len([r for r in loopback.requests if r.method == "PUT"])
    assert cli.main(COMMAND) == 0
    assert len([r for r in loopback.requests if r.method == "PUT"]) == sent + 1
    assert pushed(loopback).keys() == EXPECTED


@pytest.mark.parametrize(("options", "status"), [((), 1), (("--public",), 0)])
def test_a_public_repository_is_asked_for(loopback, study, capsys, options, status):
    loopback.publish("me/mine", {"old.txt": b"old"})
    assert cli.main([*COMMAND, *options]) == status
    if status:
        assert "me/mine is public; give --public to push there" in capsys.readouterr().err
        assert pushed(loopback).keys() == {"old.txt"}
    else:
        assert pushed(loopback).keys() == EXPECTED | {"old.txt"}
    assert not loopback.repositories["model", "me/mine"].private


def test_a_new_repository_is_public_where_that_is_said(loopback, study):
    assert cli.main([*COMMAND, "--public"]) == 0
    assert not loopback.repositories["model", "me/mine"].private


@pytest.mark.parametrize(
    ("token", "message"),
    [("", "there is no token of the hub here; set HF_TOKEN"), ("secret-reader", "HTTP 403")],
)
def test_without_a_token_that_may_write_it_is_one_line(loopback, study, monkeypatch, capsys, token, message):
    monkeypatch.setenv("HF_TOKEN", token)
    assert cli.main(COMMAND) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and "secret-reader" not in error


def test_a_file_that_changed_since_is_not_sent(loopback, study, capsys):
    Path("results/x/finetune/cerebras-gpt-111m/r/model.safetensors").write_bytes(b"other")
    assert cli.main(COMMAND) == 1
    assert "model.safetensors is not the file that was made" in capsys.readouterr().err and loopback.requests == []


def test_a_lost_hub_is_one_line(loopback, study, monkeypatch, capsys):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert cli.main(COMMAND) == 1
    assert "the hub cannot be reached, so me/mine was not written" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["mine", "me/../mine", "me/mine/x", "-me/mine", "https://a/b"])
def test_a_name_is_owner_and_name(study, capsys, to):
    with pytest.raises(SystemExit):
        cli.main([*COMMAND[:-1], to])
    assert "OWNER/NAME" in capsys.readouterr().err
