"""The provenance record that lies beside every output: `card.json` -> `card.record.json`.

A record names what made its outputs (stage, spec, code digest, commit, packages, machine) and the sha256 of every
input and output, so records chain: the inputs of one are the outputs of another. Each names the digests of the records
behind it, so the digest of the last one is a root, which vouches for all.
"""

import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from retscale.common import jsonl
from retscale.common.canonical import canonical
from retscale.common.files import atomic_write, sha256, sha256_of
from retscale.errors import UserError
from retscale.provenance import environment, schema
from retscale.provenance.beside import path_of
from retscale.provenance.clone import UNKNOWN
from retscale.provenance.schema import Git, Input, OlderRecord, Record
from retscale.provenance.usage import Usage


def spec_sha256(spec: dict) -> str:
    return sha256_of(canonical(spec).encode())


def identity(spec: dict, code: str, inputs: list[Input]) -> str:
    """sha256 of what a job is: its spec, its code and the bytes of its inputs, whoever made them."""
    return sha256_of(canonical({"spec": spec, "code": code, "inputs": _files(inputs)}).encode())


def digest(record: Record | OlderRecord) -> str:
    """sha256 of the deterministic part of a record: the same on every machine with the same study, code and packages.

    A file outside of the study, which has an absolute path, counts by its name.
    """
    content: dict = {key: record.get(key) for key in ("schema", "stage", "spec", "code_sha256", "packages")}
    content["inputs"] = [
        {"path": _place(row["path"])} | {key: row.get(key) for key in ("name", "sha256", "record", "digest")}
        for row in record["inputs"]
    ]
    content["outputs"] = [{key: row.get(key) for key in ("path", "sha256", "bytes")} for row in record["outputs"]]
    return sha256_of(canonical(content).encode(errors="surrogatepass"))


def _place(path: str) -> str:
    return os.path.basename(path) if os.path.isabs(path) else path


def _files(inputs: Sequence[Mapping]) -> list[dict]:
    """The rows without the digests of their records: what is made again with the same bytes is the same input."""
    return [{key: value for key, value in row.items() if key != "digest"} for row in inputs]


def read(primary: Path) -> Record | OlderRecord:
    """The record of `primary`; UserError if there is none or it is damaged."""
    path = path_of(primary)
    if not path.exists():
        raise UserError(f"{primary} has no provenance record ({path.name}); delete it and run again to make it again")
    try:
        return parse(path)
    except UserError as error:
        raise UserError(f"{error}; delete {primary} and run again to remake it") from None


def parse(path: Path) -> Record | OlderRecord:
    """The record in the file `path`; UserError if it is damaged, or of a version that is not known here."""
    try:
        record = jsonl.whole(path)
        version = record.get("schema", 1)
        if type(version) is not int or version not in schema.VERSIONS:
            raise UserError(
                f"{path} has the schema {str(version)[:20]!r}, where retscale knows up to {schema.VERSION}; was it "
                "written by a newer one?"
            )
        schema.VERSIONS[version].validate_python(record, strict=True)
        canonical(record["spec"]).encode()
    except UserError as error:
        raise UserError(f"the provenance record is damaged: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"the provenance record {path} is damaged: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"the provenance record {path} is damaged: its spec is not plain JSON ({error})") from None
    return cast(Record | OlderRecord, record)


def verified_inputs(
    inputs: dict,
    folder: Path,
    reads: dict[str, tuple[str, ...]] | None = None,
    skips: dict[str, tuple[str, ...]] | None = None,
    outside: tuple[str, ...] = (),
) -> list[Input]:
    """Each input file and its companions, checked against the record of the job that made it.

    `inputs` maps a name to a path or a list of paths; paths in the result are relative to `folder`, the home of the
    record to be. `reads` maps a name to the only files that are read of such an input, `skips` to those that are not:
    neither hashed nor listed are the others, say the weights beside a log. Their record is named all the same, so an
    audit still reaches them.
    Inputs `outside` may come from no stage: without records that lead further they are hashed as they are.
    UserError names the first file whose bytes are not those that were recorded.
    """
    rows: list[Input] = []
    for name, value in inputs.items():
        for primary in value if isinstance(value, list) else [value]:
            if not primary.is_file():
                raise UserError(f"--{name}: there is no file {primary}")
            if name in outside and not chained(primary):
                rows.append(outside_row(name, os.path.relpath(primary, folder), sha256(primary)))
                continue
            record = read(primary)
            record_digest = digest(record)
            recorded = {output["path"]: output["sha256"] for output in record["outputs"]}
            skipped = (skips or {}).get(name, ())
            for file in (reads or {}).get(name, [file for file in recorded if file not in skipped]):
                path = primary.parent / file
                if file not in recorded:
                    raise UserError(f"--{name}: no {file} was made beside {primary}; delete {primary} and run again")
                check(path, recorded[file])
                rows.append(
                    {
                        "name": name,
                        "path": os.path.relpath(path, folder),
                        "sha256": recorded[file],
                        "record": os.path.relpath(path_of(primary), folder),
                        "digest": record_digest,
                    }
                )
    return rows


def outside_row(name: str, path: str, value: str) -> Input:
    """The row of a file with the sha256 `value` that no job made."""
    return {"name": name, "path": path, "sha256": value, "record": None, "digest": None}


def chained(primary: Path) -> bool:
    """Whether `primary` has a record, and those that it leads to are there: a copied file has left them behind."""
    try:
        rows = read(primary)["inputs"]
    except UserError:
        return False
    return all((primary.parent / row["record"]).is_file() for row in rows if row["record"])


def relative(path: Path, folder: Path) -> str:
    """How a record in `folder` names `path`: a file that a study names by an absolute path keeps it."""
    return str(path) if path.is_absolute() else os.path.relpath(path, folder)


def rebased(rows: Sequence[Input], old: Path, new: Path) -> list[Input]:
    """The inputs `rows` of a record in the folder `old`, as one in the folder `new` names them."""
    return [
        {**row, "path": _rebased(row["path"], old, new), "record": row["record"] and _rebased(row["record"], old, new)}
        for row in rows
    ]


def _rebased(path: str, old: Path, new: Path) -> str:
    return path if os.path.isabs(path) else os.path.relpath(old / path, new)


def check(path: Path, expected: str) -> None:
    """UserError unless the bytes of `path` have the sha256 `expected`."""
    if not path.is_file():
        raise UserError(
            f"{path} is missing, although its provenance record lists it; delete the files beside it and run again"
        )
    if sha256(path) != expected:
        raise UserError(
            f"{path} is not the file that was made (its sha256 differs from its record); delete it and run again"
        )


def make(
    stage: str,
    spec: dict,
    code: str,
    inputs: list[Input],
    work: Path,
    names: list[str],
    notes: dict | None,
    started: float,
    usage: Usage | None = None,
    git: Git = UNKNOWN,
    code_changed: bool = False,
    command: Sequence[str] = (),
) -> Record:
    """The record of a finished job whose outputs are the files `names` in `work`."""
    return {
        "schema": schema.VERSION,
        "stage": stage,
        "spec": spec,
        "spec_sha256": spec_sha256(spec),
        "code_sha256": code,
        "packages": environment.versions(),
        "inputs": inputs,
        "outputs": [
            {"path": name, "sha256": sha256(work / name), "bytes": (work / name).stat().st_size} for name in names
        ],
        "git": git,
        "code_changed": code_changed,
        "machine": environment.machine(),
        "run": {
            "command": list(command),
            "attempt": environment.attempt(),
            "threads": environment.threads(),
            "processes": int(os.environ.get("WORLD_SIZE", 1)),
            "slurm": environment.slurm(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        },
        "usage": usage,
        "notes": notes or {},
    }


def write(path: Path, record: Record) -> None:
    """The file `path`, whole or not at all."""
    with atomic_write(path) as file:
        file.write((json.dumps(record, indent=1, sort_keys=True) + "\n").encode())


def fresh(primary: Path, spec: dict, code: str, inputs: list[Input]) -> bool:
    """Whether `primary` exists, whole, and was made from precisely this spec, code and inputs, whoever made these."""
    try:
        record = read(primary)
        for output in record["outputs"]:
            check(primary.parent / output["path"], output["sha256"])
    except UserError:
        return False
    same = (record["spec_sha256"], record["code_sha256"]) == (spec_sha256(spec), code)
    return same and _files(record["inputs"]) == _files(inputs)


def renew(primary: Path, inputs: list[Input]) -> None:
    """Let the record of `primary`, which is fresh, name those of its inputs as they are now.

    An input that was made again with the same bytes, say by code that has changed elsewhere, has another record.
    """
    record = read(primary)
    if record.get("schema") == schema.VERSION and record["inputs"] != inputs:
        write(path_of(primary), cast(Record, record | {"inputs": inputs}))
