"""Jobs run again from their recorded inputs in a fresh folder, and what they make compared with their records."""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from retscale.audit import difference, mirror, rerun
from retscale.audit.commits import Commits, here
from retscale.audit.rerun import Nodes
from retscale.audit.walk import Node
from retscale.cluster import launch
from retscale.errors import UserError
from retscale.provenance import code, record
from retscale.provenance.schema import OlderRecord, Record
from retscale.stages import STAGES

# What could lead a job to work that was done before, or make it one of several processes.
ELSEWHERE = ("RETSCALE_SCRATCH", "WORLD_SIZE", "RANK", "LOCAL_RANK")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
AnyRecord = Record | OlderRecord
WORDS = {True: "equal", False: "DIFFERS", None: "cannot tell"}

# Whether what a job made in a mirror is near what its record lies beside, and how near.
Near = Callable[[Node, Path], tuple[bool, str]]


@dataclass(frozen=True)
class Replayed:
    """A job that has run again: whether it made what its record says (`equal`), and if not, `why`; None: unknown."""

    node: Node
    about: str
    seconds: float
    equal: bool | None
    why: str = ""

    def line(self) -> str:
        word = "near" if self.equal and self.why else WORDS[self.equal]
        verdict = f"{word}: {self.why}" if self.why else word
        return f"{self.node.stage:10} {self.about:44} {self.seconds:6.1f} s  {verdict}"


@dataclass(frozen=True)
class Run:
    """A job that ran in the mirror `home`; `error` is its last line if it failed."""

    home: Path
    seconds: float
    error: str


def replay(node: Node, nodes: Nodes, commits: Commits, near: Near | None = None) -> Replayed:
    """The job of a record, run again and compared bit by bit; in other circumstances by `near`, if that is given."""
    try:
        about = rerun.label(node)
        with ran(node, nodes, commits) as run:
            return Replayed(node, about, run.seconds, *judged(node, commits, run, near))
    except UserError as error:
        return Replayed(node, "", 0.0, None, f"it cannot run again: {error}")


@contextmanager
def ran(node: Node, nodes: Nodes, commits: Commits) -> Iterator[Run]:
    """The job of a record, run again by the code that it names; its files are there until the context ends."""
    job = rerun.of(node, nodes)
    work = Path(os.path.abspath(rerun.place_of(node).root)).parent.parent
    package = package_of(node, commits) or code.PACKAGE
    with tempfile.TemporaryDirectory(prefix="retscale-replay-") as temporary:
        home, lists = Path(temporary, "mirror"), Path(temporary, "lists")
        lists.mkdir()
        mirror.make(home, work, mirror.files(node, nodes), mirror.own_files(node))
        command = [*start_of(node), "-m", "retscale", *job.command(work, lists)]
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=mirror.place(work, home), env=environment_of(node, package), capture_output=True
        )
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        error = (lines or [f"exit status {done.returncode}"])[-1] if done.returncode else ""
        yield Run(home, time.monotonic() - started, error)


def package_of(node: Node, commits: Commits) -> Path | None:
    """The code that made a record: this, or that of the commit that it names; None if neither has the recorded digest."""
    digest, commit = node.content["code_sha256"], node.content["git"]["commit"]
    if here(node.stage) == digest:
        return code.PACKAGE
    return commits.package(commit) if commits.digest(commit, node.stage) == digest else None


def start_of(node: Node) -> list[str]:
    """How Python starts for the job of a record: a training in as many processes as it had, on one machine."""
    if not STAGES[node.stage].parallel:
        return ["python"]
    notes, ran = (node.content.get(key, {}) for key in ("notes", "run"))
    processes = ran.get("processes") or notes.get("processes", 1)
    command = launch.command(1, processes, notes.get("sharded", False), notes.get("device", "cpu") != "cpu")
    return ["env", *shlex.split(command)]


def environment_of(node: Node, package: Path) -> dict[str, str]:
    """That of a process which runs the code in `package` with the threads that the job had; older records name those of
    a model alone."""
    kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
    threads = node.content.get("run", {}).get("threads") or node.spec.get("threads", 1)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**kept, **dict.fromkeys(THREADS, str(threads)), "PATH": path, "PYTHONPATH": str(package.parent)}


def judged(node: Node, commits: Commits, run: Run, near: Near | None = None) -> tuple[bool | None, str]:
    """Whether the job has made what its record says, and if not, why.

    Other bits prove nothing in other circumstances, unless `near` can tell from the files in the mirror.
    """
    if run.error:
        return None, f"it could not run again: {run.error}"
    made = record.parse(mirror.place(node.path, run.home))
    if not (why := first_difference(node, made, run.home)):
        return True, ""
    reasons, equal = other_circumstances(node, made, commits), None
    if reasons and near:
        equal, why = near(node, run.home)
    return equal if reasons else False, "; ".join([why, *reasons])


def first_difference(node: Node, made: AnyRecord, home: Path) -> str:
    """What differs first between the record, with the files beside it, and what was `made` again in `home`."""
    for key in ("inputs", "outputs"):
        then, now = ({row["path"]: row["sha256"] for row in each[key]} for each in (node.content, made))
        if unlisted := sorted(now.keys() - then.keys()):
            return f"the record lacks {unlisted[0]} in its {key}"
        if unmade := sorted(then.keys() - now.keys()):
            return f"the record lists {unmade[0]} in its {key}, which its job has not"
        if others := [name for name, digest in then.items() if now[name] != digest]:
            if key == "inputs":
                return f"{others[0]} is not the input that the record lists"
            stored = node.path.parent / others[0]
            return f"{others[0]}: {difference.of_files(stored, mirror.place(stored, home))}"
    return ""


def other_circumstances(node: Node, made: AnyRecord, commits: Commits) -> list[str]:
    """Why bits may be others here than where the record was made: the code, the machine, the packages."""
    reasons = [] if package_of(node, commits) else ["it was made by code that this clone lacks"]
    then, now = (circumstances(content) for content in (node.content, made))
    others = [f"{name} {then.get(name)}, here {value}" for name, value in now.items() if then.get(name) != value]
    return reasons + ([f"it was made with {', '.join(others)}"] if others else [])


def circumstances(content: AnyRecord) -> dict[str, str | None]:
    """What bits depend on beside spec, inputs and code: processor, accelerators, versions of packages."""
    machine = content.get("machine", {})
    accelerators = ", ".join(device["name"] for device in machine.get("accelerators", []))
    return {"cpu": machine.get("cpu"), "accelerator": accelerators or "none", **content.get("packages", {})}
