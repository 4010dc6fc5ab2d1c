"""`retscale check` asks the hub for the revisions that a study names."""

import json

import pytest
from huggingface_hub import constants

from retscale import cli

FILES = {"config.json": b"{}"}


def study(tmp_path, models: dict[str, tuple[str, str]], data: str = "main", **pairs):
    """The path of a study with these checkpoints: id -> (repository, revision)."""
    text = {
        "name": "asked",
        "title": "t",
        "description": "d",
        "checkpoints": [
            {"id": id, "family": "f", "size": "s", "tokens": 5, "source": {"kind": "hub", "repo": r, "revision": v}}
            for id, (r, v) in models.items()
        ],
        "pairs": {"id": "p", "source": {"kind": "hub", "repo": "some/data", "revision": data, "files": ["*"]}, **pairs},
        "mine": {},
        "recipes": ["portes2025"],
        "tasks": ["nfcorpus"],
    }
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(text))
    return str(path)


@pytest.fixture
def hub(loopback):
    for step in (1000, 2000, 143000):
        loopback.publish("some/model", FILES, branch=f"step{step}")
    loopback.repositories["model", "some/model"].tags["v1"] = loopback.publish("some/model", FILES)
    loopback.publish("some/data", FILES, kind="dataset")
    return loopback


def test_revisions_that_exist_are_counted_and_each_repository_is_asked_once(hub, tmp_path, capsys):
    commit = hub.publish("some/model", FILES, branch="other")
    models = {f"m{i}": ("some/model", v) for i, v in enumerate(["step1000", "step2000", "v1", "main", commit])}
    assert cli.main(["check", study(tmp_path, models)]) == 0
    assert "revisions    all 6 exist, in 2 repositories" in capsys.readouterr().out
    assert [r.path for r in hub.requests] == [
        "/api/models/some/model/refs",
        f"/api/models/some/model/revision/{commit}",
        "/api/datasets/some/data/refs",
    ]


def test_every_revision_that_does_not_exist_is_listed_with_the_nearest(hub, tmp_path, capsys):
    models = {"a": ("some/model", "step1500"), "b": ("some/model", "f" * 40), "c": ("some/model", "v1"), "d": ("no/such", "main")}  # fmt: skip
    corpus = {"kind": "hub", "repo": "some/data", "revision": "v3", "files": ["*"]}
    assert cli.main(["check", study(tmp_path, models, data="mian", collection=corpus)]) == 1
    lines = capsys.readouterr().err.splitlines()
    for line in (
        "some/model has no revision 'step1500'; the nearest that exist: step1000, step2000, step143000",
        f"some/model has no revision '{'f' * 40}'; the nearest that exist: ",
        "there is no model no/such on the hub",
        "some/data has no revision 'mian'; the nearest that exist: main",
        "some/data has no revision 'v3'; the nearest that exist: main",
    ):
        assert any(line in found for found in lines), line


@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_without_network_a_plain_line_says_that_nobody_looked(hub, tmp_path, capsys, monkeypatch, how):
    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert cli.main(["check", study(tmp_path, {"a": ("some/model", "step1500")})]) == 0
    assert "revisions    not looked up: the hub cannot be reached" in capsys.readouterr().out
    assert not hub.requests


def test_a_task_whose_folder_is_not_there_is_named(hub, tmp_path, capsys):
    path = study(tmp_path, {"m": ("some/model", "main")})
    text = json.loads((tmp_path / "study.yaml").read_text())
    text["tasks"] = [{"id": "mine", "source": {"kind": "folder", "path": str(tmp_path / "gone")}}]
    (tmp_path / "study.yaml").write_text(json.dumps(text))
    assert cli.main(["check", path]) == 1
    assert f"there is no folder {tmp_path / 'gone'} for the task mine; put its collection" in capsys.readouterr().err
    (tmp_path / "gone").mkdir()
    assert cli.main(["check", path]) == 0
