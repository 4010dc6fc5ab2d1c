"""How a training is started."""

from pathlib import Path

from retscale.common.environment import ALLOCATOR, PROCESSES, SHARDED, TRACKER, TRACKER_FOLDER

# Below the ports that systems give to any program, and another for jobs that share a node.
PORT = "$((20000 + SLURM_JOB_ID % 12000))"


def command(nodes: int, processes: int, sharded: bool, gpu: bool) -> str:
    """The shell command that runs Python's arguments after it, `-m retscale finetune ...`, in `processes` on each node.

    On several nodes it stands in the batch script of a Slurm job, which runs on the first of them.
    """
    # The training compares how many it is with this, before it writes anything.
    environment = {PROCESSES: str(nodes * processes), **(ALLOCATOR if gpu else {})}
    if nodes * processes == 1:  # a launcher would only import torch once more
        return " ".join([*_assign(environment), "python"])
    if not gpu:
        environment["ACCELERATE_USE_CPU"] = "true"
    elif sharded:
        environment[SHARDED] = "true"
    launch = f"python -m retscale.finetune.launch --processes {processes}"
    if nodes == 1:
        return " ".join([*_assign(environment), launch])
    # A task is not bound to its processors, which would be a single one here; all are the job's.
    srun = f"srun --nodes={nodes} --ntasks={nodes} --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1"
    return " ".join([*_assign(environment), srun, launch, f'--nodes {nodes} --address "$(hostname)" --port {PORT}'])


def tracked(tracker: str, folder: Path) -> str:
    """What stands before such a command so that the training reports to a tracker, whose files lie in `folder`."""
    return "".join(f"{word} " for word in _assign({TRACKER: tracker, TRACKER_FOLDER: str(folder)}))


def _assign(environment: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environment.items()]
