"""What the audit compares of an encoder that was made elsewhere: its folder's files, or those of a wheel."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

from retscale.audit import documents
from retscale.audit.findings import Findings
from retscale.audit.rules import RULES, SOME


def problems(
    files: dict[str, str], read: list[tuple[str, str]], home: Path, wheel: str | None = None, doubts: int = 0
) -> list[str]:
    """Of encoder.json with these files, and of a record whose job read these names with these hashes."""
    card = SimpleNamespace(wheel=wheel, files=files, home=lambda path: home)
    rows = [SimpleNamespace(name="files", path=Path(name), sha256=digest) for name, digest in read]
    node = SimpleNamespace(primary=Path("encoder.json"), inputs=rows)
    walked = SimpleNamespace(findings=Findings())
    texts = [text for _, text in documents._of_given(card, node, walked)]
    assert len(walked.findings.doubts) == doubts
    return texts


def test_two_files_of_one_name_are_told_apart(tmp_path):
    files = {"config.json": "a", "1_Pooling/config.json": "b"}
    assert problems(files, [("config.json", "a"), ("config.json", "b")], tmp_path) == []
    (text,) = problems(files, [("config.json", "a"), ("config.json", "c")], tmp_path)
    assert text == "lists 1_Pooling/config.json, which is not the file that its job read"


def test_files_of_a_wheel_are_no_inputs_and_are_compared_with_it(tmp_path, monkeypatch):
    count = RULES["encoder"].inputs["files"].count
    assert (count({"source": {"wheel": "w", "path": "model"}}, {}), count({"source": {"path": "m"}}, {})) == (0, SOME)
    (tmp_path / "config.json").write_text("{}")
    right = {"config.json": hashlib.sha256(b"{}").hexdigest()}
    monkeypatch.setattr(documents, "installed", lambda wheel: True)
    assert problems(right, [], tmp_path, "w") == []
    for wrong in ({"config.json": "a"}, {"model.safetensors": "a"}):
        (text,) = problems(wrong, [], tmp_path, "w")
        assert text.endswith("which is not the file of the installed wheel w")
    monkeypatch.setattr(documents, "installed", lambda wheel: False)
    assert problems({"config.json": "a"}, [], tmp_path, "w", doubts=1) == []
