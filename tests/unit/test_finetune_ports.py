"""Trainings that start at once: those of one node have ports of their own, and a taken port is one line."""

import os
import socket
import sys

import warm

from retscale.errors import UserError
from retscale.finetune import launch


def test_trainings_on_one_node_get_different_ports():
    ports = [launch._free_port() for _ in range(20)]
    assert len({port for _, port in ports}) == 20
    for holder, _ in ports:
        holder.close()


def _meet() -> None:
    from retscale.finetune.processes import meet

    try:
        meet()
    except UserError as error:
        sys.exit(f"error: {error}")


def test_a_port_that_another_program_has_is_one_line():
    """On several nodes the port follows from the job's number."""
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        port = str(other.getsockname()[1])
        world = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        process = warm.Process(_meet, environment={**os.environ, **world, "ACCELERATE_USE_CPU": "true"})
        said = process.communicate(timeout=60)[1].splitlines()
    (line,) = [line for line in said if line.startswith("error: ")]
    assert line.startswith(f"error: the processes of this training do not meet at 127.0.0.1:{port} (")
    assert line.endswith("and no other program has this port") and "Traceback" not in "".join(said)
    assert process.returncode == 1
