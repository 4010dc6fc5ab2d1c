"""The provenance record that lies beside every output: `card.json` -> `card.record.json`.

A record names what made its outputs (stage, spec, code digest, commit, packages, machine) and the sha256 of every
input and output, so records chain: the inputs of one are the outputs of another.
"""

import importlib.metadata
import json
import os
import platform
import socket
import subprocess
import time
from pathlib import Path
from typing import Annotated, NotRequired, cast

from pydantic import FailFast, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from retscale.common import jsonl
from retscale.common.files import sha256, sha256_of
from retscale.common.machine import cores
from retscale.errors import UserError
from retscale.provenance.usage import Usage

PACKAGES = [
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "peft",
    "datasets",
    "mteb",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "matplotlib",
    "seaborn",
    "numba",
    "snakemake",
]


Name = Annotated[str, Field(pattern=r"^[^\x00]+$")]


class Output(TypedDict):
    """A file that the job made; `path` is relative to the record's folder."""

    path: Name
    sha256: str


class Input(TypedDict):
    """A file that the job read, and the record of the job that made it, if one did."""

    path: Name
    sha256: str
    record: Name | None


class Git(TypedDict):
    """The state of the code's clone; `unknown` and None outside of one."""

    commit: str
    dirty: bool | None


class Record(TypedDict):
    """What a reader of a record may rely on, whoever wrote it.

    `usage` is None in the record of a further product, since that of the job's own has it, and absent from older ones.
    """

    stage: Annotated[str, Field(pattern="^[a-z]+$")]
    spec: dict
    spec_sha256: str
    code_sha256: str
    inputs: Annotated[list[Input], FailFast()]
    outputs: Annotated[list[Output], FailFast()]
    git: Git
    usage: NotRequired[Usage | None]


_RECORD = TypeAdapter(Record)


def spec_sha256(spec: dict) -> str:
    return sha256_of(canonical(spec).encode())


def canonical(spec: dict) -> str:
    """The canonical JSON form of a spec: sorted keys, no spaces, plain types only."""
    return json.dumps(spec, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def identity(spec: dict, code: str, inputs: list[dict]) -> str:
    """sha256 of what a job is: its spec, its code and the bytes of its inputs."""
    return sha256_of(canonical({"spec": spec, "code": code, "inputs": inputs}).encode())


def path_of(primary: Path) -> Path:
    """Where the record of the output `primary` lies."""
    return primary.with_name(f"{primary.stem}.record.json")


def read(primary: Path) -> Record:
    """The record of `primary`; UserError if there is none or it is damaged."""
    path = path_of(primary)
    if not path.exists():
        raise UserError(f"{primary} has no provenance record ({path.name}); delete it and run again to make it again")
    try:
        return parse(path)
    except UserError as error:
        raise UserError(f"{error}; delete {primary} and run again to remake it") from None


def parse(path: Path) -> Record:
    """The record in the file `path`; UserError if it is damaged."""
    try:
        record = cast(Record, jsonl.whole(path))
        _RECORD.validate_python(record, strict=True)
        canonical(record["spec"]).encode()
    except UserError as error:
        raise UserError(f"the provenance record is damaged: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"the provenance record {path} is damaged: {where}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"the provenance record {path} is damaged: its spec is not plain JSON ({error})") from None
    return record


def verified_inputs(
    inputs: dict,
    folder: Path,
    reads: dict[str, tuple[str, ...]] | None = None,
    skips: dict[str, tuple[str, ...]] | None = None,
    outside: tuple[str, ...] = (),
) -> list[dict]:
    """Each input file and its companions, checked against the record of the job that made it.

    `inputs` maps a name to a path or a list of paths; paths in the result are relative to `folder`, the home of the
    record to be. `reads` maps a name to the only files that are read of such an input, `skips` to those that are not:
    neither hashed nor listed are the others, say the weights beside a log. Their record is named all the same, so an
    audit still reaches them.
    Inputs `outside` may come from no stage: without records that lead further they are hashed as they are.
    UserError names the first file whose bytes are not those that were recorded.
    """
    rows = []
    for name, value in inputs.items():
        for primary in value if isinstance(value, list) else [value]:
            if not primary.is_file():
                raise UserError(f"--{name}: there is no file {primary}")
            if name in outside and not chained(primary):
                rows.append(
                    {"name": name, "path": os.path.relpath(primary, folder), "sha256": sha256(primary), "record": None}
                )
                continue
            recorded = {output["path"]: output["sha256"] for output in read(primary)["outputs"]}
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
                    }
                )
    return rows


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


def rebased(rows: list[dict], old: Path, new: Path) -> list[dict]:
    """The inputs `rows` of a record in the folder `old`, as one in the folder `new` names them."""
    names = ("path", "record")
    return [row | {name: row[name] and _rebased(row[name], old, new) for name in names} for row in rows]


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
    inputs: list[dict],
    work: Path,
    names: list[str],
    notes: dict | None,
    started: float,
    usage: Usage | None = None,
) -> dict:
    """The record of a finished job whose outputs are the files `names` in `work`."""
    return {
        "stage": stage,
        "spec": spec,
        "spec_sha256": spec_sha256(spec),
        "code_sha256": code,
        "inputs": inputs,
        "outputs": [
            {"path": name, "sha256": sha256(work / name), "bytes": (work / name).stat().st_size} for name in names
        ],
        "notes": notes or {},
        "git": git_state(),
        "packages": versions(),
        "machine": machine(),
        "slurm_job_id": os.environ.get("SLURM_JOB_ID"),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 3),
        "usage": usage,
    }


def fresh(primary: Path, spec: dict, code: str, inputs: list[dict]) -> bool:
    """Whether `primary` exists, whole, and was made from precisely this spec, code and inputs."""
    try:
        record = read(primary)
        for output in record["outputs"]:
            check(primary.parent / output["path"], output["sha256"])
    except UserError:
        return False
    return (record["spec_sha256"], record["code_sha256"], record["inputs"]) == (spec_sha256(spec), code, inputs)


def git_state() -> dict:
    """Commit and dirty flag of the code that runs; unknown outside a git clone."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()
        status = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": None}
    return {"commit": commit, "dirty": bool(status.strip())}


def versions() -> dict:
    versions_found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions_found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions_found[package] = "not installed"
    return versions_found


def machine() -> dict:
    """Host, processor and cores; the accelerator is in the notes of the stages that use one."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {
        "host": socket.gethostname(),
        "cpu": cpu,
        "cores": cores(),
        "system": platform.platform(),
    }
