"""What evaluation keeps on disk: shards that outlive a killed job."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from test_evaluate import encoder, given, spec, tasks  # noqa: F401 - pytest finds the fixtures by their names

from retscale.clean import stores
from retscale.evaluate import run as stage
from retscale.evaluate import vectors
from retscale.model.encoder import Encoder


def test_shards_that_another_job_takes_away_are_not_missed(tmp_path, monkeypatch):
    """Two studies evaluate one encoder on one corpus; the first to end removes the shards of both."""
    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 2)
    expected = np.arange(12, dtype=np.float32).reshape(6, 2)
    fsync = os.fsync

    def removed(descriptor):
        fsync(descriptor)
        shutil.rmtree(tmp_path / "shards")

    monkeypatch.setattr(os, "fsync", removed)
    vectors_of_shards = list(vectors.shards(6, lambda rows, _: expected[rows], 1, 0, folder=tmp_path / "shards"))
    assert np.array_equal(np.concatenate(vectors_of_shards), expected)


LATE = 60  # seconds after which a test that waits for another thread has failed


class Devices:
    """Fake ones: shards of one vector, its number. `wait_for(shard)` says for how many shards of others it waits."""

    def __init__(self, wait_for=lambda shard: 0):
        self.wait_for, self.changed = wait_for, threading.Condition()
        self.begun, self.done, self.busy, self.device_of = [], [], set(), {}

    def embed(self, rows: slice, device: int) -> np.ndarray:
        with self.changed:
            assert device not in self.busy
            self.busy.add(device)
            self.begun.append(rows.start)
            self.device_of[rows.start] = device
            self.changed.notify_all()
            expected = len(self.done) + self.wait_for(rows.start)
            assert self.changed.wait_for(lambda: len(self.done) >= expected, LATE), f"{self.done} before {rows.start}"
            self.done.append(rows.start)
            self.busy.remove(device)
            self.changed.notify_all()
        return np.full((1, 1), rows.start, np.float32)

    def await_begun(self, shard: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: shard in self.begun, LATE), f"only {self.begun} were begun"


def test_a_fast_device_takes_the_next_shards_while_a_slow_one_works(monkeypatch):
    """One takes four times as long as the other: in rounds, which wait for the slower, it would be twice the time."""
    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 1)
    devices = Devices(lambda shard: 4 if shard % 5 == 0 else 0)
    vectors_of_shards = list(vectors.shards(20, devices.embed, 2, 4))
    assert np.concatenate(vectors_of_shards)[:, 0].tolist() == list(range(20))
    assert set(devices.device_of.values()) == {0, 1}


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_so_many_shards_are_made_while_one_is_searched(ahead, monkeypatch):
    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 1)
    devices = Devices()
    for shard, _ in enumerate(vectors.shards(8, devices.embed, 1, ahead)):
        last = min(shard + ahead, 7)
        devices.await_begun(last)
        assert sorted(devices.begun) == list(range(last + 1))


def test_a_search_that_fails_encodes_no_further(monkeypatch):
    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 1)
    begun, searched = [], threading.Event()

    def embed(rows, device):
        begun.append(rows.start)
        assert rows.start == 0 or searched.wait(LATE)
        return np.zeros((1, 1), np.float32)

    held = vectors.shards(50, embed, 1, 9)
    next(held)
    threading.Timer(0.01, searched.set).start()
    held.close()
    assert len(begun) <= 2


def test_the_shards_of_an_accelerator_are_made_ahead():
    assert vectors.shards_ahead(torch.device("cpu"), 1) == 0
    assert [vectors.shards_ahead(torch.device("cuda", 0), devices) for devices in (1, 8)] == [2, 16]


def test_a_shard_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        vectors._save(np.ones(2), tmp_path / "shard.npy")
    assert not list(tmp_path.iterdir())


def full_disk(_):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def whole(encoder, tasks, tmp_path, monkeypatch):
    """The results of a job that nothing disturbs, its corpus of 40 documents in shards of 8."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 8)
    return evaluated(encoder, tasks[:1], tmp_path / "whole")


def evaluated(encoder, tasks, out: Path, **more) -> dict[str, bytes]:
    out.mkdir()
    names = [json.loads(path.read_text())["id"] for path in tasks]
    list(stage.run(spec(names, **more), given(encoder, *tasks), out))
    return {path.name: path.read_bytes() for path in sorted(out.iterdir())}


def test_no_document_is_tokenized(whole, encoder, tasks, tmp_path, monkeypatch):
    read, sides = Encoder.tokens, set()
    monkeypatch.setattr(Encoder, "tokens", lambda self, texts, side: sides.add(side) or read(self, texts, side))
    assert evaluated(encoder, tasks[:1], tmp_path / "again") == whole
    assert sides == {"query"}


KILLED = """
import os, signal, sys
from pathlib import Path
from retscale.evaluate import run, vectors
vectors.VECTORS_A_SHARD = 8
save, saved = vectors._save, []
def one(*arguments):
    save(*arguments)
    saved.append(1)
    if len(saved) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
vectors._save = one
list(run.run({spec}, {{"encoder": Path({encoder!r}), "tasks": [Path({task!r})], "tokens": [Path({tokens!r})]}}, Path(".")))
"""


@pytest.mark.slow
def test_a_killed_job_goes_on_at_the_last_finished_shard(whole, encoder, tasks, tmp_path, monkeypatch):
    code = KILLED.format(
        spec=spec(["one"]), encoder=str(encoder), task=str(tasks[0]), tokens=str(*given(encoder, tasks[0])["tokens"])
    )
    path = str(Path(stage.__file__).parents[2])
    killed = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (kept,) = stores.VECTORS.iterdir()
    assert sorted(p.name for p in kept.glob("*.npy")) == ["0000000000.npy", "0000000008.npy", "0000000016.npy"]
    (kept / "0000000016.npy").write_bytes(b"half")  # as a full disk might leave it
    encoded, embed = [], Encoder.embed
    monkeypatch.setattr(Encoder, "embed", lambda self, ids, *rest: encoded.append(len(ids)) or embed(self, ids, *rest))
    assert evaluated(encoder, tasks[:1], tmp_path / "resumed") == whole
    assert encoded == [12, 8, 8, 8]  # the queries and the last three of five shards
    assert not list((stage.STATE / "vectors").iterdir())


def test_shards_of_another_encoder_are_not_taken(whole, encoder, tasks, tmp_path, monkeypatch):
    keys = []
    monkeypatch.setattr(stage.shutil, "rmtree", lambda path, **_: keys.append(path))
    evaluated(encoder, tasks[:1], tmp_path / "a")
    evaluated(encoder, tasks[:1], tmp_path / "b", tokens_per_batch=128)
    evaluated(encoder, tasks[:1], tmp_path / "c", storage="float16")
    assert len(set(keys)) == len(keys) == 3


def test_vectors_lie_on_the_scratch_of_a_cluster(whole, encoder, tasks, tmp_path, monkeypatch):
    monkeypatch.setenv("RETSCALE_SCRATCH", str(tmp_path / "scratch"))
    keys = []
    monkeypatch.setattr(stage.shutil, "rmtree", lambda path, **_: keys.append(path))
    assert evaluated(encoder, tasks[:1], tmp_path / "a") == whole
    assert [key.parent for key in keys] == [tmp_path / "scratch/vectors"] and keys[0].is_dir()


def test_a_corpus_that_tasks_share_is_encoded_once(whole, encoder, tasks, tmp_path, monkeypatch):
    again = tmp_path / "twin"
    again.mkdir()
    for path in tasks[0].parent.iterdir():
        (again / path.name).write_bytes(path.read_bytes())
    (again / "task.json").write_text(json.dumps(json.loads(tasks[0].read_text()) | {"id": "twin"}))
    encoded, embed = [], Encoder.embed
    monkeypatch.setattr(Encoder, "embed", lambda self, ids, *rest: encoded.append(len(ids)) or embed(self, ids, *rest))
    vectors_of_shards = evaluated(encoder, [tasks[0], again / "task.json"], tmp_path / "both")
    assert vectors_of_shards["one.parquet"] == vectors_of_shards["twin.parquet"] == whole["one.parquet"]
    assert encoded == [12, 8, 8, 8, 8, 8, 12]
    assert not list((stage.STATE / "vectors").iterdir())


@pytest.mark.parametrize("ahead", [0, 4])
def test_two_devices_give_what_one_gives(whole, encoder, tasks, tmp_path, monkeypatch, ahead):
    load, used = stage.encoders.load_encoder, set()

    def twice(*arguments):
        vectors_of_shards = load(*arguments)
        return Encoder(**{**vars(vectors_of_shards), "models": vectors_of_shards.models * 2})

    embed = Encoder.embed
    monkeypatch.setattr(stage.encoders, "load_encoder", twice)
    monkeypatch.setattr(stage, "shards_ahead", lambda device, devices: ahead)
    monkeypatch.setattr(
        Encoder, "embed", lambda self, ids, what, replica=0: used.add(replica) or embed(self, ids, what, replica)
    )
    assert evaluated(encoder, tasks[:1], tmp_path / "two") == whole
    assert used == {0, 1}


def test_shards_change_no_ranking(whole, encoder, tasks, tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 2**16)
    once = evaluated(encoder, tasks[:1], tmp_path / "once")
    assert json.loads(once["one.json"])["metrics"] == json.loads(whole["one.json"])["metrics"]
