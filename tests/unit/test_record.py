"""The format of records: their versions, the digest that vouches for all behind it, and the clone that they name."""

import copy
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT
from records import record_of

from retscale import job
from retscale.errors import UserError
from retscale.provenance import clone, code, code_cache, record, schema
from retscale.provenance import states as file_states
from retscale.provenance.states import states
from retscale.provenance.usage import Meter

HASH = "0" * 64
ROWS = [
    {"name": "card", "path": "../a/card.json", "sha256": HASH, "record": "../a/card.record.json", "digest": "1" * 64},
    {"name": "outside", "path": "/here/table.csv", "sha256": HASH, "record": None, "digest": None},
]


def made(folder: Path, inputs: list[dict] | None = None, name: str = "task.json", text: str = "{}", **parts) -> dict:
    """The record of a job with one output, both in place in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    spec = {"k": 1}
    content = record.make("task", spec, "code", inputs or [], folder, [name], {"n": 1}, 0.0) | parts
    record.write(record.path_of(folder / name), content)
    return content


def test_the_schema_of_records_is_that_of_the_models():
    assert schema.FILE.read_text(encoding="utf-8") == schema.text(), "run: python -m retscale.provenance.schema"


def test_a_record_is_read_as_it_was_written(tmp_path):
    content = made(tmp_path, ROWS)
    assert content["schema"] == 2 and record.read(tmp_path / "task.json") == content


@pytest.mark.parametrize(
    "key, value, says",
    [
        ("schema", 3, "has the schema '3', where retscale knows up to 2"),
        ("schema", True, "where retscale knows"),
        ("schema", [2], "where retscale knows"),
        ("surprise", 1, "surprise: Extra inputs are not permitted"),
        ("packages", None, "packages: Input should be a valid dict"),
        ("inputs", [ROWS[0] | {"sha256": "abc"}], "inputs.0.sha256: String should match"),
        ("inputs", [ROWS[0] | {"more": 1}], "inputs.0.more: Extra"),
        (
            "inputs",
            [{key: ROWS[0][key] for key in ("name", "path", "sha256", "record")}],
            "inputs.0.digest: Field required",
        ),
        ("outputs", [{"path": "a", "sha256": HASH}], "outputs.0.bytes: Field required"),
    ],
)
def test_a_record_of_another_form_is_refused(tmp_path, key, value, says):
    record.write(record.path_of(tmp_path / "task.json"), made(tmp_path, ROWS) | {key: value})
    with pytest.raises(UserError) as error:
        record.read(tmp_path / "task.json")
    assert "the provenance record" in str(error.value) and says in str(error.value)


def test_an_older_record_is_read_and_has_a_digest(tmp_path):
    rows = [{key: ROWS[0][key] for key in ("name", "path", "sha256", "record")}]
    older = record_of(inputs=rows, seconds=1.5)
    record.path_of(tmp_path / "fit.json").write_text(json.dumps(older))
    saved = record.read(tmp_path / "fit.json")
    assert saved == older and "schema" not in saved and record.digest(saved) != record.digest(saved | {"inputs": []})


def changes() -> dict[str, dict]:
    return {
        "stage": {"stage": "fit"},
        "spec": {"spec": {"k": 2}},
        "code": {"code_sha256": "other"},
        "packages": {"packages": {"python": "2.7"}},
        "output": {"outputs": []},
        "input": {"inputs": ROWS[:1]},
        "place": {"inputs": [ROWS[0] | {"path": "../b/card.json"}, ROWS[1]]},
        "bytes": {"inputs": [ROWS[0] | {"sha256": "2" * 64}, ROWS[1]]},
        "no record": {"inputs": [ROWS[0] | {"record": None}, ROWS[1]]},
        "record behind": {"inputs": [ROWS[0] | {"digest": "3" * 64}, ROWS[1]]},
        "flag": {"inputs": [ROWS[0] | {"name": "cards"}, ROWS[1]]},
        "outside": {"inputs": [ROWS[0], ROWS[1] | {"path": "/here/other.csv"}]},
    }


@pytest.mark.parametrize("name", changes())
def test_the_digest_covers_the_deterministic_part(tmp_path, name):
    content = made(tmp_path, ROWS)
    assert record.digest(content | changes()[name]) != record.digest(content)


def test_the_digest_is_the_same_on_every_machine(tmp_path):
    content = made(tmp_path, ROWS)
    other = content | {
        "machine": {},
        "git": {"commit": "f" * 40, "dirty": True},
        "run": {},
        "usage": None,
        "notes": {},
        "code_changed": True,
        "inputs": [ROWS[0], ROWS[1] | {"path": "/there/table.csv"}],
    }
    assert record.digest(other) == record.digest(content)
    assert record.digest(dict(reversed(content.items()))) == record.digest(content)


def test_the_last_digest_commits_to_every_record_behind_it(tmp_path):
    """A record in the middle that is edited, and whose files still fit, is not what its consumer names."""
    folder = tmp_path / "b"
    first, second = tmp_path / "a/task.json", tmp_path / "b/task.json"
    made(first.parent)
    rows = record.verified_inputs({"card": [first]}, folder)
    made(folder, rows)
    root = record.digest(record.read(second))
    record.write(record.path_of(first), record.read(first) | {"packages": {"python": "2.7"}})
    [row] = record.read(second)["inputs"]
    assert row["digest"] != record.digest(record.read(first))
    renewed = copy.deepcopy(record.read(second))
    renewed["inputs"][0]["digest"] = record.digest(record.read(first))
    assert record.digest(renewed) != root


def test_an_input_that_is_made_again_with_the_same_bytes_leaves_its_consumer_fresh(tmp_path):
    """Its consumer's record then names the new record, and is otherwise as it was."""
    first, second = tmp_path / "a/task.json", tmp_path / "b/task.json"
    made(first.parent)

    def rows():
        return record.verified_inputs({"card": [first]}, second.parent)

    before = made(second.parent, rows())
    made(first.parent, code_sha256="another")
    assert rows() != before["inputs"]
    assert record.identity({}, "", rows()) == record.identity({}, "", before["inputs"])
    assert record.fresh(second, {"k": 1}, "code", rows())
    record.renew(second, rows())
    assert record.read(second) == before | {"inputs": rows()}
    made(first.parent, text="[]")
    assert not record.fresh(second, {"k": 1}, "code", rows())


def test_a_record_without_a_schema_is_not_rewritten(tmp_path):
    record.path_of(tmp_path / "fit.json").write_text(json.dumps(record_of()))
    record.renew(tmp_path / "fit.json", ROWS)
    assert record.read(tmp_path / "fit.json") == record_of()


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x@x"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path) -> Path:
    """A clone with a package in workflow/package, both with one file more."""
    for name in ("README", "workflow/package/run.py", "workflow/rules/fit.smk"):
        (tmp_path / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "clone" / name).write_text("1\n")
    git(tmp_path, "init", "-q", "clone")
    git(tmp_path / "clone", "add", ".")
    git(tmp_path / "clone", "commit", "-q", "-m", "first")
    return tmp_path / "clone"


@pytest.mark.parametrize(
    "file, dirty",
    [
        ("README", False),
        ("workflow/package/run.py", True),
        ("workflow/rules/fit.smk", True),
        ("workflow/package/b.py", True),
    ],
)
def test_code_is_dirty_if_it_is_not_that_of_the_commit(repository, file, dirty):
    package, commit = repository / "workflow/package", git(repository, "rev-parse", "HEAD")
    assert clone.state(package) == {"commit": commit, "dirty": False}
    (repository / file).write_text("2\n")
    assert clone.state(package) == {"commit": commit, "dirty": dirty}


def test_the_commit_of_another_repository_is_not_that_of_the_code(repository, monkeypatch):
    vendored = repository / "vendor/retscale/workflow/package"
    shutil.copytree(repository / "workflow/package", vendored)
    git(repository, "add", ".")
    git(repository, "commit", "-q", "-m", "a copy of other code")
    assert clone.state(vendored) == clone.UNKNOWN
    shutil.copytree(repository / "workflow", repository / "copied")  # never committed
    assert clone.state(repository / "copied/package") == clone.UNKNOWN
    git(repository, "worktree", "add", "-q", "../beside")
    assert clone.state(repository.parent / "beside/workflow/package")["commit"] == git(repository, "rev-parse", "HEAD")
    head = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("GIT_DIR", str(ROOT / ".git"))
    assert clone.state(repository.parent / "beside/workflow/package")["commit"] == head


def test_without_git_the_commit_is_unknown(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert clone.state(repository / "workflow/package") == clone.UNKNOWN


@pytest.fixture
def package(tmp_path) -> Path:
    root = tmp_path / "retscale"
    for name, text in {
        "__init__.py": "",
        "fit/__init__.py": "",
        "fit/run.py": "from retscale import other\n",
        "other.py": "A = 1\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "file, text, changed",
    [
        ("other.py", "A = 1  # why\n", False),
        ("other.py", "A = 2\n", True),
        ("other.py", "A = (\n", True),
        ("other.py", None, True),
        ("fit/page.html", "<p>", True),
        ("third.py", "A = 2\n", False),
    ],
)
def test_code_that_changes_after_the_start_is_noticed(package, file, text, changed):
    module = "retscale.fit.run"
    digest, before = code.digest(module, package), states(code.covered(module, package))
    assert not code.changed(module, digest, before, package)
    (package / file).unlink() if text is None else (package / file).write_text(text)
    assert code.changed(module, digest, before, package) is changed


@pytest.mark.parametrize("settled_ns", [0, 10**12])
def test_the_digest_of_code_that_has_not_changed_is_looked_up(package, monkeypatch, settled_ns):
    """Unless it was written just now, and may be written again without a change of its times."""
    monkeypatch.chdir(package.parent)
    monkeypatch.setattr(file_states, "SETTLED_NS", settled_ns)
    taken, digest = [], code.digest
    monkeypatch.setattr(code, "digest", lambda *arguments: taken.append(1) or digest(*arguments))

    def cached() -> str:
        for function in (code._tree, code._imports, code._normalized):
            function.cache_clear()
        return code_cache.digest("retscale.fit.run", package)[0]

    first = digest("retscale.fit.run", package)
    assert cached() == cached() == first and len(taken) == (1 if settled_ns == 0 else 2)
    (package / "other.py").write_text("A = 2\n")
    assert cached() == digest("retscale.fit.run", package) != first
    (package / "fit/page.html").write_text("<p>")
    assert cached() == digest("retscale.fit.run", package)
    Path(".state/code").mkdir(parents=True, exist_ok=True)
    Path(".state/code/retscale.fit.run.json").write_text('{"digest": 1')
    assert cached() == digest("retscale.fit.run", package)


def test_a_job_names_the_commit_of_its_start_and_says_that_its_code_changed(tmp_path, monkeypatch, capsys):
    """A commit made while a job runs did not make its outputs."""
    start, later = ({"commit": letter * 40, "dirty": False} for letter in "ab")
    states = iter([start, later])
    monkeypatch.setattr(clone, "state", lambda: next(states))
    monkeypatch.setattr(code, "changed", lambda *_: True)
    work = {}

    def compute(spec, inputs, out):
        (out / "items.json").write_text("{}")
        work["commit"] = True

    monkeypatch.setattr(job, "_imported", lambda job: compute)
    job.run("items", {"id": "x"}, {}, [tmp_path / "items.json"])
    saved = record.read(tmp_path / "items.json")
    assert work and saved["git"] == start and saved["code_changed"] is True
    assert "the code of items changed while the job ran" in capsys.readouterr().err


def test_what_a_training_noted_and_used_counts_once(tmp_path, monkeypatch):
    """The encoders that it kept on the way have records of their own, for their files alone."""
    monkeypatch.setattr(code, "changed", lambda *_: False)
    for name in ("step-8/encoder.json", "step-8/model", "encoder.json", "model"):
        (tmp_path / "work" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "work" / name).write_text("{}")
    training = job.Job("finetune", {}, {"card": Path("card.json")}, tmp_path, "encoder.json", clone.UNKNOWN, HASH, {})
    training.finish(tmp_path / "work", {"pace": [1.0]}, Meter())
    last, kept = (record.read(tmp_path / name) for name in ("encoder.json", "step-8/encoder.json"))
    assert last["notes"] == {"pace": [1.0]} and last["usage"]["seconds"] >= 0
    assert kept["notes"] == {} and kept["usage"] is None and "seconds" not in kept
    assert [row["path"] for row in kept["outputs"]] == ["model", "encoder.json"]


@pytest.fixture
def batch(tmp_path, monkeypatch):
    """Runs a batch of two tasks by a stand-in for its code, in `tmp_path`; returns the tasks that were computed."""
    monkeypatch.chdir(tmp_path)
    made(Path("pairs"), name="pairs.json")
    for task in ("a", "b"):
        made(Path("task", task), text=f'"{task}"')
    monkeypatch.setattr(code_cache, "digest", lambda module: (HASH, {}))
    monkeypatch.setattr(code, "changed", lambda *_: False)
    computed = []

    def compute(spec, inputs, work):
        for task in spec["tasks"]:
            computed.append(task)
            (work / f"{task}.json").write_text("{}")
            yield task

    monkeypatch.setattr(job, "_imported", lambda job: compute)

    def run() -> list[str]:
        computed.clear()
        inputs = {
            "pairs": [Path("pairs/pairs.json")],
            "tasks": [Path("task", task, "task.json") for task in ("a", "b")],
        }
        job.run("leakage", {"tasks": {"a": {}, "b": {}}}, inputs, [Path("out", f"{task}.json") for task in ("a", "b")])
        return list(computed)

    return run


def test_the_command_of_a_task_is_that_of_its_part_of_a_batch(batch):
    assert batch() == ["a", "b"]
    words = "retscale leakage --spec @SPEC --pairs pairs/pairs.json --tasks task/b/task.json --out out/b.json"
    saved = record.read(Path("out/b.json"))
    assert saved["run"]["command"] == words.split() and saved["spec"] == {"tasks": {"b": {}}}
    assert saved["run"]["processes"] == 1 and saved["run"]["threads"] >= 1


def test_a_command_names_a_flag_that_has_no_files():
    """Which the command line requires, as of an in-context task whose items its spec names."""
    own = job.Job("icl", {}, {"card": Path("card.json"), "tasks": []}, Path("out"), "a.json", clone.UNKNOWN, HASH, {})
    assert own.command == "retscale icl --spec @SPEC --card card.json --tasks --out out/a.json".split()


def test_a_task_that_is_kept_names_the_records_of_its_inputs_as_they_are_now(batch):
    """Say after a change of the code that made them, which changed no byte of them."""
    batch()
    before = record.read(Path("out/a.json"))
    made(Path("pairs"), name="pairs.json", code_sha256="another")
    assert batch() == []
    after = record.read(Path("out/a.json"))
    [row] = [row for row in after["inputs"] if row["name"] == "pairs"]
    assert row["digest"] == record.digest(record.read(Path("pairs/pairs.json"))) and after != before
    assert {**after, "inputs": before["inputs"]} == before
