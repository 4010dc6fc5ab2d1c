"""The walk from an output back through the records that it depends on."""

import os
from collections import deque
from dataclasses import dataclass, field
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from retscale.common.files import sha256
from retscale.errors import UserError
from retscale.provenance import code, record


@dataclass
class Walk:
    """What a walk saw: each record once, every file it hashed, and every problem (a line) with its file.

    A file with several names, such as the tokens that checkpoints share, is read once: `contents` has the sha256 by inode.
    """

    records: dict[Path, dict] = field(default_factory=dict)
    hashed: dict[Path, str] = field(default_factory=dict)
    problems: dict[str, Path] = field(default_factory=dict)
    other_code: dict[tuple[str, str], int] = field(default_factory=dict)
    contents: dict[tuple[int, int], str] = field(default_factory=dict)

    def sha256(self, path: Path) -> str:
        stat = path.stat()
        inode = stat.st_dev, stat.st_ino
        if inode not in self.contents:
            self.contents[inode] = sha256(path)
        return self.contents[inode]

    def add_problem(self, path: Path, message: str) -> None:
        self.problems.setdefault(f"{path}: {message}", path)

    def outside(self, primaries: list[Path]) -> list[Path]:
        """The files that no job made and that stand behind these outputs, at any distance."""
        files, visited, queue = {}, set(), deque(record.path_of(path) for path in primaries)
        while queue:
            path = _plain(queue.popleft())
            if path in visited:
                continue
            visited.add(path)
            for source in self.records.get(path, {}).get("inputs", []):
                if source["record"]:
                    queue.append(path.parent / source["record"])
                else:
                    files[_plain(path.parent / source["path"])] = None
        return list(files)


def walk(primary: Path) -> Walk:
    """Verify `primary` and all that it was made from."""
    walked, stack, makers = Walk(), [_plain(record.path_of(primary))], {}
    while stack:
        path = stack.pop()
        if path not in makers:
            makers[path] = _verify(path, walked)
            stack += reversed(makers[path])
    try:
        TopologicalSorter(makers).prepare()
    except CycleError as error:
        walked.add_problem(error.args[1][0], "is made from itself, so no job can have made it")
    return walked


def _verify(path: Path, walked: Walk) -> list[Path]:
    """Verify what the record at `path` lists; the records of its inputs, each once."""
    walked.records[path] = {}
    if not os.path.exists(path):
        walked.add_problem(path, "the record is missing")
        return []
    try:
        content = record.parse(path)
    except UserError as error:
        walked.problems[str(error)] = path
        return []
    walked.records[path] = content
    if record.spec_sha256(content["spec"]) != content["spec_sha256"]:
        walked.add_problem(path, "the spec was edited after the job ran")
    if _code(content["stage"]) != content["code_sha256"]:
        maker = (
            content["stage"],
            f"commit {content['git']['commit'][:12]}" + ", edited" * bool(content["git"]["dirty"]),
        )
        walked.other_code[maker] = walked.other_code.get(maker, 0) + 1
    for output in content["outputs"]:
        if os.path.isabs(output["path"]) or ".." in Path(output["path"]).parts:
            walked.add_problem(path, f"lists the output {output['path']}, which is not in its folder")
        else:
            _compare(path.parent / output["path"], output["sha256"], "differs from its own record", walked)
    for source in content["inputs"]:
        _compare(path.parent / source["path"], source["sha256"], f"is not what {path} was made from", walked)
    return list(dict.fromkeys(_plain(path.parent / row["record"]) for row in content["inputs"] if row["record"]))


def _compare(path: Path, expected: str, wrong: str, walked: Walk) -> None:
    path = _plain(path)
    if path not in walked.hashed:
        walked.hashed[path] = ""
        try:
            walked.hashed[path] = walked.sha256(path)
        except FileNotFoundError:
            walked.add_problem(path, "the file is missing")
        except OSError as error:
            walked.add_problem(path, f"the file cannot be read: {error.strerror}")
        except UserError as error:
            walked.problems[str(error)] = path
    if walked.hashed[path] not in (expected, ""):
        walked.add_problem(path, wrong)


@cache
def _code(stage: str) -> str:
    return code.digest(f"retscale.{stage}.run")


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))


def figure(path: Path) -> Path:
    """The declared output of the figure that the file `path` belongs to; UserError if there is none."""
    primary = path.with_suffix(".png") if path.name.strip(".") else path / "figure.png"
    if not os.path.exists(record.path_of(primary)):  # False for a name that is too long, too
        names = ", ".join(sorted(str(p) for p in path.parent.glob("*.png"))) or "no figure"
        raise UserError(
            f"{path} is not a figure of a study (no {record.path_of(primary).name} beside it); the folder holds {names}"
        )
    return primary
