"""The first difference behind two scores: both chains of records are walked from them to where equal things part."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from retscale.errors import UserError
from retscale.paths import Results
from retscale.plan.why import differences
from retscale.provenance import record

UNKNOWN = "unknown"
UNEXPLAINED = "outputs differ though everything recorded is the same"
# Of the notes and the run of a job, what says how its machine computed.
HOW_IT_COMPUTED = ("arithmetic", "device", "dtype", "processes", "sharded", "threads")
SHOWN = 3  # differences of a kind


class Cause(NamedTuple):
    """What differs first, in jobs of the `stage`. `kind`: data, seed, recipe, spec, code, package, hardware, or UNKNOWN."""

    stage: str
    kind: str
    text: str


@dataclass
class Chains:
    """The records of two studies whose results lie in `roots`. A path is relative to them, the same in both."""

    roots: tuple[Path, Path]
    _causes: dict[str, frozenset[Cause]] = field(default_factory=dict)

    def behind(self, result: str, same: bool) -> frozenset[Cause]:
        """The first differences behind the two scores in the file `result`; `same`: whether its bytes are equal.

        The score of an equal result was altered where all are collected. Published scores have no records of their own.
        """
        collect, own = (str(record.path_of(Path(path))) for path in (Results().collect(), result))
        if same:
            return self._own(collect)
        return self.first(own if any((root / own).is_file() for root in self.roots) else collect)

    def first(self, path: str) -> frozenset[Cause]:
        """The first differences behind what the two records `path` are of: those with none upstream of them."""
        if path not in self._causes:
            self._causes[path] = frozenset()  # ends a chain that leads to itself
            self._causes[path] = self._upstream(path) or self._own(path)
        return self._causes[path]

    def _upstream(self, path: str) -> frozenset[Cause]:
        causes: set[Cause] = set()
        try:
            a, b = (inputs(path, record.parse(root / path)) for root in self.roots)
        except UserError:
            return frozenset()
        for name in sorted(a.keys() & b.keys()):
            maker = a[name].maker
            if a[name].sha256 != b[name].sha256 and maker and maker == b[name].maker:
                causes |= self._broken(name, maker, a[name], b[name]) or self.first(maker)
        return frozenset(causes)

    def _broken(self, name: str, maker: str, *rows: "Row") -> frozenset[Cause]:
        """That a study's record of a file is not of the file that was read, so that a walk goes no further there."""
        for root, row in zip(self.roots, rows, strict=True):
            try:
                outputs = record.parse(root / maker)["outputs"]
            except UserError:
                continue
            made = {os.path.normpath(Path(maker).parent / output["path"]): output["sha256"] for output in outputs}
            if made.get(name) != row.sha256:
                return frozenset(
                    {Cause(stage_of(maker), UNKNOWN, f"{root / maker} is not of the {name} that was read")}
                )
        return frozenset()

    def _own(self, path: str) -> frozenset[Cause]:
        """What differs between the two records themselves: the first kind that does, and which others do."""
        try:
            a, b = (record.parse(root / path) for root in self.roots)
        except UserError as error:
            return frozenset({Cause(stage_of(path), UNKNOWN, str(error))})
        by_kind: dict[str, list[str]] = {}
        for kind, text in own_differences(path, a, b):
            by_kind.setdefault(kind, []).append(text)
        if not by_kind:
            return frozenset({Cause(a["stage"], UNKNOWN, UNEXPLAINED)})
        (kind, texts), *others = by_kind.items()
        more = [f"and {len(texts) - SHOWN} more"] if len(texts) > SHOWN else []
        also = [f"also {', '.join(other for other, _ in others)}"] if others else []
        return frozenset({Cause(a["stage"], kind, "; ".join([*texts[:SHOWN], *more, *also]))})


class Row(NamedTuple):
    """An input: its sha256, and the record of the job that made it, if one did."""

    sha256: str
    maker: str | None


def inputs(path: str, content: Mapping) -> dict[str, Row]:
    """The inputs of the record `path` by their place in the study; a file from outside, by its flag and its name."""
    folder, rows = os.path.dirname(path), {}
    for row in content["inputs"]:
        if row["record"]:
            place, maker = (os.path.normpath(os.path.join(folder, row[key])) for key in ("path", "record"))
            rows[place] = Row(row["sha256"], maker)
        else:
            rows[f"{row.get('name', 'input')} {os.path.basename(row['path'])}"] = Row(row["sha256"], None)
    return rows


def stage_of(path: str) -> str:
    """The stage whose folder a record lies in."""
    return Path(path).parts[0].split(".")[0]


def own_differences(path: str, a: Mapping, b: Mapping) -> Iterator[tuple[str, str]]:
    """(kind, what) of each difference between two records, the most telling first; not of inputs that jobs made."""
    rows = inputs(path, a), inputs(path, b)
    for name in sorted(rows[0].keys() | rows[1].keys()):
        one, other = (side.get(name) for side in rows)
        if one is None or other is None:
            yield "data", f"{name}: only {'the first' if other is None else 'the second'} read it"
        elif one.maker is None and one.sha256 != other.sha256:
            yield "data", f"{name}: {one.sha256[:12]} -> {other.sha256[:12]}"
    read = (content.get("notes", {}).get("read", {}) for content in (a, b))
    yield from (("data", f"read {text}") for text in differences(*read))
    for text in differences(a["spec"], b["spec"]):
        key = text.partition(":")[0]
        yield "seed" if key.endswith("seed") else "recipe" if key.startswith("recipe.") else "spec", text
    if a["code_sha256"] != b["code_sha256"]:
        yield "code", f"commit {_commit(a)} -> {_commit(b)}"
    for kind, part in (("package", lambda content: content.get("packages", {})), ("hardware", hardware)):
        sides = part(a), part(b)
        both = sides[0].keys() & sides[1].keys()  # records of other versions know other things
        one, other = ({name: side[name] for name in both} for side in sides)
        yield from ((kind, text) for text in differences(one, other))


def hardware(content: Mapping) -> dict:
    """What the record says of its machine that is not of one machine alone, and of how that computed."""
    machine = {name: value for name, value in content.get("machine", {}).items() if name != "host"}
    if "accelerators" in machine:
        machine["accelerators"] = [each["name"] for each in machine["accelerators"]]
    notes = content.get("notes", {}) | content.get("run", {})
    return machine | {name: notes[name] for name in HOW_IT_COMPUTED if name in notes}


def _commit(content: Mapping) -> str:
    return content["git"]["commit"][:12] + ", edited" * bool(content["git"]["dirty"])
