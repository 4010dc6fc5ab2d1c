"""The processes of one training: that they know of each other, and what happens when one ends."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from retscale.common.environment import PROCESSES
from retscale.errors import UserError
from retscale.finetune.launch import LOST_ANOTHER
from retscale.model import accelerator

# What the launch promises: ours (cluster/launch.py), and that of torch's launchers.
PROMISES = (PROCESSES, "WORLD_SIZE")
# The others wait so long for the first, which writes a large model meanwhile.
PATIENCE = timedelta(hours=2)


def meet() -> None:
    """Find the other processes. UserError, in each of them, unless there are as many as were promised: those that each
    believe to be alone would all train and write as the first."""
    on_cpu = parse_flag_from_env("ACCELERATE_USE_CPU")
    if not on_cpu:
        accelerator.ready()
    try:
        state = PartialState(cpu=on_cpu, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        address, port = (os.environ.get(name, "?") for name in ("MASTER_ADDR", "MASTER_PORT"))
        raise UserError(
            f"the processes of this training do not meet at {address}:{port} ({str(error).strip().splitlines()[0]}); "
            "start it by the workflow, and see that the first node can be reached and no other program has this port"
        ) from None
    for name in PROMISES:
        promised = int(os.environ.get(name) or state.num_processes)
        if promised != state.num_processes:
            raise UserError(
                f"this training was started as {promised} processes ({name}), but here "
                f"{'one believes to be alone' if state.num_processes == 1 else f'{state.num_processes} know of each other'}; "
                f"nothing is written. Start it as many times as there are GPUs that torch sees on this node "
                f"(on a {state.device.type} here), or set {name} right"
            )


@contextmanager
def together(processes: int) -> Iterator[None]:
    """Turns the error of a process that has lost another one into a silent end: the other, or its launcher, says why."""
    try:
        yield
    except RuntimeError as error:
        if processes == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        if PROCESSES in os.environ:
            sys.exit(LOST_ANOTHER)
        raise UserError("another process of this training has ended; its last line says why") from None
