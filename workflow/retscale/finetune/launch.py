"""Starts the processes of a training on this node: `python -m retscale.finetune.launch --processes 2 -m retscale finetune ...`.

Unlike torchrun's agent it lets them save their state for as long as that takes when SIGTERM comes, and its last line is
theirs.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping

from retscale.common.terminal import say

# After one has failed, so long may the others take to end by themselves.
PATIENCE_S = 30.0
# How a process ends, without a word, that has lost another one: why is in the other's last line.
LOST_ANOTHER = os.EX_TEMPFAIL


def main(argv: list[str] | None = None) -> int:
    """The exit status: 0 if that of all processes is."""
    parser = argparse.ArgumentParser(prog="python -m retscale.finetune.launch", description=__doc__, allow_abbrev=False)
    parser.add_argument("--processes", type=int, required=True, help="on each node")
    parser.add_argument("--nodes", type=int, default=1, help="on each of which this command runs")
    parser.add_argument("--address", default="127.0.0.1", help="the first node")
    parser.add_argument(
        "--port", type=int, default=0, help="a free one on the first node; 0 finds one if it is the only"
    )
    arguments, command = parser.parse_known_args(argv)
    held, port = _free_port() if arguments.port == 0 else (None, arguments.port)
    node = int(os.environ.get("SLURM_NODEID", 0)) if arguments.nodes > 1 else 0
    processes: dict[int, subprocess.Popen] = {}

    def terminate(*_) -> None:
        for process in processes.values():
            process.terminate()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the processes as well
    for local in range(arguments.processes):
        world = variables(local, node, arguments.processes, arguments.nodes, arguments.address, port)
        processes[node * arguments.processes + local] = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **world},
            close_fds=False,  # locks of GPUs are theirs too
        )
    status = wait(processes)
    if held:
        held.close()
    return status


def variables(local: int, node: int, processes: int, nodes: int, address: str, port: int) -> Mapping[str, str]:
    """What torch and accelerate read: the place of the process `local` of a node among all."""
    return {
        "RANK": str(node * processes + local),
        "LOCAL_RANK": str(local),
        "WORLD_SIZE": str(nodes * processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": address,
        "MASTER_PORT": str(port),
    }


def wait(processes: dict[int, subprocess.Popen]) -> int:
    """Wait for all; when one has failed, the others must soon end too. The exit status is that of the first to fail for a
    reason of its own, and a line says what no process can say itself."""
    failed: dict[int, int] = {}
    running = dict(processes)
    impatient = threading.Event()

    def kill() -> None:
        impatient.set()
        for process in list(running.values()):
            process.kill()

    timer = threading.Timer(PATIENCE_S, kill)
    timer.daemon = True
    while running:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        rank = next((rank for rank, process in running.items() if process.pid == ended.si_pid), None)
        if rank is None:
            os.waitpid(ended.si_pid, 0)  # an orphan that this process has inherited
            continue
        status = running.pop(rank).wait()
        if status and not impatient.is_set():
            if not failed:
                timer.start()
            failed[rank] = status
    timer.cancel()
    return _verdict(failed)


def _verdict(failed: dict[int, int]) -> int:
    own = {rank: status for rank, status in failed.items() if status != LOST_ANOTHER}
    if not own:
        if failed:
            say(
                "retscale finetune: error: a process of this training on another node has ended; its last line says why"
            )
        return LOST_ANOTHER if failed else 0
    rank, status = next(iter(own.items()))
    if status > 0:
        return status
    name = signal.Signals(-status).name
    hint = "; perhaps the memory was exhausted" if -status == signal.SIGKILL else ""
    say(f"retscale finetune: error: process {rank} of the training was ended by {name}{hint}; run it again to resume")
    return 128 - status


def _free_port() -> tuple[socket.socket, int]:
    """A port that no other program gets while the socket lives, but on which a process may listen that is told so."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held, held.getsockname()[1]


if __name__ == "__main__":
    sys.exit(main())
