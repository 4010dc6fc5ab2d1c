"""`retscale check` asks the hub for the revisions that a study names."""

import json
from pathlib import Path

import own_files
import pytest
from huggingface_hub import constants

from retscale import cli
from retscale.plan.needs import missing
from retscale.study import load, preflight

FILES = {"config.json": b"{}"}
PRETRAINED = {
    "id": "p",
    "family": "f",
    "size": "s",
    "source": {"kind": "pretrain", "hidden_size": 16, "layers": 1, "heads": 1, "tokens": 4096},
}


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
    models = {
        "a": ("some/model", "step1500"),
        "b": ("some/model", "f" * 40),
        "c": ("some/model", "v1"),
        "d": ("no/such", "main"),
    }
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
        assert any(line in printed for printed in lines), line


@pytest.mark.parametrize("how", ["offline", "unreachable"])
def test_without_network_a_plain_line_says_that_nobody_looked(hub, tmp_path, capsys, monkeypatch, how):
    if how == "offline":
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert cli.main(["check", study(tmp_path, {"a": ("some/model", "step1500")})]) == 0
    assert "revisions    not looked up: the hub cannot be reached" in capsys.readouterr().out
    assert not hub.requests


@pytest.mark.parametrize(
    "entries, entry, make",
    [
        (
            "checkpoints",
            {"source": {"kind": "local", "path": "PLACE"}, "family": "f", "size": "s", "tokens": 9},
            "PLACE/",
        ),
        (
            "pairs",
            {"source": {"kind": "file", "path": "PLACE/a.jsonl"}},
            "PLACE/a.jsonl",
        ),
        ("tasks", {"source": {"kind": "folder", "path": "PLACE"}}, "PLACE/"),
        ("icl", {"type": "schema", "source": {"kind": "jsonl", "folder": "PLACE", "file": "a.jsonl"}}, "PLACE/a.jsonl"),
        (
            "icl",
            {"type": "schema", "source": {"kind": "jsonl", "repo": "PLACE", "revision": 40 * "0", "file": "a.jsonl"}},
            "PLACE/",
        ),
    ],
)
def test_files_of_this_machine_that_are_not_there_are_named(hub, tmp_path, capsys, entries, entry, make):
    place = str(tmp_path / "gone")
    path = Path(study(tmp_path, {"m": ("some/model", "main")}))
    data = json.loads(path.read_text())
    data[entries] = [json.loads(json.dumps({"id": "mine"} | entry).replace("PLACE", place))]
    path.write_text(json.dumps(data))
    file = make.replace("PLACE", place)
    if entries == "icl" and "folder" in entry["source"]:
        assert "for the in-context task mine" in " ".join(missing(load.study(path)))
    assert cli.main(["check", str(path)]) == 1
    told = capsys.readouterr().err
    assert f"1 of 1 {preflight.ENTRIES[entries]} waits for missing files, such as {file.rstrip('/')} of mine" in told
    assert f"of mine under `{entries}`" in told and told.count("error: ") == 1
    if file.endswith("/"):  # a file is no folder
        Path(place).write_text("")
        assert cli.main(["check", str(path)]) == 1
        Path(place).unlink()
    Path(place).mkdir()
    if not file.endswith("/"):
        if entries == "pairs":  # and a folder no file
            Path(file).mkdir()
            assert cli.main(["check", str(path)]) == 1
            Path(file).rmdir()
        Path(file).write_text("")
    capsys.readouterr()
    cli.main(["check", str(path)])
    assert "wait for files" not in capsys.readouterr().err


def test_an_encoder_is_there_and_is_one_that_can_be_scored(hub, tmp_path, capsys):
    path = Path(study(tmp_path, {"m": ("some/model", "main")}))
    data = json.loads(path.read_text())
    folder = tmp_path / "encoder"

    def says(**entry) -> str:
        path.write_text(json.dumps(data | {"encoders": [{"id": "mine", "path": str(folder)} | entry]}))
        assert cli.main(["check", str(path)]) == 1
        told = capsys.readouterr().err
        assert told.count("error: ") == 1
        return told

    assert (
        f"1 of 1 encoder waits for missing files, such as {folder} of mine; put them there, or give their place in the `path` of mine under `encoders`"
        in says()
    )
    folder.mkdir()
    assert f"{folder} has neither encoder.json (an encoder of retscale) nor modules.json" in says()
    kinds = [{"type": f"sentence_transformers.models.{kind}", "path": kind} for kind in ("Transformer", "Dense")]
    (folder / "modules.json").write_text(json.dumps(kinds))
    assert f"{folder}/modules.json: the modules Transformer, Dense cannot be reproduced here" in says()
    (folder / "encoder.json").write_text("{}")
    assert f"{folder}/encoder.json: checkpoint is missing; train this encoder again" in says()
    assert "encoders: m: also the id of a checkpoint; ids must differ" in says(id="m")
    assert "encoders.mine: this study trains results/asked/finetune/m/portes2025 itself" in says(
        path="results/asked/finetune/m/portes2025"
    )
    assert "encoders.0 (mine).pth: unknown key; did you mean 'path'?" in says(pth="x")
    data["recipes"] = [{"use": "portes2025", "id": "given"}]
    assert "recipes: 'given' stands for encoders made elsewhere" in says()


def refusal(path: Path, capsys) -> str:
    assert cli.main(["check", str(path)]) == 1
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


def own(tmp_path) -> tuple[Path, Path, dict]:
    """A study with everything in a folder of the user's, which holds what it must."""
    folder = tmp_path / "mine"
    written = own_files.data(folder)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / name).write_text("{}")
    model = {"id": "m", "family": "f", "size": "s", "tokens": 9, "source": {"kind": "local", "path": str(folder)}}
    path = tmp_path / "own.yaml"
    own_files.study(path, [model], **written)
    return path, folder, json.loads(path.read_text())


def test_what_can_run_is_passed(tmp_path):
    assert cli.main(["check", str(own(tmp_path)[0])]) == 0


@pytest.mark.parametrize(
    "gone, line",
    [
        ("config.json", "checkpoints (m): source.path: the folder {folder} has no config.json;"),
        ("model.safetensors", "checkpoints (m): source.path: the folder {folder} has no weights"),
        ("tokenizer.json", "checkpoints (m): source.path: the folder {folder} has no tokenizer;"),
        ("task/corpus.jsonl", "tasks (own): source.path: the folder {folder}/task has no corpus.jsonl (nor with .gz)"),
        ("task/queries.jsonl", "tasks (own): source.path: the folder {folder}/task has no queries.jsonl"),
        ("task/qrels/test.tsv", "tasks (own): source.split: the folder {folder}/task has no qrels/test.tsv"),
    ],
)
def test_a_folder_that_lacks_a_file_is_refused(tmp_path, capsys, gone, line):
    path, folder, _ = own(tmp_path)
    (folder / gone).unlink()
    assert f"{path}: {line.format(folder=folder)}" in refusal(path, capsys)


@pytest.mark.parametrize(
    "change, line",
    [
        (
            lambda s, f: s["tasks"][0]["source"].update(path=f),
            "tasks (own): source.path: the folder {folder} has no "
            "corpus.jsonl and no queries.jsonl (nor with .gz); name its subfolder {folder}/task",
        ),
        (
            lambda s, f: s["tasks"][0]["source"].update(split="dev"),
            "tasks (own): source.split: the folder {folder}/task "
            "has no qrels/dev.tsv (nor with .gz); splits there: test",
        ),
        (
            lambda s, f: s["pairs"][0]["source"].update(path=f"{f}/task/qrels/test.tsv"),
            "pairs (mine): source.path: {folder}/task/qrels/test.tsv must end with one of .parquet, .jsonl, .jsonl.gz",
        ),
        (
            lambda s, f: s["pairs"][0]["collection"].update(path=f"{f}/task/qrels/test.tsv"),
            "pairs (mine): collection.path: ",
        ),
        (
            lambda s, f: s["mine"].update(method="encoder", encoder=f),
            "mine.encoder: there is no file {folder}/encoder.json",
        ),
        (
            lambda s, f: s.update(text={"use": "speeches-and-news", "max_tokens": 2000}, checkpoints=[PRETRAINED]),
            "checkpoints (p): source.tokens: 4,096 are more than the text has: text.max_tokens is 2,000",
        ),
    ],
)
def test_an_entry_that_cannot_run_is_refused(tmp_path, capsys, change, line):
    path, folder, written = own(tmp_path)
    change(written, str(folder))
    path.write_text(json.dumps(written))
    assert f"{path}: {line.format(folder=folder)}" in refusal(path, capsys)
