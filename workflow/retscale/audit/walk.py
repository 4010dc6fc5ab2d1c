"""The walk from an output back through the records that it hangs on."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from retscale.errors import UserError
from retscale.provenance import code, record


@dataclass
class Walk:
    """What a walk saw: each record once, every file it hashed, and every problem found (one line each)."""

    records: dict[Path, dict] = field(default_factory=dict)
    hashed: dict[Path, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    other_code: dict[tuple[str, str], int] = field(default_factory=dict)

    def outside(self, primaries: list[Path]) -> list[Path]:
        """The files that no job made and that stand behind these outputs, at any distance."""
        found, met, queue = {}, set(), [record.path_of(path) for path in primaries]
        while queue:
            path = Path(os.path.normpath(queue.pop(0)))
            if path in met:
                continue
            met.add(path)
            for source in self.records.get(path, {}).get("inputs", []):
                if source["record"]:
                    queue.append(path.parent / source["record"])
                else:
                    found[Path(os.path.normpath(path.parent / source["path"]))] = None
        return list(found)


def walk(primary: Path) -> Walk:
    """Verify `primary` and all that it was made from."""
    seen = Walk()
    _visit(record.path_of(primary), seen)
    return seen


def _visit(path: Path, seen: Walk) -> None:
    path = Path(os.path.normpath(path))
    if path in seen.records:
        return
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        stage, spec = made["stage"], made["spec"]
        outputs, inputs = made["outputs"], made["inputs"]
    except FileNotFoundError:
        seen.records[path] = {}
        seen.problems.append(f"{path}: the record is missing")
        return
    except (ValueError, KeyError, TypeError):
        seen.records[path] = {}
        seen.problems.append(f"{path}: the record is damaged")
        return
    seen.records[path] = made
    if record.spec_sha256(spec) != made["spec_sha256"]:
        seen.problems.append(f"{path}: the spec was edited after the job ran")
    if code.digest(f"retscale.{stage}.run") != made["code_sha256"]:
        made_by = (stage, f"commit {made['git']['commit'][:12]}" + ", edited" * bool(made["git"]["dirty"]))
        seen.other_code[made_by] = seen.other_code.get(made_by, 0) + 1
    for output in outputs:
        _compare(path.parent / output["path"], output["sha256"], "differs from its own record", seen)
    for source in inputs:
        _compare(path.parent / source["path"], source["sha256"], f"is not what {path} was made from", seen)
        if source["record"]:
            _visit(path.parent / source["record"], seen)


def _compare(path: Path, expected: str, wrong: str, seen: Walk) -> None:
    path = Path(os.path.normpath(path))
    if path not in seen.hashed:
        try:
            seen.hashed[path] = record.sha256(path)
        except OSError:
            seen.hashed[path] = ""
            seen.problems.append(f"{path}: the file is missing")
    if seen.hashed[path] not in (expected, ""):
        line = f"{path}: {wrong}"
        if line not in seen.problems:
            seen.problems.append(line)


def figure(path: Path) -> Path:
    """The declared output of the figure that the file `path` belongs to; UserError if there is none."""
    primary = path.with_suffix(".png")
    if not record.path_of(primary).exists():
        names = ", ".join(sorted(str(p) for p in path.parent.glob("*.png"))) or "no figure"
        raise UserError(
            f"{path} is not a figure of a study (no {record.path_of(primary).name} beside it); the folder holds {names}"
        )
    return primary
