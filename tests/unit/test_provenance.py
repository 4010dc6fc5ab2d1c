"""Code digests, records, and outputs that appear whole or not at all."""

import json
import time
from pathlib import Path

import pytest
from records import record_of

from retscale.errors import UserError
from retscale.provenance import code, publish, record


@pytest.fixture
def package(tmp_path: Path) -> Path:
    files = {
        "__init__.py": "",
        "fit/__init__.py": '"""Fits."""',
        "fit/run.py": '"""Fit."""\nfrom retscale.fit.trend import line\n\ndef run():\n    return line(1)\n',
        "fit/trend.py": "def line(x):\n    # why\n    return x + 1\n",
        "mine/run.py": "def run():\n    from retscale import helper\n    return helper\n",
        "mine/__init__.py": "",
        "helper.py": "VALUE = 1\n",
    }
    root = tmp_path / "retscale"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def digests(package: Path) -> dict:
    code._tree.cache_clear()
    code._normalized.cache_clear()
    return {stage: code.digest(f"retscale.{stage}.run", package) for stage in ("fit", "mine")}


@pytest.mark.parametrize(
    "file, text",
    [
        ("fit/trend.py", 'def line(x):\n    """Add one."""\n\n    return (x + 1)  # because\n'),
        ("fit/run.py", "# header\nfrom retscale.fit.trend import line\n\n\ndef run():\n    return line(1)\n"),
        ("fit/__init__.py", '"""All the fits."""\n'),
    ],
)
def test_comments_docstrings_and_layout_change_no_digest(package, file, text):
    before = digests(package)
    (package / file).write_text(text)
    assert digests(package) == before


@pytest.mark.parametrize(
    "file, text, stage",
    [
        ("fit/trend.py", "def line(x):\n    return x + 2\n", "fit"),
        ("helper.py", "VALUE = 2\n", "mine"),
        ("fit/template.html", "<p>", "fit"),
    ],
)
def test_a_changed_import_changes_only_who_imports_it(package, file, text, stage):
    before = digests(package)
    (package / file).write_text(text)
    after = digests(package)
    assert {name for name in before if before[name] != after[name]} == {stage}


def test_closure_follows_lazy_and_submodule_imports(package):
    assert code.closure("retscale.mine.run", package) == [
        "retscale",
        "retscale.helper",
        "retscale.mine",
        "retscale.mine.run",
    ]


def test_the_spec_has_one_form():
    assert record.canonical({"b": 1, "a": [1.5, None]}) == record.canonical({"a": [1.5, None], "b": 1})
    with pytest.raises(ValueError):
        record.canonical({"a": float("nan")})


def make(folder: Path, name: str, text: str, inputs: list, spec: dict) -> Path:
    work = folder / "work"
    work.mkdir(parents=True)
    (work / name).write_text(text)
    made = record.make("task", spec, "code", inputs, work, [name], None, time.time())
    (work / record.path_of(Path(name))).write_text(json.dumps(made))
    publish.publish(work, folder, [str(record.path_of(Path(name))), name])
    return folder / name


def test_inputs_are_verified_against_the_record_of_their_maker(tmp_path):
    first = make(tmp_path / "a", "task.json", "{}", [], {})
    rows = record.verified_inputs({"tasks": [first]}, tmp_path / "b")
    assert rows == [
        {
            "name": "tasks",
            "path": "../a/task.json",
            "sha256": record.sha256(first),
            "record": "../a/task.record.json",
            "digest": record.digest(record.read(first)),
        }
    ]
    first.write_text("{ }")
    with pytest.raises(UserError, match="not the file that was made"):
        record.verified_inputs({"tasks": [first]}, tmp_path / "b")
    record.path_of(first).unlink()
    with pytest.raises(UserError, match="no provenance record"):
        record.verified_inputs({"tasks": [first]}, tmp_path / "b")


def test_only_the_files_that_are_read_of_an_input_are_hashed(tmp_path):
    """An encoder's weights are not hashed again for its log; the record that vouches for both is named."""
    encoder = tmp_path / "a" / "encoder.json"
    work = tmp_path / "work"
    work.mkdir()
    names = ["log.jsonl", "model.safetensors", "encoder.json"]
    for name in names:
        (work / name).write_text(name)
    made = record.make("finetune", {}, "code", [], work, names, None, time.time())
    (work / "encoder.record.json").write_text(json.dumps(made))
    publish.publish(work, encoder.parent, [*names, "encoder.record.json"])

    def rows(*files):
        return record.verified_inputs({"encoders": [encoder]}, tmp_path / "b", {"encoders": files, "cards": ("x",)})

    (encoder.parent / "model.safetensors").unlink()
    assert rows("encoder.json", "log.jsonl") == [
        {
            "name": "encoders",
            "path": f"../a/{name}",
            "sha256": record.sha256(encoder.parent / name),
            "record": "../a/encoder.record.json",
            "digest": record.digest(made),
        }
        for name in ("encoder.json", "log.jsonl")
    ]
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        rows("model.safetensors")
    with pytest.raises(UserError, match=r"no notes\.txt was made beside .*encoder\.json"):
        rows("notes.txt")
    (encoder.parent / "log.jsonl").write_text("edited")
    with pytest.raises(UserError, match=r"log\.jsonl is not the file that was made"):
        rows("encoder.json", "log.jsonl")


def test_fresh_means_same_spec_code_inputs_and_bytes(tmp_path):
    made = make(tmp_path / "a", "task.json", "{}", [], {"k": 1})
    assert record.fresh(made, {"k": 1}, "code", [])
    assert not record.fresh(made, {"k": 2}, "code", [])
    assert not record.fresh(made, {"k": 1}, "other", [])
    assert not record.fresh(made, {"k": 1}, "code", [{"name": "x"}])
    made.write_text("[]")
    assert not record.fresh(made, {"k": 1}, "code", [])
    made.unlink()
    assert not record.fresh(made, {"k": 1}, "code", [])


def test_a_failed_job_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), publish.workspace(tmp_path, "card.json") as work:
        (work / "card.json").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_an_outside_file_is_traced_further_only_where_its_records_are(tmp_path):
    encoder, card = tmp_path / "a/encoder.json", tmp_path / "b/card.record.json"
    for path in (encoder, card):
        path.parent.mkdir()
        path.write_text("{}")
    row = {"path": "../b/card.json", "sha256": "", "record": "../b/card.record.json"}
    outputs = [{"path": "encoder.json", "sha256": record.sha256(encoder)}]
    record.path_of(encoder).write_text(json.dumps(record_of("finetune", inputs=[row], outputs=outputs)))

    def named() -> list[str | None]:
        return [r["record"] for r in record.verified_inputs({"encoder": encoder}, tmp_path, outside=("encoder",))]

    assert named() == ["a/encoder.record.json"]
    card.unlink()
    assert named() == [None]
    record.path_of(encoder).unlink()
    assert named() == [None]
