"""Fetching from a hub on loopback, with every fault that the real one may have."""

import errno
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huggingface_hub import constants

from retscale import cli
from retscale.errors import UserError
from retscale.hub import client
from retscale.hub.cache import check_room, link, locked
from retscale.hub.listing import File, refs
from retscale.hub.names import nearest
from retscale.hub.snapshot import snapshot

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "README.md": b"# a model", "old/model.bin": b"x"}
REPO = "some/model"


def choose(names: list[str]) -> list[str]:
    return [name for name in names if name in ("config.json", "model.safetensors")]


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The waits of the client, which pass at once."""
    seconds = []
    monkeypatch.setattr(client.time, "sleep", seconds.append)
    return seconds


@pytest.fixture
def hub(loopback):
    """The loopback hub with one model, and an empty cache."""
    loopback.commit = loopback.publish(REPO, FILES)
    return loopback


def blobs(tmp_path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in tmp_path.glob("cache/*/blobs/*")}


def test_only_the_chosen_files_come_at_the_resolved_commit_and_their_hashes_are_right(hub, tmp_path):
    copy = snapshot(REPO, "main", choose)
    assert copy.commit == hub.commit == copy.folder.name
    assert {name: (copy.folder / name).read_bytes() for name in copy.sha256} == {n: FILES[n] for n in copy.sha256}
    assert copy.sha256 == {n: hashlib.sha256(FILES[n]).hexdigest() for n in ("config.json", "model.safetensors")}
    assert sorted(path.name for path in copy.folder.iterdir()) == ["config.json", "model.safetensors"]
    assert not hub.bodies("README.md") and not hub.bodies("old/model.bin") and len(hub.bodies("model.safetensors")) == 1


def test_what_is_cached_needs_no_hub(hub, monkeypatch):
    first = snapshot(REPO, "main", choose)
    hub.requests.clear()
    assert snapshot(REPO, hub.commit, choose) == first and not hub.requests  # a commit never changes
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert snapshot(REPO, "main", choose) == first and not hub.requests
    with pytest.raises(UserError, match="some/model at main is not in the cache .*network"):
        snapshot(REPO, "main", lambda names: [*choose(names), "README.md"])
    with pytest.raises(UserError, match="some/model at v2 is not in the cache .*network"):
        snapshot(REPO, "v2", choose)


def test_an_unreachable_hub_is_no_network(hub, monkeypatch):
    first = snapshot(REPO, "main", choose)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert snapshot(REPO, "main", choose) == first
    with pytest.raises(UserError, match="the hub cannot be reached"):
        snapshot("some/other", "main", choose)


def test_a_branch_that_moved_is_fetched_again_and_the_rest_is_not(hub):
    snapshot(REPO, "main", choose)
    moved = hub.publish(REPO, FILES | {"config.json": b'{"a": 2}'})
    copy = snapshot(REPO, "main", choose)
    assert copy.commit == moved and (copy.folder / "config.json").read_bytes() == b'{"a": 2}'
    assert len(hub.bodies("model.safetensors")) == 1  # the same bytes


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/", "/files/"], ids=["api", "small file", "large file"])
@pytest.mark.parametrize(
    ("status", "headers", "waited"),
    [
        (429, {"Retry-After": "7"}, 7),
        (429, {"RateLimit": '"api";r=0;t=42', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 42),
        (429, {}, 1),
        (503, {}, 1),
        (500, {}, 1),
    ],
)
def test_a_refusal_for_now_is_asked_again(hub, waits, capsys, path, status, headers, waited):
    hub.fail(path, status=status, headers=headers)
    assert snapshot(REPO, "main", choose).sha256["model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("the hub:")]
    assert waits == [waited] and len(lines) == 1 and f"HTTP {status}; retry 1 in {waited} s" in lines[0]


def test_refused_for_ever_gives_up_with_one_clear_line(hub, waits):
    hub.fail("/api/", status=429, times=1000)
    with pytest.raises(
        UserError,
        match=r"^the hub: GET /api/\S+: HTTP 429; gave up after 8 tries; run .* later, or with HF_HUB_OFFLINE=1 .*$",
    ) as error:
        snapshot(REPO, "main", choose)
    assert "\n" not in str(error.value)
    assert waits == [1, 2, 4, 8, 16, 32, 60] and len(hub.requests) == 8  # no second policy on top of this one
    hub.requests.clear()
    hub.faults[:] = []
    hub.fail("/files/", status=503, times=1000)
    with pytest.raises(UserError, match="HTTP 503; gave up after 8 tries"):
        snapshot(REPO, "main", choose)
    assert hub.counts()["GET", 503] == 8


def test_a_wait_beyond_patience_is_not_waited_for(hub, waits):
    hub.fail("/api/", status=429, headers={"Retry-After": "86400"}, times=1000)
    with pytest.raises(UserError, match="HTTP 429 and asks to wait 86400 s; gave up after 1 try;"):
        snapshot(REPO, "main", choose)
    assert not waits


def test_the_asked_wait_by_each_header():
    assert client.requested_wait({"retry-after": "30"}, 0) == 30
    assert client.requested_wait({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 90) == 30
    assert client.requested_wait({"retry-after": "Thu, 01 Jan 1970 00:02:00 GMT"}, 500) == 0
    assert client.requested_wait({"retry-after": "soon", "ratelimit": '"api";r=0;t=5'}, 0) == 5
    assert client.requested_wait({}, 0) is None


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_cut_download_goes_on_where_it_broke(hub, waits, tmp_path, capsys, monkeypatch, reset):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 2**16)  # 10 MiB: the client keeps whole pieces of it
    hub.fail("/files/", cut=4 * 2**16 + 5 * (not reset), hold=(hold := threading.Event()), reset=reset)
    with ThreadPoolExecutor() as pool:
        job = pool.submit(snapshot, REPO, "main", choose)
        until(lambda: job.done() or 4 * 2**16 in [path.stat().st_size for path in halves(tmp_path)])
        hold.set()
    assert job.result().sha256["model.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert ranges(hub) == [(None, 200), (f"bytes={4 * 2**16}-", 206)]
    assert re.search(r"after 262,14[49] bytes; resuming", capsys.readouterr().err)


def test_a_long_download_tells_how_much_has_come(hub, capsys, monkeypatch):
    monkeypatch.setattr("retscale.common.progress.LOG_EVERY_S", 0)
    monkeypatch.setattr(client.sys.stderr, "isatty", lambda: False, raising=False)
    snapshot(REPO, "main", choose)
    lines = [
        line for line in capsys.readouterr().err.splitlines() if line.startswith("some/model at main: 0.00 of 0.00 GB")
    ]
    assert lines and lines[-1].endswith(" MB/s, 0 s left")


def test_a_hub_that_falls_silent_is_asked_again(hub, waits, monkeypatch, capsys):
    monkeypatch.setattr(client, "SILENCE_S", 1)
    hub.fail("/api/models/", hold=(hold := threading.Event()))
    assert snapshot(REPO, "main", choose).commit == hub.commit
    hold.set()
    assert waits[0] == 1 and "the connection was lost (ReadTimeout); retry 1" in capsys.readouterr().err


def test_a_cut_listing_is_asked_again(hub, waits):
    hub.fail("/api/models/", cut=10)
    assert snapshot(REPO, "main", choose).commit == hub.commit and waits[:1] == [1]


def test_cuts_for_ever_are_told_as_such(hub, waits, tmp_path):
    hub.fail("/files/", cut=100, times=1000)
    with pytest.raises(UserError, match="the connection was lost repeatedly while some/model at main was fetched"):
        snapshot(REPO, "main", choose)
    assert len(hub.bodies("model.safetensors")) == 6
    assert [path.read_bytes() for path in halves(tmp_path)] == [b""]  # below 10 MiB


def test_a_cache_without_a_listing_is_completed_where_there_is_a_network(hub, monkeypatch, tmp_path):
    """As transformers leaves it, which asks for single files."""
    from huggingface_hub import hf_hub_download

    hf_hub_download(REPO, "config.json", revision=hub.commit)
    assert set(snapshot(REPO, hub.commit, choose).sha256) == {"config.json", "model.safetensors"}
    for listing in tmp_path.glob("cache/*/trees/*"):
        listing.unlink()
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert set(snapshot(REPO, hub.commit, choose).sha256) == {"config.json", "model.safetensors"}


def test_a_name_that_looks_like_a_pattern_is_a_name(hub):
    hub.publish("some/odd", {"a[1].json": b"{}", "a1.json": b"[]"})
    copy = snapshot("some/odd", "main", lambda names: ["a[1].json"])
    assert (copy.folder / "a[1].json").read_bytes() == b"{}" and not (copy.folder / "a1.json").exists()


def test_a_cache_that_cannot_be_written_is_named(hub, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="some/model at main could not be fetched .*file"):
        snapshot(REPO, "main", choose)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_wrong_byte_is_refused_and_not_kept(hub, tmp_path, name):
    hub.fail(name if name == "config.json" else "/files/", flip=5)
    with pytest.raises(UserError, match=f"{name} of some/model at main is damaged.*run this job again"):
        snapshot(REPO, "main", choose)
    assert FILES[name] not in blobs(tmp_path).values() and not list(tmp_path.glob(f"cache/*/snapshots/*/{name}"))
    assert snapshot(REPO, "main", choose).sha256[name] == hashlib.sha256(FILES[name]).hexdigest()


def test_a_cache_damaged_later_is_noticed_without_network(hub, monkeypatch):
    copy = snapshot(REPO, "main", choose)
    blob = (copy.folder / "model.safetensors").resolve()
    blob.write_bytes(WEIGHTS[:-1] + b"!")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="model.safetensors of some/model at main is damaged"):
        snapshot(REPO, "main", choose)
    assert not blob.exists()


def test_a_damaged_file_in_a_cache_of_others_is_named(hub, monkeypatch):
    blob = (snapshot(REPO, "main", choose).folder / "config.json").resolve()
    blob.write_bytes(b"{}")

    def refuse(self, missing_ok=False):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(UserError, match=f"config.json .* is damaged.*remove {blob} from the cache.*Permission denied"):
        snapshot(REPO, hub.commit, choose)


def test_what_another_job_has_mended_meanwhile_stays(hub, monkeypatch):
    """Two jobs find a damaged file; the slower one must not take away what the faster one has fetched anew."""
    link = snapshot(REPO, "main", choose).folder / "model.safetensors"
    blob = link.resolve()
    blob.write_bytes(WEIGHTS[:-1] + b"!")
    real = Path.open

    def open_and_be_slow(path, *mode, **options):
        file = real(path, *mode, **options)
        if path == blob and mode == ("rb",):
            monkeypatch.setattr(Path, "open", real)
            blob.with_name("anew").write_bytes(WEIGHTS)
            os.replace(blob.with_name("anew"), blob)
        return file

    monkeypatch.setattr(Path, "open", open_and_be_slow)
    with pytest.raises(UserError, match="model.safetensors of some/model at .* is damaged.*run this job again"):
        snapshot(REPO, hub.commit, choose)
    hub.requests.clear()
    snapshot(REPO, hub.commit, choose)
    assert not hub.requests


def test_what_another_job_has_taken_out_meanwhile_is_no_bug(hub, monkeypatch):
    blob = (snapshot(REPO, "main", choose).folder / "model.safetensors").resolve()
    blob.write_bytes(b"!")
    real = Path.open

    def taken(path, *mode, **options):
        if path == blob:
            blob.unlink()
        return real(path, *mode, **options)

    monkeypatch.setattr(Path, "open", taken)
    with pytest.raises(
        UserError, match="model.safetensors of some/model at .* was damaged and another job .*run this job again"
    ):
        snapshot(REPO, hub.commit, choose)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"], ids=["small", "large"])
def test_a_disk_that_fills_up_on_the_way_is_told(hub, monkeypatch, capsys, tmp_path, name):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("retscale.hub.blob.http_get", full)
    source = {"kind": "hub", "repo": REPO, "revision": "main", "files": ["*"]}
    hub.publish(REPO, {name: b"{}"}, kind="dataset")
    spec = json.dumps({"id": "x", "source": source})
    assert cli.main(["pairs", "--spec", spec, "--out", str(tmp_path / "out" / "pairs.json")]) == 1
    assert "error: the disk is full" in capsys.readouterr().err and not list(tmp_path.rglob("pairs.json"))


def test_what_nobody_comes_back_for_goes_after_a_week(hub, tmp_path):
    """But not from under a job that comes back for it at that moment."""
    folder = tmp_path / "cache" / "models--some--model" / "blobs"
    folder.mkdir(parents=True)
    names = {"old": 8, "old.1234abcd": 8, "young": 6, "held": 8}
    for name, days in names.items():
        (folder / f"{name}.incomplete").write_bytes(b"half")
        os.utime(folder / f"{name}.incomplete", (time.time() - days * 24 * 3600,) * 2)
    with locked(folder / "held"):
        snapshot(REPO, "main", choose)
    assert sorted(path.name for path in halves(tmp_path)) == ["held.incomplete", "young.incomplete"]


def test_a_missing_revision_names_the_nearest(hub):
    for step in (1000, 172000, 173000, 175000, 400000):
        hub.publish(REPO, FILES, branch=f"stage1-step{step}-tokens{step * 4 // 1000}B")
    with pytest.raises(UserError) as error:
        snapshot(REPO, "stage1-step174000-tokens730B", choose)
    assert "some/model has no revision 'stage1-step174000-tokens730B'; the nearest that exist: " in str(error.value)
    assert str(error.value).split("exist: ")[1].split(", ")[:2] == [
        "stage1-step175000-tokens700B",
        "stage1-step173000-tokens692B",
    ]


def test_nearest_names():
    steps = [f"step{n}" for n in (0, 1, 2, 4, 8, 16, 1000, 2000, 3000)]
    assert nearest("step1900", [*steps, "main"]) == "the nearest that exist: step2000, step1000, step3000, step16"
    assert nearest("mian", ["main", "dev"]) == "the nearest that exist: main"
    assert nearest("v9", ["main", "seed"]) == "the nearest that exist: main, seed"
    assert nearest("v9", []) == "it has no branches and no tags"


def test_a_gated_repository_says_what_to_accept_and_where_the_token_goes(hub, waits, monkeypatch, capsys, tmp_path):
    hub.repositories["model", REPO].gated = True
    page = f"{hub.endpoint}/{REPO}"
    with pytest.raises(UserError, match=f"is gated: accept its terms at {page} and set HF_TOKEN to a token"):
        snapshot(REPO, "main", choose)
    monkeypatch.setenv("HF_TOKEN", "hf_not_yet_accepted")
    with pytest.raises(UserError, match=f"is gated: accept its terms at {page} with the account of HF_TOKEN") as error:
        snapshot(REPO, "main", choose)
    monkeypatch.setenv("HF_TOKEN", "accepted")
    hub.fail("/files/", cut=100)
    copy = snapshot(REPO, "main", choose)
    printed = capsys.readouterr()
    assert "hf_not" not in f"{error.value}{printed}" and "accepted" not in f"{printed}" and "secret" not in f"{printed}"
    assert not any(b"accepted" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    # The token goes to the hub and never to the server of large files.
    assert {r.authorization for r in hub.bodies("model.safetensors")} == {None}
    assert {r.authorization for r in hub.bodies("config.json")} == {"Bearer accepted"} and copy.commit == hub.commit


def test_an_unknown_repository_and_a_bad_token(hub, monkeypatch):
    with pytest.raises(UserError, match="there is no model some/typo on the hub, or it is private and HF_TOKEN"):
        snapshot("some/typo", "main", choose)
    with pytest.raises(UserError, match="there is no dataset some/model"):
        snapshot(REPO, "main", choose, "dataset")
    message = {"X-Error-Message": "Invalid credentials in Authorization header"}
    hub.fail("/api/", status=401, headers=message)
    with pytest.raises(UserError, match="does not accept the token in HF_TOKEN"):
        snapshot(REPO, "main", choose)
    hub.fail("/api/", status=451)
    with pytest.raises(UserError, match="the hub refused some/model at main with HTTP 451"):
        snapshot(REPO, "main", choose)


def test_room_on_the_disk_is_checked_before_a_byte_comes(hub, monkeypatch):
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("retscale.hub.cache.shutil.disk_usage", lambda path: usage)
    with pytest.raises(UserError, match=r"some/model at main needs 0.0 GB more, .* has 0.0 GB free; .*HF_HOME"):
        snapshot(REPO, "main", choose)
    assert not hub.bodies("model.safetensors") and not hub.bodies("config.json")
    usage.free = 2_000_000
    snapshot(REPO, "main", choose)
    usage.free = 0  # what is there already needs no room
    snapshot(REPO, "main", choose)
    with pytest.raises(UserError, match="x needs 14.5 GB more, but the disk of /no/such/folder has 0.0 GB free"):
        check_room(14_500_000_000, Path("/no/such/folder"), "x")


def test_a_file_too_large_for_plain_http_is_refused_in_words(hub, monkeypatch):
    monkeypatch.setattr(constants, "MAX_HTTP_DOWNLOAD_SIZE", 1_000_000)
    with pytest.raises(UserError, match="model.safetensors of some/model at main is larger than .*hf download"):
        snapshot(REPO, "main", choose)


def test_the_size_of_a_large_file_is_the_one_outside_of_git():
    lfs = {"sha256": "a" * 64, "size": 7_000}
    assert File(rfilename="a", size=10, blobId="b" * 40).size == 10
    assert File(rfilename="b", size=130, blobId="c" * 40, lfs=lfs).size == 7_000


MIB = 2**20
BIG = random.Random(0).randbytes(24 * MIB)
KEPT = 20 * MIB  # the client writes 10 MiB at a time
JOB = [
    sys.executable,
    "-c",
    "from retscale.hub.snapshot import snapshot; "
    f"copy = snapshot({REPO!r}, 'main', lambda names: ['config.json', 'model.safetensors']); "
    "print(copy.sha256['model.safetensors'])",
]


def start() -> subprocess.Popen:
    patient = os.environ | {"HF_HUB_DOWNLOAD_TIMEOUT": "120"}  # with a hub that is held on a busy machine
    return subprocess.Popen(JOB, env=patient, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(job: subprocess.Popen, weights: bytes) -> str:
    """What a job printed, which must have the right weights."""
    out, err = job.communicate(timeout=120)
    assert out.strip() == hashlib.sha256(weights).hexdigest(), err
    return err


def until(true) -> None:
    """Wait, on a busy machine for long."""
    deadline = time.monotonic() + 120
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.05)  # `waits` ends each sleep at once


def halves(tmp_path) -> list[Path]:
    return list(tmp_path.glob("cache/*/blobs/*.incomplete"))


def ranges(hub) -> list[tuple[str | None, int]]:
    """What was asked of the large file, and how it was answered."""
    return [(request.range, request.status) for request in hub.bodies("model.safetensors")]


def kill_at(hub, tmp_path, n_bytes: int) -> Path:
    """Kill a job, for real, when it has so many bytes of the large file; returns what it leaves."""
    had = sum(path.stat().st_size for path in halves(tmp_path))
    hub.fail("/files/", cut=n_bytes - had + MIB, hold=(hold := threading.Event()))
    job = start()
    until(lambda: job.poll() is not None or n_bytes in [path.stat().st_size for path in halves(tmp_path)])
    job.kill()
    hold.set()
    job.communicate()
    assert job.returncode == -signal.SIGKILL
    [left] = halves(tmp_path)
    return left


@pytest.fixture
def rest(hub, tmp_path) -> Path:
    """What a killed job left."""
    hub.publish(REPO, FILES | {"model.safetensors": BIG})
    left = kill_at(hub, tmp_path, KEPT)
    hub.requests.clear()
    return left


def test_a_killed_download_goes_on_where_it_was(hub, rest, tmp_path):
    told = finish(start(), BIG)
    assert ranges(hub) == [(f"bytes={KEPT}-", 206)] and not halves(tmp_path)
    assert f"model.safetensors of some/model at main: resuming after {KEPT:,} of {len(BIG):,} bytes\n" in told


def test_killed_again_it_goes_on_from_there(hub, rest, tmp_path):
    rest.write_bytes(BIG[: 10 * MIB])
    kill_at(hub, tmp_path, KEPT)
    finish(start(), BIG)
    assert ranges(hub) == [(f"bytes={10 * MIB}-", 206), (f"bytes={KEPT}-", 206)]


def test_a_damaged_rest_is_noticed_and_all_is_fetched_anew(hub, rest, tmp_path):
    with rest.open("r+b") as file:
        file.write(bytes([BIG[0] ^ 1]))
    assert "what an earlier job left of it was damaged; fetching it again" in finish(start(), BIG)
    assert ranges(hub) == [(f"bytes={KEPT}-", 206), (None, 200)] and not halves(tmp_path)


@pytest.mark.parametrize(
    ("left", "asked"),
    [
        (BIG, []),  # killed between the last byte and the file's name
        (BIG[:-1] + b"!", [(None, 200)]),
        (BIG + b"!", [(None, 200)]),
        (b"", [(None, 200)]),
    ],
    ids=["whole", "damaged", "too long", "empty"],
)
def test_any_rest_comes_to_the_right_bytes(hub, tmp_path, left, asked):
    hub.publish(REPO, FILES | {"model.safetensors": BIG})
    folder = tmp_path / "cache" / "models--some--model" / "blobs"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(BIG).hexdigest()
    (folder / f"{digest}.incomplete").write_bytes(left)
    assert snapshot(REPO, "main", choose).sha256["model.safetensors"] == digest
    assert ranges(hub) == asked and not halves(tmp_path) and (folder / digest).read_bytes() == BIG


def test_a_rest_that_is_damaged_and_fetched_anew_damaged_ends(hub, rest, tmp_path):
    rest.write_bytes(b"!" * KEPT)
    hub.fail("/files/", flip=5, times=1000)
    with pytest.raises(UserError, match="model.safetensors of some/model at main is damaged.*suspect the disk"):
        snapshot(REPO, "main", choose)
    assert ranges(hub) == [(f"bytes={KEPT}-", 206), (None, 200)] and not halves(tmp_path)


def test_a_server_that_knows_no_ranges_sends_it_whole(hub, rest):
    hub.fail("/files/", whole=True)
    assert snapshot(REPO, "main", choose).sha256["model.safetensors"] == hashlib.sha256(BIG).hexdigest()
    assert ranges(hub) == [(f"bytes={KEPT}-", 200)]


def test_a_file_that_changed_since_the_kill_is_fetched_whole(hub, rest, tmp_path):
    changed = BIG[::-1]
    hub.publish(REPO, FILES | {"model.safetensors": changed})
    finish(start(), changed)
    assert ranges(hub) == [(None, 200)]
    assert halves(tmp_path) == [rest]  # another branch may have it yet; after a week it goes


def test_room_is_wanted_for_what_has_yet_to_come(hub, rest, monkeypatch):
    usage = type("Usage", (), {"free": 5 * MIB})
    monkeypatch.setattr("retscale.hub.cache.shutil.disk_usage", lambda path: usage)
    snapshot(REPO, "main", choose)


def one_after_the_other(hub, weights: bytes) -> None:
    """Two jobs, the first of which has the file's first byte when the second one waits."""
    hub.fail("/files/", hold=(hold := threading.Event()))
    first = start()
    until(lambda: hub.bodies("model.safetensors"))
    second = start()
    waits = second.stderr.readline()
    hold.set()
    assert re.search("^model.safetensors of .*: another job is fetching it; waiting for its lock /.*[.]lock$", waits)
    for job in (first, second):
        finish(job, weights)


def test_two_jobs_fetch_a_file_once(hub):
    one_after_the_other(hub, WEIGHTS)
    assert ranges(hub) == [(None, 200)]


def test_two_jobs_go_on_once(hub, rest, tmp_path):
    one_after_the_other(hub, BIG)
    assert ranges(hub) == [(f"bytes={KEPT}-", 206)] and not halves(tmp_path)


def test_two_jobs_whose_locks_do_nothing_get_the_right_bytes(hub, rest, monkeypatch, tmp_path):
    """As on some file systems of clusters, where `flock` lets everybody in."""
    (tmp_path / "sitecustomize.py").write_text("import fcntl\nfcntl.flock = lambda *arguments: None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    hub.fail("/files/", hold=(hold := threading.Event()), times=2)
    jobs = [start() for _ in range(2)]
    until(lambda: len(hub.bodies("model.safetensors")) == 2 or any(job.poll() is not None for job in jobs))
    hold.set()
    for job in jobs:
        finish(job, BIG)
    assert ranges(hub) == [(f"bytes={KEPT}-", 206)] * 2 and not halves(tmp_path)


def test_refs_are_branches_and_tags(hub):
    hub.repositories["model", REPO].tags["v1"] = hub.commit
    assert refs(REPO) == ["main", "v1"]


def test_a_link_that_is_right_is_never_away(tmp_path, monkeypatch):
    """One job reads a file by its link while another, which has waited for the same file, puts the link there too."""
    blob, path = tmp_path / "blobs" / "a", tmp_path / "snapshots/0/model.safetensors"
    link(path, blob, tmp_path)
    before = path.lstat()
    link(path, blob, tmp_path)
    assert path.lstat() == before
    monkeypatch.delattr(Path, "unlink")
    link(path, other := blob.with_name("b"), tmp_path)
    assert path.readlink().name == other.name
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
