"""What a provenance record holds; `python -m retscale.provenance.schema` writes its JSON schema, a test compares it."""

import json
from pathlib import Path
from typing import Annotated, Literal, NotRequired

from pydantic import FailFast, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from retscale.provenance.accelerators import Accelerator
from retscale.provenance.usage import Usage

VERSION = 2
FILE = Path(__file__).resolve().parents[2] / "schemas" / "record.schema.json"

Name = Annotated[str, Field(pattern=r"^[^\x00]+$")]
Stage = Annotated[str, Field(pattern="^[a-z]+$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Output(TypedDict):
    """A file that the job made; `path` is relative to the record's folder."""

    path: Name
    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class Input(TypedDict):
    """A file that the job read by the flag `name`, its `path` from the record's folder (absolute if the study says so).

    If a job made the file, `record` is where its record lies and `digest` is that record's digest, as it was when the file
    was read; otherwise both are None.
    """

    name: Name
    path: Name
    sha256: Sha256
    record: Name | None
    digest: Sha256 | None


class Git(TypedDict):
    """The clone of the code when the job started: its commit, and whether the code differed from it.

    `unknown` and None where the code lies in no clone of its own.
    """

    commit: str
    dirty: bool | None


class Machine(TypedDict):
    """The first process's; `accelerators` are those that the job computed on, `driver` is theirs."""

    host: str
    cpu: str
    cores: int
    system: str
    accelerators: list[Accelerator]
    driver: str | None


class Slurm(TypedDict):
    """The job of Slurm, and how often Slurm has started it again."""

    job: str
    partition: str | None
    restarts: int


class Run(TypedDict):
    """How the job ran: a command that makes this product, in the study's working folder, where SPEC is the record's spec.

    `attempt` counts from 1 since the job last ended well, None outside of the workflow. `threads` are those that it was
    allotted; those of a model stand in the spec.
    """

    command: list[str]
    attempt: int | None
    threads: int
    processes: int
    slurm: Slurm | None
    started: str


@with_config(extra="forbid")
class Record(TypedDict):
    """What made the outputs that it lies beside, and from what.

    Schema, stage, spec, code_sha256, packages, inputs and outputs are the deterministic part, over which its digest is
    taken. The rest says how the job went. `code_changed`: whether files of the code changed while it ran. `usage` is None
    in the record of a further product, since that of the job's own has it.
    """

    schema: Literal[2]
    stage: Stage
    spec: dict
    spec_sha256: Sha256
    code_sha256: str
    packages: dict[str, str]
    inputs: Annotated[list[Input], FailFast()]
    outputs: Annotated[list[Output], FailFast()]
    git: Git
    code_changed: bool
    machine: Machine
    run: Run
    usage: Usage | None
    notes: dict


class OlderOutput(TypedDict):
    """As `Output`, of a record without a schema."""

    path: Name
    sha256: str
    bytes: NotRequired[int]


class OlderInput(TypedDict):
    """As `Input`, of a record without a schema: it does not say which record it means."""

    name: NotRequired[str]
    path: Name
    sha256: str
    record: Name | None


class OlderRecord(TypedDict):
    """What a reader may rely on in a record without a schema."""

    stage: Stage
    spec: dict
    spec_sha256: str
    code_sha256: str
    packages: NotRequired[dict[str, str]]
    inputs: Annotated[list[OlderInput], FailFast()]
    outputs: Annotated[list[OlderOutput], FailFast()]
    git: Git
    usage: NotRequired[Usage | None]


VERSIONS = {1: TypeAdapter(OlderRecord), VERSION: TypeAdapter(Record)}


def text() -> str:
    """Draft 2020-12 schema of a record, as JSON."""
    return json.dumps(VERSIONS[VERSION].json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
