"""Processes by what stands in their environment, as /proc shows it."""

import os
import signal
import time
from pathlib import Path

# Killed first: they would tell the controller how the others ended, which no node does that loses its power.
DAEMONS = ("slurmd", "slurmstepd")


def marked(**environment: str) -> dict[int, str]:
    """Name by process id of the living processes that were started with these variables."""
    wanted = {f"{name}={value}".encode() for name, value in environment.items()}
    names = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if wanted <= set((folder / "environ").read_bytes().split(b"\0")):
                    names[int(folder.name)] = (folder / "comm").read_text().strip()
            except OSError:  # it has ended, or is another user's
                continue
    return names


def command(process: int) -> list[bytes]:
    """The arguments of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def kill(**environment: str) -> list[str]:
    """SIGKILL all processes that were started with these variables; their names."""
    names: dict[int, str] = {}
    while alive := marked(**environment):
        names |= alive
        for process in sorted(alive, key=lambda process: alive[process] not in DAEMONS):
            send(process, signal.SIGKILL)
        time.sleep(0.02)  # until they are gone, and whatever they started meanwhile
    return list(names.values())


def send(process: int, number: int) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        pass
