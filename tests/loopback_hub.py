"""A Hugging Face hub on loopback: what huggingface_hub 2.4 asks of the real one, and the faults that one may have.

Two servers on 127.0.0.1: the hub, which answers the API and small files, and its file server, to which it redirects for
large ones (those that git LFS would hold), as the real hub does.
"""

import base64
import hashlib
import json
import socket
import struct
import threading
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath

LARGE = {".safetensors", ".bin", ".parquet", ".gz"}
KINDS = {"models": "model", "datasets": "dataset"}


@dataclass
class Fault:
    """What goes wrong with requests whose path contains `path`, the next `times` times.

    `status` answers so (with `headers`); `cut` sends that many bytes and breaks the connection (`reset`: with a TCP
    reset); `flip` inverts the byte at that place; `slow` waits so many seconds before the body; `hold` waits for that
    event before the body, or after the bytes of `cut`; `whole` sends the file from its start whatever range is asked;
    `body` stands for the body; `endless` lets zeros follow it, up to half a gigabyte.
    """

    path: str
    times: int = 1
    method: str = "GET"
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    hold: threading.Event | None = None
    reset: bool = False
    flip: int | None = None
    slow: float = 0
    whole: bool = False
    body: bytes | None = None
    endless: bool = False


@dataclass
class Repository:
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    gated: bool = False  # its files are only for the token "accepted"
    private: bool = False


@dataclass
class Request:
    method: str
    path: str
    status: int
    range: str | None
    authorization: str | None


class LoopbackHub:
    def __init__(self):
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.edit = lambda info: info  # what is said of a commit
        self.stored: dict[str, bytes] = {}  # large files that were uploaded, by sha256
        self.sent_in_vain = 0  # zeros that a client let come
        self.lock = threading.Lock()
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), self._handler(part)) for part in ("hub", "files")]
        self.endpoint, self.file_server = (f"http://127.0.0.1:{server.server_port}" for server in self.servers)

    def publish(
        self, repo: str, files: dict[str, bytes], kind: str = "model", branch: str = "main", commit: str | None = None
    ) -> str:
        """A commit at the tip of `branch`; returns its hash."""
        repository = self.repositories.setdefault((kind, repo), Repository())
        if commit is None:
            parts = [repo, branch, *(f"{name} {hashlib.sha256(data).hexdigest()}" for name, data in files.items())]
            commit = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        repository.commits[commit] = files
        repository.branches[branch] = commit
        return commit

    def fail(self, path: str, **fault) -> None:
        self.faults.append(Fault(path, **fault))

    def bodies(self, name: str) -> list[Request]:
        """The requests that were sent (part of) the bytes of a file of this name."""
        digests = {
            etag(name, data)
            for r in self.repositories.values()
            for c in r.commits.values()
            for n, data in c.items()
            if n == name
        }
        return [
            r
            for r in self.requests
            if r.method == "GET" and r.status in (200, 206) and (r.path.endswith(f"/{name}") or r.path[7:] in digests)
        ]

    def counts(self) -> Counter:
        return Counter((r.method, r.status) for r in self.requests)

    def _handler(self, part: str):
        hub = self

        def place(wanted: dict) -> dict:
            """Where a large file goes, or that it is there."""
            href = f"{hub.file_server}/upload/{wanted['oid']}"
            return wanted | ({} if wanted["oid"] in hub.stored else {"actions": {"upload": {"href": href}}})

        def mode(path: str) -> dict:
            return {"path": path, "uploadMode": "lfs" if large(path) else "regular", "shouldIgnore": False}

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30  # an idle connection ends its thread

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.answer()

            def do_HEAD(self):
                self.answer()

            def do_POST(self):
                self.upload()

            def do_PUT(self):
                self.upload()

            def upload(self):
                """What the client sends: for the token "writer" alone, but the bytes of a large file for whoever has its address."""
                url = urllib.parse.urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.fault = hub._fault(self.command, url.path)
                if self.fault and self.fault.status:
                    return self.reply(self.fault.status, self.fault.body or b"{}", self.fault.headers)
                path = url.path.strip("/").split("/")
                if part == "files":
                    hub.stored[path[-1]] = body
                    return self.reply(200, b"", {})
                if self.headers.get("Authorization") != "Bearer writer":
                    return self.reply(403, b"{}", {})
                if path == ["api", "validate-yaml"]:  # the header of a card
                    return self.json({"errors": [], "warnings": []})
                if path == ["api", "repos", "create"]:
                    return self.create(json.loads(body))
                repo = "/".join(path[2:4]) if path[0] == "api" else f"{path[0]}/{path[1].removesuffix('.git')}"
                if path[-1] == "batch":
                    return self.json({"transfer": "basic", "objects": list(map(place, json.loads(body)["objects"]))})
                if path[4:5] == ["preupload"]:
                    return self.json({"files": [mode(file["path"]) for file in json.loads(body)["files"]]})
                if path[4:5] != ["commit"]:
                    return self.reply(404, b"{}", {})
                self.commit(repo, [json.loads(line) for line in body.splitlines()])

            def create(self, asked: dict):
                repo = f"{asked['organization']}/{asked['name']}"
                if ("model", repo) in hub.repositories:
                    return self.reply(409, json.dumps({"url": f"{hub.endpoint}/{repo}"}).encode(), {})
                hub.publish(repo, {})
                hub.repositories["model", repo].private = asked.get("visibility") == "private"
                self.json({"url": f"{hub.endpoint}/{repo}"})

            def commit(self, repo: str, lines: list[dict]):
                repository = hub.repositories["model", repo]
                files = dict(repository.commits[repository.branches["main"]])
                for value in (line["value"] for line in lines if line["key"] == "file"):
                    files[value["path"]] = base64.b64decode(value["content"])
                for value in (line["value"] for line in lines if line["key"] == "lfsFile"):
                    files[value["path"]] = hub.stored[value["oid"]]
                commit = hub.publish(repo, files)
                address = f"{hub.endpoint}/{repo}/commit/{commit}"
                self.json({"commitUrl": address, "commitOid": commit, "pullRequestUrl": None})

            def answer(self):
                url = urllib.parse.urlsplit(self.path)
                self.fault = hub._fault(self.command, url.path)
                if self.fault and self.fault.status:
                    return self.reply(self.fault.status, self.fault.body or b"{}", self.fault.headers)
                if part == "files":
                    return self.send_file(hub._blob(PurePosixPath(url.path).name), {})
                path = urllib.parse.unquote(url.path).strip("/").split("/")
                raw = url.path.strip("/").split("/")
                if path[0] == "api" and path[1] in KINDS and len(path) >= 4:
                    return self.api(KINDS[path[1]], "/".join(path[2:4]), [urllib.parse.unquote(p) for p in raw[4:]])
                kind = KINDS[raw.pop(0)] if raw[0] in KINDS else "model"
                if len(raw) >= 5 and raw[2] == "resolve":
                    revision, name = urllib.parse.unquote(raw[3]), urllib.parse.unquote("/".join(raw[4:]))
                    return self.resolve(kind, "/".join(raw[:2]), revision, name)
                self.reply(404, b"", {})

            def api(self, kind: str, repo: str, rest: list[str]):
                repository = hub.repositories.get((kind, repo))
                if repository is None:
                    return self.reply(401, b"", {"X-Error-Code": "RepoNotFound"})
                if rest == ["refs"]:
                    return self.json(
                        {
                            name: [{"name": n, "ref": f"refs/{name}/{n}", "targetCommit": c} for n, c in items.items()]
                            for name, items in (
                                ("branches", repository.branches),
                                ("tags", repository.tags),
                                ("converts", {}),
                            )
                        }
                    )
                commit = hub._commit(repository, rest[1] if len(rest) > 1 else "main")
                if commit is None:
                    return self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
                if rest and rest[0] == "tree":
                    return self.json([entry(name, data) for name, data in repository.commits[commit].items()])
                info = {
                    "id": repo,
                    "sha": commit,
                    "private": repository.private,
                    "gated": "manual" if repository.gated else False,
                    "tags": [],
                    "downloads": 0,
                    "siblings": [sibling(*file) for file in repository.commits[commit].items()],
                }
                self.json(hub.edit(info))

            def resolve(self, kind: str, repo: str, revision: str, name: str):
                repository = hub.repositories.get((kind, repo))
                if repository is None:
                    return self.reply(401, b"", {"X-Error-Code": "RepoNotFound"})
                token = self.headers.get("Authorization")
                if repository.gated and token != "Bearer accepted":
                    return self.reply(403 if token else 401, b"", {"X-Error-Code": "GatedRepo"})
                commit = hub._commit(repository, revision)
                if commit is None:
                    return self.reply(404, b"", {"X-Error-Code": "RevisionNotFound"})
                data = repository.commits[commit].get(name)
                if data is None:
                    return self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
                stated = etag(name, data)
                headers = {"X-Repo-Commit": commit, "ETag": f'"{stated}"'}
                if not large(name):
                    return self.send_file(data, headers)
                headers |= {"X-Linked-Etag": f'"{stated}"', "X-Linked-Size": str(len(data)), "X-Xet-Hash": stated}
                headers["X-Xet-Refresh-Route"] = f"{hub.endpoint}/api/{kind}s/{repo}/xet-read-token/{commit}"
                self.reply(302, b"", headers | {"Location": f"{hub.file_server}/files/{stated}?signature=secret"})

            def send_file(self, data: bytes, headers: dict[str, str]):
                start, status, asked = 0, 200, self.headers.get("Range")
                total = len(data)
                if asked and not (self.fault and self.fault.whole):
                    start, status = int(asked.removeprefix("bytes=").split("-")[0]), 206
                    headers = headers | {"Content-Range": f"bytes {start}-{total - 1}/{total}"}
                if self.fault and self.fault.flip is not None:
                    data = bytearray(data)
                    data[self.fault.flip] ^= 255
                self.reply(status, bytes(data[start:]), headers | {"Accept-Ranges": "bytes"})

            def json(self, value):
                self.reply(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

            def reply(self, status: int, body: bytes, headers: dict[str, str]):
                with hub.lock:
                    hub.requests.append(
                        Request(
                            self.command,
                            self.path.split("?")[0],
                            status,
                            self.headers.get("Range"),
                            self.headers.get("Authorization"),
                        )
                    )
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                endless = self.fault is not None and self.fault.endless
                length = {"Transfer-Encoding": "chunked"} if endless else {"Content-Length": str(len(body))}
                self.send_header(*length.popitem())
                self.end_headers()
                if self.command == "HEAD":
                    return
                fault = self.fault or Fault("")
                if endless:
                    return self.zeros(body)
                if fault.hold and fault.cut is None:
                    fault.hold.wait()
                if fault.slow:
                    threading.Event().wait(fault.slow)  # tests replace time.sleep
                self.wfile.write(body if fault.cut is None else body[: fault.cut])
                if fault.cut is not None:
                    self.close_connection = True
                    if fault.hold:
                        self.wfile.flush()
                        fault.hold.wait()
                    if fault.reset:  # it overtakes the bytes that were not read yet, so `hold` until they are
                        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        self.connection.close()

            def zeros(self, body: bytes):
                self.close_connection = True
                block = bytes(2**20)
                with suppress(OSError):  # the client has had enough
                    for chunk in (body, *[block] * 512):
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                        hub.sent_in_vain += len(chunk)
                    self.wfile.write(b"0\r\n\r\n")

        return Handler

    def _fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and fault.path in path:
                    fault.times -= 1
                    return fault
        return None

    def _commit(self, repository: Repository, revision: str) -> str | None:
        commit = repository.branches.get(revision) or repository.tags.get(revision) or revision
        return commit if commit in repository.commits else None

    def _blob(self, digest: str) -> bytes:
        for repository in self.repositories.values():
            for files in repository.commits.values():
                for data in files.values():
                    if hashlib.sha256(data).hexdigest() == digest:
                        return data
        raise KeyError(digest)


def large(name: str) -> bool:
    return PurePosixPath(name).suffix in LARGE


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag(name: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if large(name) else git_id(data)


def entry(name: str, data: bytes) -> dict:
    """A file as the tree of the hub's API lists it."""
    listed = {"type": "file", "path": name, "size": len(data), "oid": git_id(data)}
    if large(name):
        pointer = (
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{etag(name, data)}\nsize {len(data)}\n".encode()
        )
        listed["oid"] = git_id(pointer)
        listed["lfs"] = {"oid": etag(name, data), "size": len(data), "pointerSize": len(pointer)}
        listed["xetHash"] = etag(name, data)  # as of today's large files; this hub has no such storage
    return listed


def sibling(name: str, data: bytes) -> dict:
    """The same as the information on a repository states it."""
    listed = entry(name, data)
    lfs = {"lfs": listed["lfs"] | {"sha256": listed["lfs"]["oid"]}} if large(name) else {}
    return {"rfilename": name, "size": len(data), "blobId": listed["oid"], **lfs}


@contextmanager
def running() -> Iterator[LoopbackHub]:
    hub = LoopbackHub()
    threads = [threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.01}) for s in hub.servers]
    for server, thread in zip(hub.servers, threads, strict=True):
        server.daemon_threads = True
        server.block_on_close = False
        thread.start()
    try:
        yield hub
    finally:
        for server, thread in zip(hub.servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join(timeout=10)
