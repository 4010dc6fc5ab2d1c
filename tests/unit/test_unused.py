"""What the report says of files that it was not made from: nothing unless there are some for sure."""

import json
import os
from pathlib import Path

import pytest
from records import record_of

from retscale.provenance.record import path_of
from retscale.report.unused import unused


def add(root: Path, output: str, reads: list[str] = (), **spec: object) -> str:
    """An output with a companion, and their record."""
    path = root / output
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ["model.bin", path.name]
    for name in names:
        path.with_name(name).write_text("12345")
    inputs = [
        {"name": "x", "path": name, "sha256": "0" * 64, "record": os.path.relpath(path_of(root / name), path.parent)}
        for name in reads
    ]
    outputs = [{"path": name, "sha256": "0" * 64} for name in names]
    path_of(path).write_text(json.dumps(record_of(output.split("/")[0], spec, inputs=inputs, outputs=outputs)))
    return output


@pytest.fixture
def results(tmp_path) -> Path:
    """Of an encoder, and of one that its training kept, which has no scores."""
    card = add(tmp_path, "checkpoint/c/card.json")
    encoder = add(tmp_path, "finetune/c/r/encoder.json", [card], recipe={"id": "r", "keep": [8]})
    add(tmp_path, "finetune/c/r/step-8/encoder.json", [card], recipe={"id": "r", "keep": [8]})
    add(tmp_path, "collect/collect.json", [card, encoder])
    (tmp_path / "report.html").write_text("before")
    (tmp_path / ".report.html.tmp").mkdir()
    (tmp_path / ".report.html.tmp/report.html").write_text("at work")
    return tmp_path


def test_files_that_nothing_was_made_from_are_counted(results):
    inputs = {"collect": results / "collect/collect.json"}
    assert unused(inputs) == {"files": 0, "bytes": 0}
    add(results, "finetune/c/r/step-4/encoder.json")
    (results / "checkpoint/c/old.bin").write_text("123")
    sizes = [5, 5, path_of(results / "finetune/c/r/step-4/encoder.json").stat().st_size, 3]
    assert unused(inputs) == {"files": 4, "bytes": sum(sizes)}


def test_without_a_record_nobody_knows(results):
    (results / "checkpoint/d").mkdir()
    (results / "checkpoint/d/card.json").write_text("{}")
    path_of(results / "checkpoint/c/card.json").unlink()
    assert unused({"collect": results / "collect/collect.json"}) == {"files": 0, "bytes": 0}
