"""The GPUs of this machine, each for one job at a time.

`python -m retscale.cluster.gpus COUNT COMMAND...` runs the command with CUDA_VISIBLE_DEVICES naming COUNT GPUs that no other
job has. Whoever holds the lock of its file has a GPU: the command and the processes of a training, all of which must have
ended, however they did, before another job gets it.
"""

import fcntl
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from retscale.common.terminal import say, write
from retscale.errors import UserError

# Between two looks for free GPUs, at random between these, so that two jobs that took a part each do not meet again.
LOOK_EVERY_S = (1.0, 3.0)
CSV = "--format=csv,noheader,nounits"


class Gpu(NamedTuple):
    """`name`: for CUDA_VISIBLE_DEVICES; `memory` in bytes, 0 if it is not known, as of one that shares the host's."""

    name: str
    model: str = ""
    memory: int = 0


def with_gpus(count: int, command: str) -> str:
    """The shell command that runs `command` with so many GPUs."""
    return f"python -m retscale.cluster.gpus {count} {command}" if count else command


def here(environment: Mapping[str, str] = os.environ) -> list[Gpu]:
    """The GPUs that jobs may use: all that nvidia-smi lists, or those that CUDA_VISIBLE_DEVICES names."""
    names = environment.get("CUDA_VISIBLE_DEVICES")
    if names == "":
        return []
    listed = re.findall(r"^GPU \d+: (.*) \(UUID: (\S+)\)", _nvidia_smi("-L"), re.MULTILINE)
    sizes = dict(re.findall(r"^(\S+), (\d+)$", _nvidia_smi("--query-gpu=uuid,memory.total", CSV), re.MULTILINE))
    known = [Gpu(name, model, 2**20 * int(sizes.get(name, 0))) for model, name in listed]
    return chosen(known, names)


def chosen(known: list[Gpu], names: str | None) -> list[Gpu]:
    """Those of `known` that CUDA_VISIBLE_DEVICES names, by their place or the start of their UUID; None: all.

    As CUDA does, up to the first name that is no device. What nvidia-smi does not list, such as a part of a GPU, is taken
    at its word.
    """
    if names is None:
        return known
    gpus = []
    for name in map(str.strip, names.split(",")):
        if not re.match(r"\d+$|GPU-|MIG-", name):
            break
        by_place = known[int(name) : int(name) + 1] if name.isdigit() else []
        by_uuid = [gpu for gpu in known if gpu.name.startswith(name)]
        gpus.append(next(iter(by_place + by_uuid), Gpu(name)))
    return gpus


def take(names: list[str], count: int, folder: Path) -> dict[str, int]:
    """Lock `count` of the GPUs `names`, by files in `folder`, waiting until so many are free: each with the descriptor
    that holds its lock."""
    if count > len(names):
        raise UserError(f"this job needs {count} GPUs, but here are {len(names)} (nvidia-smi -L, CUDA_VISIBLE_DEVICES)")
    said = False
    while True:
        held: dict[str, int] = {}
        for name in names:
            if len(held) == count:
                break
            descriptor = _lock(folder / f"retscale-{name.replace('/', '-')}.lock")
            if descriptor is not None:
                held[name] = descriptor
        if len(held) == count:
            return held
        for descriptor in held.values():  # two jobs that wait for each other's part would wait forever
            os.close(descriptor)
        if not said:
            said = True
            say(f"waiting for {count} of {len(names)} GPUs; other jobs have the others")
        time.sleep(random.uniform(*LOOK_EVERY_S))


def _lock(path: Path) -> int | None:
    """The descriptor, which started programs inherit, of the lock `path`; None if it is held."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:  # another user's file may be opened, but not with O_CREAT, in a folder like /tmp
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    os.set_inheritable(descriptor, True)
    return descriptor


def _nvidia_smi(*options: str) -> str:
    """What it prints; empty on a machine without it. UserError if it fails, as after an update of the driver."""
    try:
        answer = subprocess.run(["nvidia-smi", *options], capture_output=True, text=True)
    except OSError:
        return ""
    if answer.returncode:
        reason = (answer.stdout + answer.stderr).strip().splitlines() or ["it says nothing"]
        raise UserError(
            f"nvidia-smi {options[0]} fails ({reason[0]}); mend the driver, such as by a restart, or set "
            "CUDA_VISIBLE_DEVICES= (empty) to compute on the CPU"
        )
    return answer.stdout


def main(argv: list[str]) -> int:
    """Becomes the command."""
    count, command = int(argv[0]), argv[1:]
    try:
        names = take([gpu.name for gpu in here()], count, Path(tempfile.gettempdir()))
    except UserError as error:
        write(f"retscale: error: {error}")
        return 1
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        write(
            f"retscale: error: {command[0]} cannot be started ({error.strerror}); install this clone (make .venv/study.ok)"
        )
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
