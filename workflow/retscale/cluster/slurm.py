"""Slurm's commands: submit, ask, cancel. Each either answers, or raises Unanswered or Refused."""

import getpass
import os
import re
import subprocess
from dataclasses import dataclass

from retscale.errors import UserError

COMMANDS = ("sbatch", "squeue", "scancel", "sinfo")
TIMEOUT_S = 90
# What Slurm's commands say when the controller, or the daemon that signs their messages, does not answer, and what they
# say of a limit that passes: for these one waits.
UNANSWERED = re.compile(
    r"unable to contact slurm|socket timed out|connection (refused|reset|timed out)|communication connection failure"
    r"|zero bytes were transmitted|transport endpoint|unexpected message received|temporarily unable|try again"
    r"|standby mode|munge|controller not responding|MaxSubmitJob|job submit limit",
    re.IGNORECASE,
)

QUEUED = {
    "PENDING",
    "CONFIGURING",
    "RUNNING",
    "SUSPENDED",
    "STOPPED",
    "RESIZING",
    "SIGNALING",
    "STAGE_OUT",
    "COMPLETING",
}
# Slurm starts these again by itself; if it does not, they have failed.
INTERRUPTED = {"PREEMPTED", "NODE_FAIL", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT", "BOOT_FAIL"}

FIELDS = "%A|%T|%N|%r|%k|%M|%j"  # the name last, as it alone may hold anything


class Unanswered(Exception):
    """Slurm gives no answer now; the message says how."""


class Refused(UserError):
    """Slurm refuses, and would again."""


class Missing(Refused):
    """There is no Slurm on this machine."""


@dataclass(frozen=True)
class Row:
    """A job in Slurm's queue, as squeue shows it."""

    id: str
    state: str
    node: str
    reason: str
    comment: str
    elapsed: str
    name: str

    @property
    def queued(self) -> bool:
        return self.state in QUEUED


@dataclass(frozen=True)
class Partition:
    """A partition as sinfo shows it: of its largest nodes memory in MB, cores and GPUs; time limit in minutes (None: none)."""

    name: str
    default: bool
    minutes: int | None
    memory_mb: int
    cores: int
    gpus: dict[str, int]
    nodes: int


def submit(script: str, options: list[str]) -> str:
    """The id of the job that runs the shell `script`."""
    answer = _run(["sbatch", "--parsable", *options], script)
    if not (match := re.match(r"\d+", answer.strip().splitlines()[-1] if answer.strip() else "")):
        raise Refused(f"sbatch gave no job id but {answer.strip()[:200]!r}")
    return match.group()


def jobs(timeout: float = TIMEOUT_S) -> list[Row]:
    """The user's jobs, also those that ended lately."""
    command = ["squeue", "--noheader", "--states=all", f"--user={getpass.getuser()}", f"--format={FIELDS}"]
    return parse_jobs(_run(command, timeout=timeout))


def parse_jobs(text: str) -> list[Row]:
    return [Row(*line.split("|", 6)) for line in text.splitlines() if line.count("|") >= 6]


def cancel(ids: list[str]) -> None:
    if ids:
        _run(["scancel", *ids])


def partitions() -> list[Partition]:
    return parse_partitions(_run(["sinfo", "--noheader", "--format=%P|%l|%m|%c|%G|%D"]))


def parse_partitions(text: str) -> list[Partition]:
    """From lines of sinfo, one for each kind of node in a partition."""
    merged: dict[str, Partition] = {}
    for line in text.splitlines():
        name, limit, memory, cores, gres, nodes = line.split("|")
        row = Partition(
            name.rstrip("*"),
            name.endswith("*"),
            _minutes(limit),
            _number(memory),
            _number(cores),
            _gpus(gres),
            int(nodes),
        )
        other = merged.get(row.name, row)
        gpus = {model: max(row.gpus.get(model, 0), other.gpus.get(model, 0)) for model in row.gpus | other.gpus}
        merged[row.name] = Partition(
            row.name,
            row.default,
            row.minutes,
            max(row.memory_mb, other.memory_mb),
            max(row.cores, other.cores),
            gpus,
            row.nodes + (other.nodes if other is not row else 0),
        )
    return list(merged.values())


def _number(text: str) -> int:
    return int(re.match(r"\d+", text).group())  # `64+` of nodes that differ


def _minutes(limit: str) -> int | None:
    """Of `2-12:00:00`, `12:00:00` or `30:00`."""
    if not limit[:1].isdigit():
        return None
    days, _, clock = limit.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    hours, minutes = (parts if days else [0, *parts])[-3:-1] if len(parts) < 3 and not days else (parts + [0])[:2]
    return int(days or 0) * 1440 + hours * 60 + minutes


def _gpus(gres: str) -> dict[str, int]:
    """GPUs of a node by model from `gpu:a100:8(S:0-1),gpu:4`; a model that is not named is empty."""
    counts: dict[str, int] = {}
    for model, count in re.findall(r"gpu:(?:([^:,()]+):)?(\d+)", gres):
        counts[model] = counts.get(model, 0) + int(count)
    return counts


def _run(command: list[str], text: str | None = None, timeout: float = TIMEOUT_S) -> str:
    # A driver that itself runs in a Slurm job must not hand that job's settings on.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name == "SLURM_CONF" or not name.startswith(("SLURM_", "SBATCH_", "SQUEUE_", "SINFO_"))
    }
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=timeout, env=environment, errors="replace"
        )
    except FileNotFoundError:
        raise Missing(f"{command[0]} is not on the PATH; start Snakemake on a node that submits to Slurm") from None
    except subprocess.TimeoutExpired:
        raise Unanswered(f"{command[0]} gave no answer within {timeout:g} s") from None
    if done.returncode == 0:
        return done.stdout
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"{command[0]} failed"]
    if UNANSWERED.search(done.stderr):
        raise Unanswered(lines[-1])
    raise Refused("; ".join(re.sub(r"^\w+: (error: )?", "", line) for line in lines[-2:]))
