"""The walk from outputs back through the records of all that they were made from; each record and file is read once."""

import os
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from retscale.audit import place
from retscale.audit.findings import Findings
from retscale.audit.place import Place, plain
from retscale.common import jsonl
from retscale.common.files import sha256, sha256_of
from retscale.errors import UserError
from retscale.provenance import record
from retscale.provenance.schema import OlderRecord, Record
from retscale.stages import STAGES

Contents = dict[tuple[int, int, int, int], str]  # sha256 by what tells a file from another and from its later state


@dataclass(frozen=True)
class Read:
    """An input of a record: the file at `path`, read by the flag `name`, and the record of the job that made it, if any."""

    name: str
    path: Path
    sha256: str
    record: Path | None
    digest: str | None
    absolute: bool


@dataclass
class Node:
    """The record at `path`: its `content`, the sha256 of its whole file, and its `digest`, which those that read name.

    `believed`: what it says of files and of other records counts.
    """

    path: Path
    content: Record | OlderRecord
    sha256: str
    digest: str
    believed: bool = True

    @property
    def older(self) -> bool:
        """Whether it is of a version that names no digests of other records, and so vouches for none."""
        return "schema" not in self.content

    @property
    def stage(self) -> str:
        return self.content["stage"]

    @property
    def spec(self) -> dict:
        return self.content["spec"]

    @cached_property
    def primary(self) -> Path:
        """The output that the record lies beside, by the record's name."""
        declared = STAGES[self.stage].primary if self.stage in STAGES else ""
        return self.path.with_name(self.path.name.removesuffix(".record.json") + Path(declared).suffix)

    @cached_property
    def place(self) -> Place | None:
        return place.of(self.stage, self.primary)

    @cached_property
    def outputs(self) -> dict[Path, str]:
        """The sha256 of every output in the record's folder."""
        return {
            plain(self.path.parent / row["path"]): row["sha256"]
            for row in self.content["outputs"]
            if place.is_inside(row["path"])
        }

    @cached_property
    def inputs(self) -> list[Read]:
        folder = self.path.parent
        return [
            Read(
                row.get("name", ""),
                plain(os.path.join(folder, row["path"])),
                row["sha256"],
                plain(os.path.join(folder, row["record"])) if row["record"] else None,
                row.get("digest"),
                os.path.isabs(row["path"]) or os.path.isabs(row["record"] or ""),
            )
            for row in self.content["inputs"]
        ]

    @cached_property
    def by_source(self) -> dict[Path, list[Read]]:
        """The inputs by the record that they name."""
        rows = defaultdict(list)
        for row in self.inputs:
            if row.record:
                rows[row.record].append(row)
        return dict(rows)


@dataclass
class Walk:
    """`starts`: the records that it set out from. `nodes`: every record that could be read, before those of its inputs.

    `hashed`: the sha256 of every file on the way, empty for one that cannot be read. A file with several names, such as
    the tokens that checkpoints share, is read once: `contents` has the sha256 by inode.
    """

    starts: list[Path]
    nodes: dict[Path, Node] = field(default_factory=dict)
    hashed: dict[Path, str] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)
    contents: Contents = field(default_factory=dict)
    bytes: int = 0

    def sha256(self, path: Path) -> str:
        """Of a file, read if its inode was not; empty, and the file is to blame, if that cannot be done."""
        if path not in self.hashed:
            self.hashed[path] = ""
            try:
                stat = path.stat()
                inode = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns
                if inode not in self.contents:
                    self.contents[inode] = sha256(path)
                self.hashed[path] = self.contents[inode]
                self.bytes += stat.st_size
            except FileNotFoundError:
                self.findings.blame(path, "is a link that leads nowhere" if path.is_symlink() else "is missing")
            except IsADirectoryError:
                self.findings.blame(path, "is a folder")
            except OSError as error:
                self.findings.blame(path, f"cannot be read: {error.strerror}")
            except UserError:
                self.findings.blame(path, "is not a regular file")
        return self.hashed[path]

    @cached_property
    def makers(self) -> dict[Path, Node]:
        """By file, the record that lists it as an output."""
        return {file: node for node in self.nodes.values() for file in node.outputs}

    @cached_property
    def consumers(self) -> dict[Path, list[Node]]:
        """By record, the records that name it for an input."""
        named = defaultdict(list)
        for node in self.nodes.values():
            for source in node.by_source:
                named[source].append(node)
        return dict(named)

    @cached_property
    def readers(self) -> dict[Path, list[Node]]:
        """By file, the records that list it as an input."""
        listed = defaultdict(list)
        for node in self.nodes.values():
            for path in {row.path for row in node.inputs}:
                listed[path].append(node)
        return dict(listed)

    @property
    def folder(self) -> Path:
        """The results folder that the walk began in."""
        places = [node.place for path in self.starts if (node := self.nodes.get(path))]
        return next((place.root for place in places if place), self.starts[0].parent)

    @property
    def root(self) -> str | None:
        """The digest of the record that vouches for all others; of several such, the sha256 over their digests.

        None where such a record cannot be read, or one behind it is older.
        """
        last = [path for path in self.starts if path not in self.consumers]
        digests = sorted(node.digest for path in last if (node := self.nodes.get(path)))
        if not digests or len(digests) < len(last) or any(node.older for node in self.nodes.values()):
            return None
        return digests[0] if len(digests) == 1 else sha256_of("\n".join(digests).encode())

    @property
    def seal(self) -> str:
        """One sha256 over the whole files of all records, and their paths from the results folder."""
        folder = self.folder
        lines = sorted(f"{node.sha256}  {os.path.relpath(node.path, folder)}" for node in self.nodes.values())
        return sha256_of("\n".join(lines).encode(errors="surrogateescape"))


def walk(starts: Iterable[Path], contents: Contents | None = None) -> Walk:
    """Read the records `starts` and all behind them. What cannot be read is blamed; nothing else is judged."""
    walked = Walk([plain(path) for path in starts], contents={} if contents is None else contents)
    stack, sources, nodes = list(reversed(walked.starts)), {}, {}
    while stack:
        path = stack.pop()
        if path not in sources:
            node = _read(path, walked)
            sources[path] = list(node.by_source) if node else []
            nodes |= {path: node} if node else {}
            stack += reversed(sources[path])
    try:
        order = list(TopologicalSorter(sources).static_order())  # the last ones have no consumer
    except CycleError as error:
        walked.findings.blame(error.args[1][0], "is made from itself, so no job can have made it")
        order = list(nodes)[::-1]
    walked.nodes = {path: nodes[path] for path in reversed(order) if path in nodes}
    return walked


def _read(path: Path, walked: Walk) -> Node | None:
    if path.is_file() and path.stat().st_size > jsonl.WHOLE:
        walked.findings.blame(path, f"is damaged: of {path.stat().st_size:,} bytes, more than any record has")
        return None
    if not (whole := walked.sha256(path)):
        return None
    try:
        content = record.parse(path)
    except UserError as error:
        said = str(error)
        walked.findings.blame(path, f"is damaged: {said.partition(' is damaged: ')[2] or said}")
        return None
    return Node(path, content, whole, record.digest(content))
