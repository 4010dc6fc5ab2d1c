"""Files fetched from a git repository at a commit: right bytes or none, whoever serves them and whatever breaks."""

import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from retscale import cli
from retscale.errors import UserError
from retscale.items import repository
from retscale.items.config import JsonlSource
from retscale.items.run import run
from retscale.provenance import record

CONTENT = b'{"context": "c", "continuation": "d"}\n'
IDENTITY = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false", "-c", "gc.auto=0"]


def git(folder: Path, *arguments: str) -> str:
    call = ["git", "-C", str(folder), *IDENTITY, *arguments]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path, content: bytes = CONTENT) -> str:
    """The id of a new commit with `content` in data/x y.jsonl, and another file that nobody needs."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    git(folder, "init", "--quiet")
    (folder / "data/x y.jsonl").write_bytes(content)
    (folder / "big").write_text("not needed")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


def source(repo: str | Path, revision: str, **more) -> dict:
    return {"kind": "jsonl", "repo": str(repo), "revision": revision, "root": "data", "file": "x y.jsonl", **more}


def fetched(out: Path, source: dict) -> bytes:
    """What the stage writes for `source`."""
    out.mkdir(parents=True, exist_ok=True)
    run({"id": "t", "source": source}, {}, out)
    return (out / "items.jsonl").read_bytes()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(repository, "WAITS_S", (0, 0))
    for name in ("no_proxy", "NO_PROXY"):  # servers are on loopback here
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.fixture
def clone(tmp_path) -> tuple[Path, str]:
    """A repository on this disk and its commit."""
    folder = tmp_path / "clone"
    return folder, commit(folder)


def test_github_an_url_or_a_folder_is_a_repository():
    def url(repo):
        return JsonlSource.model_validate(source(repo, "a" * 40)).url()

    assert url("me/data.set") == "https://github.com/me/data.set"
    assert url("file:///srv/x") == "file:///srv/x" and url("https://host:1/x.git") == "https://host:1/x.git"
    assert url("/srv/x") == "/srv/x" and url("~/x") == str(Path.home() / "x")
    for repo in ("x", "a/b/c", "ssh://x/y", "ext::sh -c x", "--upload-pack=x", "https://token@host/x"):
        with pytest.raises(ValidationError, match="repo"):
            url(repo)


@pytest.mark.parametrize("revision", ["main", "v1.0", "a" * 39, "a" * 41, "A" * 40, "a" * 39 + "g"])
def test_only_a_whole_commit_pins(revision):
    with pytest.raises(ValidationError, match="revision"):
        JsonlSource.model_validate(source("me/repo", revision))


@pytest.mark.parametrize("scheme", ["file://", ""])
@pytest.mark.parametrize("selects", ["true", "false"])
def test_a_file_is_the_one_of_its_commit(clone, tmp_path, monkeypatch, scheme, selects):
    """Also when the branch has gone on, from a server that cannot leave out what is not wanted, and for a user whose
    own settings keep git to its first protocol.
    """
    folder, first = clone
    (tmp_path / "settings").write_text("[protocol]\nversion = 0\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "settings"))
    commit(folder, b"later\n")
    git(folder, "config", "uploadpack.allowFilter", selects)
    assert fetched(tmp_path / "out", source(f"{scheme}{folder}", first)) == CONTENT
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert json.loads((tmp_path / "out/items.json").read_text()) == {
        "id": "t",
        "from": f"data/x y.jsonl of {scheme}{folder} at {first}",
        "blob": hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest(),
        "sha256": digest,
        "lines": 1,
    }
    assert fetched(tmp_path / "out", source(folder, first, sha256=digest)) == CONTENT
    with pytest.raises(UserError, match=f"has the sha256 {digest}, but 0000.* is pinned; it is not the released file"):
        fetched(tmp_path / "other", source(folder, first, sha256="0" * 64))
    assert not list((tmp_path / "other").iterdir())


def test_no_other_file_is_transferred(clone, tmp_path, monkeypatch):
    folder, first = clone
    git(folder, "config", "uploadpack.allowFilter", "true")
    plain, there = repository.git, []

    def watched(place, *arguments):
        if arguments[0] == "cat-file":
            there.extend(plain(place, "cat-file", "--batch-all-objects", "--batch-check").decode().split())
        return plain(place, *arguments)

    monkeypatch.setattr(repository, "git", watched)
    fetched(tmp_path / "out", source(folder, first))
    kinds = there[1::3]
    assert sorted(kinds) == ["blob", "commit", "tree", "tree"]


def test_what_the_repository_lacks_is_refused_at_once(clone, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(repository, "WAITS_S", (9, 9))
    folder, first = clone
    with pytest.raises(UserError, match="path 'data/no.jsonl' does not exist"):
        fetched(tmp_path / "out", source(folder, first) | {"file": "no.jsonl"})
    with pytest.raises(UserError, match="not our ref aaaa"):
        fetched(tmp_path / "out", source(folder, "a" * 40))
    with pytest.raises(UserError, match="not appear to be a git repository"):
        fetched(tmp_path / "out", source(tmp_path / "nowhere", first))
    (folder / "data/x y.jsonl").write_text("another history\n")
    git(folder, "commit", "--quiet", "--all", "--amend", "-m", "one")
    git(folder, "reflog", "expire", "--expire=now", "--all")
    git(folder, "gc", "--quiet", "--prune=now")
    with pytest.raises(UserError, match=f"not our ref {first}"):
        fetched(tmp_path / "out", source(folder, first))
    assert not list((tmp_path / "out").iterdir()) and "trying again" not in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["commit", "tree", "blob"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("selects", ["true", "false"])
def test_other_bytes_under_the_same_id_are_refused(clone, tmp_path, monkeypatch, kind, packed, selects):
    """A server that keeps, under the name of each object on the way to the file, another content."""
    monkeypatch.setattr(repository, "WAITS_S", (9, 9))
    folder, first = clone
    git(folder, "config", "uploadpack.allowFilter", selects)
    other = bytes.fromhex(git(folder, "rev-parse", f"{first}:big"))
    name, old, new = {
        "commit": (first, b"\n\none", b"\n\ntwo"),
        "tree": (f"{first}:data", bytes.fromhex(git(folder, "rev-parse", f"{first}:data/x y.jsonl")), other),
        "blob": (f"{first}:data/x y.jsonl", b'"d"', b'"e"'),
    }[kind]
    id = git(folder, "rev-parse", name)
    path = folder / ".git/objects" / id[:2] / id[2:]
    whole = zlib.decompress(path.read_bytes())
    assert whole.count(old) == 1
    path.chmod(0o644)
    path.write_bytes(zlib.compress(whole.replace(old, new)))
    if packed:
        git(folder, "repack", "-adq")
        assert not path.exists()
    with pytest.raises(UserError, match="damaged or altered: what it sent does not match its id"):
        fetched(tmp_path / "out", source(folder, first))
    assert not list((tmp_path / "out").iterdir())


# --- over HTTP

BACKEND = Path(git(Path("."), "--exec-path")) / "git-http-backend"
needs_backend = pytest.mark.skipif(not BACKEND.is_file(), reason="git is installed without git-http-backend")


CUT, STALL = -1, -2
STALL_S = 600


class Server(http.server.ThreadingHTTPServer):
    """Serves the repositories below `root` as a forge does. Each of `troubles` befalls one request: the status of a
    refusal, CUT for an answer that breaks off, STALL for none, or None. Answers wait until `hold` is set.
    """

    daemon_threads = True

    def __init__(self, root: Path, *troubles: int | None):
        super().__init__(("127.0.0.1", 0), Handler)
        self.root, self.troubles, self.requests = root, list(troubles), []
        self.hold = threading.Event()
        self.hold.set()
        self.over = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()  # it soon notices its end
        return self

    def __exit__(self, *_):
        self.hold.set()
        self.over.set()
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        path, _, query = self.path.partition("?")
        self.server.requests.append(path)
        self.server.hold.wait()
        trouble = self.server.troubles.pop(0) if self.server.troubles else None
        if trouble == STALL:
            return self.server.over.wait(STALL_S)
        if trouble not in (None, CUT):
            return self.send_error(trouble)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
        }
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = subprocess.run([BACKEND], input=sent, env=environment, capture_output=True, check=True).stdout
        head, body = answer.split(b"\r\n\r\n", 1)
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if trouble == CUT else body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@needs_backend
@pytest.mark.parametrize("troubles", [(), (503, 429), *((None,) * before + (CUT,) for before in range(4))])
def test_busy_servers_and_broken_connections_are_tried_again(clone, tmp_path, capfd, troubles):
    """Whichever of the four requests it is that fails."""
    folder, first = clone
    git(folder, "config", "uploadpack.allowFilter", "true")
    with Server(tmp_path, *troubles) as server:
        assert fetched(tmp_path / "out", source(f"{server.url}/clone/.git", first)) == CONTENT
        assert not server.troubles
    assert capfd.readouterr().err.count("trying again") == len([one for one in troubles if one])


@needs_backend
@pytest.mark.slow  # a time limit is what it tests
def test_a_server_that_stalls_is_asked_again(clone, tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(repository.SETTINGS, "http.lowSpeedTime", 5)  # a busy machine answers later than in one
    folder, first = clone
    started = time.monotonic()
    with Server(tmp_path, STALL) as server:
        assert fetched(tmp_path / "out", source(f"{server.url}/clone/.git", first)) == CONTENT
    assert capfd.readouterr().err.count("trying again") == 1 and time.monotonic() - started < STALL_S


@needs_backend
def test_a_server_that_stays_busy_is_named_and_one_that_knows_nothing_is_not_asked_again(clone, tmp_path):
    _, first = clone
    with Server(tmp_path, *[503] * 9) as server, pytest.raises(UserError, match="returned error: 503; check"):
        fetched(tmp_path / "out", source(f"{server.url}/clone/.git", first))
    assert len(server.requests) == 3
    with Server(tmp_path) as server, pytest.raises(UserError, match="not found"):
        fetched(tmp_path / "out", source(f"{server.url}/nothing", first))
    assert len(server.requests) == 1


def test_a_server_that_wants_a_name_gets_none(tmp_path, monkeypatch):
    """401 is how a forge answers for what is private or not there; nobody is asked for a password."""
    asked = tmp_path / "asked"
    monkeypatch.setenv("GIT_ASKPASS", f"touch {asked}; echo")
    with Server(tmp_path, *[401] * 9) as server, pytest.raises(UserError, match="could not read Username"):
        fetched(tmp_path / "out", source(f"{server.url}/clone", "a" * 40))
    assert len(server.requests) == 1 and not asked.exists()


# --- the command


def command(out: Path, source: dict) -> list[str]:
    return ["items", "--spec", json.dumps({"id": "t", "source": source}), "--out", str(out / "t" / "items.json")]


def start(*arguments: str) -> subprocess.Popen:
    call = [sys.executable, "-m", "retscale", *arguments]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_without_network_one_line_says_what_to_do(tmp_path, capsys):
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_port
    assert cli.main(command(tmp_path, source(f"http://127.0.0.1:{port}/x", "a" * 40))) == 1
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("retscale items: error: cannot fetch data/x y.jsonl of http://127.0.0.1")
    assert "or a `folder` that contains x y.jsonl" in last and not list((tmp_path / "t").iterdir())
    (tmp_path / "bin").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "bin"))
        assert cli.main(command(tmp_path, source("me/repo", "a" * 40))) == 1
    assert "git is not installed; check" in capsys.readouterr().err


def test_jobs_at_once_do_not_meet(clone, tmp_path):
    folder, first = clone
    jobs = [start(*command(tmp_path / place, source(folder, first))) for place in ("a", "a", "b")]
    for job in jobs:
        assert job.wait() == 0, job.stderr.read()
    names = ["items.json", "items.jsonl", "items.record.json"]
    for place in ("a", "b"):
        assert sorted(path.name for path in (tmp_path / place / "t").iterdir()) == names
        made = record.read(tmp_path / place / "t/items.json")
        hashes = {row["path"]: row["sha256"] for row in made["outputs"]}
        assert hashes["items.jsonl"] == hashlib.sha256(CONTENT).hexdigest()


@needs_backend
def test_a_killed_job_leaves_nothing_that_looks_finished(clone, tmp_path):
    _, first = clone
    with Server(tmp_path) as server:
        server.hold.clear()
        call = command(tmp_path, source(f"{server.url}/clone/.git", first))
        job = start(*call)
        while not server.requests:
            assert job.poll() is None
            time.sleep(0.05)
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()
        assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [".items.json.lock", ".items.json.tmp"]
        assert list((tmp_path / "t/.items.json.tmp").iterdir())
        server.hold.set()
        assert cli.main(call) == 0
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [
        "items.json",
        "items.jsonl",
        "items.record.json",
    ]


def test_a_fetched_file_that_changes_later_is_noticed(clone, tmp_path):
    """Also where no sha256 is pinned: the record holds that of what was fetched."""
    folder, first = clone
    assert cli.main(command(tmp_path, source(folder, first))) == 0
    fetched = tmp_path / "t/items.json"
    assert record.verified_inputs({"tasks": [fetched]}, tmp_path)
    fetched.with_name("items.jsonl").write_bytes(CONTENT.replace(b"d", b"e"))
    with pytest.raises(UserError, match="items.jsonl"):
        record.verified_inputs({"tasks": [fetched]}, tmp_path)


def test_git_does_not_get_the_token_of_the_hub(tmp_path, monkeypatch):
    (fake := tmp_path / "git").write_text('#!/bin/sh\nprintf %s "$HF_TOKEN$HUGGING_FACE_HUB_TOKEN"\n')
    fake.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, "hf_secret")
    assert repository.git(str(tmp_path), "fetch") == b""
