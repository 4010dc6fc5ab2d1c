"""A hub that means harm, and a cache that others may write to: neither reaches other files, fills the memory or writes
on the terminal."""

import gzip
import json
import os
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub import constants
from loopback_hub import etag, git_id
from pydantic import ValidationError

from retscale import cli
from retscale.checkpoint.hub import _license
from retscale.errors import UserError
from retscale.hub import client
from retscale.hub.listing import Listing, Refs
from retscale.hub.revisions import missing
from retscale.hub.snapshot import snapshot

REPO = "some/model"
WEIGHTS = bytes(range(256)) * 4096
FILES = {"config.json": b'{"a": 1}', "model.safetensors": WEIGHTS, "README.md": b"# a model"}
ESCAPE = "\x1b]0;mine\x07\n\x1b[31mretscale: all is well"


def choose(names: list[str]) -> list[str]:
    return [name for name in names if name != "README.md"]


@pytest.fixture
def hub(loopback, tmp_path, monkeypatch):
    loopback.commit = loopback.publish(REPO, FILES)
    for commit in ("../../../written", f"{tmp_path}/written"):
        loopback.repositories["model", REPO].commits[commit] = FILES
    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    return loopback


@pytest.fixture
def outside(tmp_path):
    """A check that nothing was written beside the cache."""
    yield
    assert {path.name for path in tmp_path.iterdir()} <= {"cache", "home", "out", "mine"}


@pytest.fixture(autouse=True)
def hang():
    """A test that hangs fails."""
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it hangs"))
    signal.alarm(60)
    yield
    signal.alarm(0)


def home(tmp_path) -> Path:
    return tmp_path / "cache" / "models--some--model"


def refused(match: str, revision: str = "main", **options) -> str:
    """The one line of an error that must come."""
    with pytest.raises(UserError, match=match) as error:
        snapshot(REPO, revision, choose, **options)
    line = str(error.value)
    assert line.isprintable() and len(line) < 800, line
    return line


def bodies(hub) -> int:
    return sum(len(hub.bodies(name)) for name in FILES)


# What the listing says


def of_weights(**change):
    def edit(info):
        for file in info["siblings"]:
            if "lfs" in file:
                file["lfs"] |= change
        return info

    return edit


def of_config(**change):
    def edit(info):
        for file in info["siblings"]:
            if file["rfilename"] == "config.json":
                file |= change
        return info

    return edit


def renamed(name: str):
    return of_config(rfilename=name)


SAID = {
    "sha256 leads up": of_weights(sha256="../../../../written"),
    "sha256 is absolute": of_weights(sha256="{tmp}/written"),
    "sha256 of 63 digits": of_weights(sha256="a" * 63),
    "sha256 ends in a newline": of_weights(sha256="a" * 64 + "\n"),
    "sha256 in other digits": of_weights(sha256="\u0661" * 64),
    "sha256 with an escape": of_weights(sha256=ESCAPE),
    "negative size": of_weights(size=-1),
    "size is a text": of_weights(size="big"),
    "blob id leads up": of_config(blobId="../../../../written"),
    "blob id is missing": of_config(blobId=None),
    "name leads up": renamed("../../../../../written"),
    "name is absolute": renamed("{tmp}/written"),
    "name leads up on the way": renamed("a/../../../../../../written"),
    "name has an empty part": renamed("a//b"),
    "name is empty": renamed(""),
    "name has escapes": renamed(ESCAPE),
    "name turns the line around": renamed("a\u202efnord.json"),
    "name has a null": renamed("a\0b"),
    "name is half a letter": renamed("\ud800.json"),
    "commit leads up": lambda info: info | {"sha": "../../../written"},
    "commit is absolute": lambda info: info | {"sha": "{tmp}/written"},
    "commit of 7 digits": lambda info: info | {"sha": "abcdef0"},
    "no commit": lambda info: {**info, "sha": None},
    "no files": lambda info: {**info, "siblings": None},
    "a list": lambda info: [info],
    "a text": lambda info: ESCAPE,
}


@pytest.mark.parametrize("edit", SAID.values(), ids=SAID.keys())
def test_what_has_not_its_form_is_refused_before_a_byte_comes(hub, tmp_path, outside, edit):
    def filled(info):
        return json.loads(json.dumps(edit(info)).replace("{tmp}", str(tmp_path)))

    hub.edit = filled
    refused("some/model")
    assert not bodies(hub)
    assert not [path for path in home(tmp_path).rglob("*") if path.is_file()]


@pytest.mark.parametrize("body", [b"<html>", b"", b"[" * 100_000, b'{"sha": ' + b"1" * 6_000 + b"}", b"\xff\xfe"])
def test_a_listing_that_is_not_one_is_refused_in_words(hub, body):
    hub.fail("/api/models/", status=200, body=body or b" ", times=99)
    refused("some/model")


@pytest.mark.parametrize(
    ("form", "start"),
    [(Listing, b'{"sha": "%s", "siblings": [' % (b"a" * 40)), (Refs, b'{"tags": [], "branches": [')],
)
def test_a_million_faults_are_one(form, start):
    with pytest.raises(ValidationError) as error:
        form.model_validate_json(start + b"{}," * 10**6 + b"{}]}")
    assert error.value.error_count() <= 3


def test_a_pinned_commit_is_not_answered_with_another(hub, tmp_path):
    other = hub.publish(REPO, FILES | {"config.json": b'{"a": 2}'}, branch="other")
    hub.edit = lambda info: info | {"sha": other}
    refused(f"asked for some/model at {hub.commit}, the hub gives {other}", hub.commit)
    assert not bodies(hub)


@pytest.mark.parametrize(
    "header",
    [
        {"ETag": '"../../../written"'},
        {"ETag": '"{tmp}/written"'},
        {"X-Linked-Etag": '"../../../written"'},
        {"X-Repo-Commit": "../../../written"},
    ],
    ids=["etag leads up", "etag is absolute", "linked etag", "commit"],
)
def test_headers_of_the_hub_become_no_path(hub, tmp_path, outside, header):
    """huggingface_hub names files by headers of a HEAD, which need not agree with the listing."""
    said = {"ETag": f'"{"a" * 40}"', "X-Repo-Commit": hub.commit, "X-Linked-Size": str(len(FILES["config.json"]))}
    said |= {name: value.format(tmp=tmp_path) for name, value in header.items()}
    hub.fail("config.json", method="HEAD", status=200, headers=said, times=99)
    assert snapshot(REPO, "main", choose).commit == hub.commit


def test_a_second_listing_that_says_otherwise_is_not_asked_for(hub, tmp_path, outside):
    said = []

    def edit(info):
        said.append(1)
        return info if len(said) == 1 else info | {"sha": "../../../written"}

    hub.edit = edit
    assert snapshot(REPO, "main", choose).commit == hub.commit


def test_a_revision_is_no_path_either(hub, tmp_path, outside):
    hub.repositories["model", REPO].branches["../../../written"] = hub.commit
    refused("cannot have a revision '../../../written'", "../../../written")
    with pytest.raises(UserError, match="is not a name of a repository"):
        snapshot("../../some", "main", choose)


def test_a_name_that_is_no_ones_choice_harms_nobody(hub):
    hub.edit = lambda info: info | {"siblings": [*info["siblings"], info["siblings"][0] | {"rfilename": "../../x"}]}
    assert snapshot(REPO, "main", lambda names: ["config.json"]).commit == hub.commit


# How much it sends


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_body_longer_than_stated_is_cut_off(hub, tmp_path, name):
    hub.fail("/files/" if name == "model.safetensors" else name, endless=True, times=99)
    refused(f"{name} of some/model at main: the hub sends more than the [0-9,]+ bytes that it states")
    assert hub.sent_in_vain < 64 * 2**20
    assert sum(path.stat().st_size for path in home(tmp_path).glob("blobs/*")) <= len(WEIGHTS) + 8


@pytest.mark.parametrize("status", [200, 302, 404], ids=["listing", "redirection", "refusal"])
def test_an_endless_answer_does_not_fill_the_memory(hub, monkeypatch, status):
    monkeypatch.setattr(client, "LONGEST_ANSWER", 4 * 2**20, raising=False)
    hub.fail("/api/models/", status=status, endless=True, headers={"Location": "/api/models/some/model"}, times=99)
    refused("an answer did not end within [0-9,]+ bytes")
    assert hub.sent_in_vain < 64 * 2**20


def test_a_refusal_of_a_file_does_not_fill_the_memory(hub, monkeypatch):
    monkeypatch.setattr(client, "LONGEST_ANSWER", 4 * 2**20, raising=False)
    hub.fail("/resolve/", status=403, endless=True, times=99)
    refused("an answer did not end within|HTTP 403")
    assert hub.sent_in_vain < 64 * 2**20


@pytest.mark.parametrize("path", ["/api/models/", "/resolve/", "/files/"])
def test_packed_bytes_which_unfold_to_any_number_are_refused(hub, path):
    bomb = gzip.compress(bytes(2**28))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hub.fail(path, status=200, body=bomb, headers={"Content-Encoding": "gzip"}, times=99)
    refused("compressed answer")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (302, {"Location": "/api/models/some/model"}),
        (302, {"Location": "http://[::1"}),
        (302, {"Location": "http://a b/\x7f"}),
        (302, {"Location": "javascript:alert(1)"}),
        (200, {"Content-Encoding": "gzip"}),
        (404, {"X-Error-Code": "RevisionNotFound"}),
        (404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "\x1b[31m"}),
        (418, {"X-Error-Message": "\x1b[31m"}),
    ],
)
def test_an_answer_without_sense_is_one_line(hub, status, headers):
    hub.fail("/api/models/", status=status, headers=headers, times=99)
    line = refused("some/model|the hub")
    assert "\x1b" not in line


def test_a_range_without_sense_is_one_line(hub, tmp_path):
    left = home(tmp_path) / "blobs"
    left.mkdir(parents=True)
    (left / f"{etag('model.safetensors', WEIGHTS)}.incomplete").write_bytes(WEIGHTS[:100])
    hub.fail("/files/", status=206, headers={"Content-Range": "bytes 100-1/*"}, times=99)
    refused("some/model")


# The token


TOKEN = "hf_TheSecretOfTheUser"


@pytest.mark.parametrize("status", [401, 403, 404, 500])
@pytest.mark.parametrize("path", ["/api/models/some/model/revision/", "/refs", "/resolve/", "/files/"])
def test_a_refusal_that_repeats_the_token_is_not_repeated(hub, monkeypatch, capsys, path, status):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    said = {"X-Error-Message": f"no {TOKEN} {ESCAPE.splitlines()[0]}", "X-Request-Id": TOKEN}
    if path == "/refs":
        hub.fail("/api/models/some/model/revision/", status=404, headers={"X-Error-Code": "RevisionNotFound"}, times=99)
    hub.fail(path, status=status, body=json.dumps({"error": said}).encode(), headers=said, times=99)
    line = refused("some/model|the hub")
    out, err = capsys.readouterr()
    assert TOKEN not in line + out + err and "\x1b" not in line + out + err


@pytest.mark.parametrize("token", [f"{TOKEN}\nx: y", f"{TOKEN}\u00e9", f"{TOKEN}\x00"])
def test_a_token_that_cannot_be_sent_is_not_printed(hub, monkeypatch, capsys, token):
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: token)
    line = refused("HF_TOKEN contains characters that no token has")
    assert TOKEN not in line + "".join(capsys.readouterr())


def test_the_command_prints_no_traceback_and_no_token(hub, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.edit = renamed(f"{ESCAPE}.jsonl")
    source = {"kind": "hub", "repo": REPO, "revision": "main", "files": ["*.jsonl"]}
    hub.publish(REPO, FILES, kind="dataset")
    spec, out = json.dumps({"id": "x", "source": source}), tmp_path / "out" / "pairs.json"
    assert cli.main(["pairs", "--spec", spec, "--out", str(out)]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "\x1b" not in err and TOKEN not in err


def test_names_of_branches_are_printed_harmlessly(hub):
    hub.repositories["model", REPO].branches |= {f"step1{ESCAPE}": hub.commit, "step" + "2" * 10_000: hub.commit}
    refused("has no revision 'step3'", "step3")
    [line] = missing(REPO, ["step3"])
    assert line.isprintable() and len(line) < 1500


def test_refs_without_sense_are_one_line(hub):
    hub.fail("/refs", status=200, body=b'{"branches": [{}]}', times=99)
    [line] = missing(REPO, ["step3"])
    assert line.isprintable()


# A cache that others may write to


def cached(hub) -> None:
    snapshot(REPO, "main", choose)
    hub.requests.clear()


def test_a_planted_link_costs_no_file_of_the_user(hub, tmp_path):
    """A file whose name is as long as a hash was taken for a damaged blob and deleted."""
    cached(hub)
    mine = tmp_path / "mine" / ("a" * 40)
    mine.parent.mkdir()
    mine.write_text("precious")
    link = home(tmp_path) / "snapshots" / hub.commit / "config.json"
    link.unlink()
    link.symlink_to(mine)
    refused("config.json does not show its hash", hub.commit)
    assert mine.read_text() == "precious"


@pytest.mark.parametrize("part", ["blobs", "snapshots", "refs", "trees", "snapshots/{commit}"])
def test_a_planted_folder_leads_nowhere(hub, tmp_path, part):
    cached(hub)
    mine, there = tmp_path / "mine", home(tmp_path) / part.format(commit=hub.commit)
    there.rename(mine)
    there.symlink_to(mine)
    old = mine / f"{'b' * 64}.incomplete"
    old.write_text("precious")
    os.utime(old, (time.time() - 30 * 24 * 3600,) * 2)
    before = sorted(path.name for path in mine.iterdir())
    hub.publish(REPO, FILES | {"config.json": b'{"a": 2}'})
    if part != "snapshots/{commit}":
        refused("is a symbolic link, which the hub's clients do not make there")
    else:
        refused("is a symbolic link, which the hub's clients do not make there", hub.commit)
    assert sorted(path.name for path in mine.iterdir()) == before


def test_a_planted_half_file_is_not_written_through(hub, tmp_path):
    mine, blobs = tmp_path / "mine", home(tmp_path) / "blobs"
    mine.write_text("precious")
    blobs.mkdir(parents=True)
    (blobs / f"{etag('model.safetensors', WEIGHTS)}.incomplete").symlink_to(mine)
    refused("could not be fetched .*symbolic links")
    assert mine.read_text() == "precious"


@pytest.mark.parametrize("said", ["../../../mine", "{tmp}/mine", "", "main", ESCAPE, "\udcff" * 40])
def test_a_planted_ref_leads_nowhere(hub, tmp_path, monkeypatch, said):
    cached(hub)
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in ("config.json", "model.safetensors"):
        (mine / name).symlink_to((home(tmp_path) / "snapshots" / hub.commit / name).resolve())
    (home(tmp_path) / "refs" / "main").write_text(said.format(tmp=tmp_path), errors="surrogateescape")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("names no commit; delete it")


def test_a_planted_listing_leads_nowhere(hub, tmp_path, monkeypatch):
    cached(hub)
    [listing] = home(tmp_path).glob("trees/*.json")
    said = json.loads(listing.read_text())
    said["files"] |= {f"../../../../{ESCAPE}": said["files"]["config.json"]}
    listing.write_text(json.dumps(said))
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused("which leads out of its folder or cannot be printed")


@pytest.mark.parametrize(
    "said", ["[]", "[" * 100_000, '{"format_version": 1, "files": []}', "\0", "\udcff", "9" * 6000, '{"a": "\\ud800"}']
)
def test_a_listing_in_ruins_is_one_line(hub, tmp_path, monkeypatch, said):
    cached(hub)
    [listing] = home(tmp_path).glob("trees/*.json")
    listing.write_text(said, errors="surrogateescape")
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    assert snapshot(REPO, hub.commit, choose).commit == hub.commit


def test_a_pipe_for_a_blob_does_not_hang(hub, tmp_path):
    cached(hub)
    blob = (home(tmp_path) / "snapshots" / hub.commit / "config.json").resolve()
    blob.unlink()
    os.mkfifo(blob)
    assert (snapshot(REPO, "main", choose).folder / "config.json").read_bytes() == FILES["config.json"]


@pytest.mark.parametrize("part", ["refs/main", "trees/{commit}.json"])
@pytest.mark.parametrize("offline", [True, False])
def test_a_pipe_for_a_note_does_not_hang(hub, tmp_path, monkeypatch, part, offline):
    cached(hub)
    note = home(tmp_path) / part.format(commit=hub.commit)
    note.unlink(missing_ok=True)
    os.mkfifo(note)
    monkeypatch.setattr("huggingface_hub._tree_cache._IN_MEMORY_TREE_CACHE", {})
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    for revision in ("main", hub.commit):
        try:
            assert snapshot(REPO, revision, choose).commit == hub.commit
        except UserError as error:
            assert "is not a regular file" in str(error)


def test_a_link_to_another_blob_is_set_right_by_the_hub(hub, tmp_path):
    cached(hub)
    folder = home(tmp_path)
    (folder / "blobs" / git_id(b"evil")).write_bytes(b"evil")
    link = folder / "snapshots" / hub.commit / "config.json"
    link.unlink()
    link.symlink_to(f"../../blobs/{git_id(b'evil')}")
    assert (snapshot(REPO, "main", choose).folder / "config.json").read_bytes() == FILES["config.json"]


def test_what_repositories_share_in_the_cache_is_taken_as_right(hub, tmp_path):
    """`hf download` keeps large files once, by another hash, and links blobs to them; they were deleted as damaged."""
    cached(hub)
    blob = (home(tmp_path) / "snapshots" / hub.commit / "model.safetensors").resolve()
    store = tmp_path / "cache" / "blobs" / "cc" / ("c" * 64)
    store.parent.mkdir(parents=True)
    blob.rename(store)
    blob.symlink_to(os.path.relpath(store, blob.parent))
    assert snapshot(REPO, hub.commit, choose).commit == hub.commit and store.exists() and not bodies(hub)


# READMEs


@pytest.mark.parametrize(
    "header",
    [
        "license: &a [x]\ntags: *a",
        "license: 2020-02-30",
        "license:\n  {a: b}",
        "license: \x1b[31m",
        "a: &a [1]\nb: &b [*a,*a]\nlicense: *b",
        "[" * 50_000,
        "tags: [x]\n---\nlicense: mit\n---\n",
    ],
)
def test_a_header_of_a_model_is_no_licence_and_no_harm(tmp_path, header):
    readme = tmp_path / "README.md"
    readme.write_text(f"---\n{header}\n---\n")
    assert _license(readme) in (None, "2020-02-30")
    readme.write_text("---\ntags: [x]\nlicense: apache-2.0\n---\n# x\n")
    assert _license(readme) == "apache-2.0"
    assert _license(tmp_path / "none") is None


@pytest.mark.parametrize("text", ["---" + "\n" * 10_000, "---\na" + "\n\r" * 100_000, "---\n" * 10**6, " " * 10**6])
def test_line_ends_in_a_readme_are_read_in_no_time(tmp_path, text):
    from retscale.task.mteb_task import check_layout

    readme = tmp_path / "README.md"
    readme.write_bytes(text.encode())
    start = time.process_time()
    assert _license(readme) is None
    with suppress(UserError):
        check_layout(readme, "some/data")
    assert time.process_time() - start < 5


BOMB = "a: &a {x: 1}\n" + "".join(
    f"{chr(ord(c) + 1)}: &{chr(ord(c) + 1)} {{<<: [{','.join(['*' + c] * 9)}]}}\n" for c in "abcdefghij"
)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("configs: [{config_name: default, data_files: /etc/passwd}]", "takes data from '/etc/passwd'"),
        ("configs: [{config_name: default, data_files: ['a/*', '../../x.jsonl']}]", "takes data from '../../x.jsonl'"),
        (
            "configs: [{config_name: a, data_files: [{split: test, path: 'https://x.org/a.jsonl'}]}]",
            "takes data from 'https://x.org/a.jsonl'",
        ),
        ("configs: [{config_name: a, data_files: [{split: s, path: [a, 'hf://x/y']}]}]", "takes data from 'hf://x/y'"),
        ("configs: [{config_name: a, data_dir: /home}]", "takes data from '/home'"),
        ("configs: [{config_name: a, data_files: 7}]", "cannot be read"),
        ("configs: 7", "cannot be read"),
        ("[" * 50_000, "cannot be read: it nests deeper"),
        (BOMB, "cannot be read: it merges mappings"),
        ("a: !!merge x", "cannot be read"),
    ],
    ids=["absolute", "up", "address", "hub", "folder", "number", "configs", "deep", "bomb", "merge"],
)
def test_a_header_of_a_data_set_takes_no_other_data(tmp_path, header, said):
    from retscale.task.mteb_task import check_layout

    readme = tmp_path / "README.md"
    readme.write_text(f"---\n{header}\n---\n")
    with pytest.raises(UserError, match=said) as error:
        check_layout(readme, "some/data")
    assert str(error.value).isprintable()


def test_a_header_of_a_data_set_may_take_its_own(tmp_path):
    from retscale.task.mteb_task import check_layout

    readme = tmp_path / "README.md"
    readme.write_text(
        "---\nconfigs:\n- {config_name: default, data_files: [{split: test, path: qrels/test.jsonl}]}\n"
        "- {config_name: b, data_files: &a ['b/*.parquet', c.jsonl]}\n"
        "- {config_name: c, data_files: *a, data_dir: d/}\n---\n"
    )
    check_layout(readme, "some/data")
    check_layout(tmp_path / "none", "some/data")
