"""A Slurm of several virtual nodes on this machine, for the length of a test, and what can go wrong with it."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import processes
from configuration import GPUS, Configuration

START_S = 120
# Below the ports that the kernel gives to connections, so that none takes the port of a controller that is down.
PORTS = range(20000, 32000, 20)


def wait_for(what: str, condition: Callable[[], object], seconds: float = START_S) -> object:
    """What `condition` returns once that is true; TimeoutError, with `what` was waited for, after `seconds`."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds} s")
        time.sleep(0.1)
    return value


class Cluster:
    """Its daemons log to the folder `logs`. Clients find it by `environment`."""

    def __init__(self, configuration: Configuration, logs: Path):
        self.configuration, self.folder, self.logs = configuration, configuration.folder, logs
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{os.environ['PATH']}{os.pathsep}/usr/sbin",
        }
        self._daemons: dict[str, subprocess.Popen] = {}

    def run(self, *command: str, status: int | None = 0) -> str:
        """What a command prints; AssertionError unless it ends with `status` (None: any)."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        assert status in (None, done.returncode), f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self) -> None:
        for name in ("state", *(f"spool-{node}" for node in self.configuration.nodes)):
            (self.folder / name).mkdir()
        for i in range(GPUS):
            (self.folder / f"gpu{i}").symlink_to("/dev/null")
        for name, text in self.configuration.files().items():
            (self.folder / name).write_text(text)
            (self.folder / name).chmod(0o600)
        self._start_munge()
        if self.configuration.accounting:
            self._start_database()
            self.start_accounting()
            self.run("sacctmgr", "--immediate", "add", "cluster", "test")
        self.start_controller()
        for node in self.configuration.nodes:
            self.start_node(node)

    def start_controller(self) -> None:
        self._start("slurmctld", "slurmctld", "-D")
        self._wait_for("slurmctld", "scontrol", "ping")

    def stop_controller(self) -> None:
        self._stop("slurmctld")

    def start_accounting(self) -> None:
        self._start("slurmdbd", "slurmdbd", "-D", MYSQL_UNIX_PORT=str(self.configuration.database_socket))
        self._wait_for("slurmdbd", "sacctmgr", "--noheader", "list", "cluster")

    def stop_accounting(self) -> None:
        self._stop("slurmdbd")

    def start_node(self, node: str) -> None:
        # What a node starts inherits the variable, so `kill_node` finds it.
        self._start(node, "slurmd", "-D", "-N", node, SLURMD_NODENAME=node)
        wait_for(f"{node} of {self.logs}", lambda: self.node_state(node) in ("idle", "mixed", "allocated"))

    def kill_node(self, node: str) -> list[str]:
        """Kill the node's daemon and all that runs there, as a power cut does; the names of what was killed."""
        killed = processes.kill(SLURM_CONF=self.environment["SLURM_CONF"], SLURMD_NODENAME=node)
        self._daemons.pop(node).wait()
        return killed

    def node_state(self, node: str) -> str:
        return self.run("sinfo", "--noheader", "--nodes", node, "--format", "%T").split("\n")[0]

    def job(self, name: str) -> dict[str, str]:
        """What the controller knows of the newest job of this name; empty if it knows none."""
        numbers = self.run("squeue", "--noheader", "--states", "all", "--name", name, "--format", "%i").split()
        if not numbers:
            return {}
        shown = self.run("scontrol", "--oneliner", "show", "job", max(numbers, key=int), status=None)
        return dict(pair.partition("=")[::2] for pair in shown.split() if "=" in pair)

    def state(self, job: str) -> str:
        """Of the job of this id, as squeue calls it."""
        return self.run("squeue", "--noheader", "--states", "all", "--jobs", job, "--format", "%T").strip()

    def job_processes(self, job: str) -> dict[int, str]:
        """Name by process id of what runs in a job; without Slurm's own."""
        names = processes.marked(SLURM_CONF=self.environment["SLURM_CONF"], SLURM_JOB_ID=job)
        return {number: name for number, name in names.items() if name not in processes.DAEMONS}

    def hold(self, job: str) -> None:
        """Stop the processes of a job where they are; Slurm lets them go on when it ends the job."""
        for process in self.job_processes(job):
            processes.send(process, signal.SIGSTOP)

    def release(self, job: str) -> None:
        for process in self.job_processes(job):
            processes.send(process, signal.SIGCONT)

    def terminate_training(self, job: str) -> None:
        """SIGTERM to what trains in a job, and not to the Snakemake of the job, which may hang in its own handler of it."""
        for process in self.job_processes(job):
            command = processes.command(process)
            if b"finetune" in command and b"snakemake" not in command:
                processes.send(process, signal.SIGTERM)

    def end_time_limit(self, job: str) -> None:
        """Let the time limit of a running job be over; Slurm looks every 30 s."""
        self.run("scontrol", "update", f"JobId={job}", "EndTime=now")

    def _start_munge(self) -> None:
        key, munge = self.folder / "munge.key", self.configuration.munge_socket
        key.write_bytes(random.randbytes(128))
        key.chmod(0o600)
        options = {"key-file": key, "socket": munge, "pid-file": self.folder / "munged.pid"}
        options |= {"log-file": self.logs / "munged.log", "seed-file": self.folder / "munge.seed"}
        # As root, and in a folder that others may not enter: both are no errors for it, by force.
        self._start("munged", "munged", "--foreground", "--force", *(f"--{k}={v}" for k, v in options.items()))
        self._wait_for("munged", "munge", "--no-input", "--socket", str(munge))

    def _start_database(self) -> None:
        data = ("--no-defaults", "--user=root", f"--datadir={self.folder}/database")
        self.run("mariadb-install-db", *data, "--auth-root-authentication-method=socket", "--skip-test-db")
        where = self.configuration.database_socket
        self._start("mariadbd", "mariadbd", *data, "--skip-networking", f"--socket={where}")
        wait_for(f"mariadbd of {self.logs}", where.exists)

    def _start(self, name: str, *command: str, **environment: str) -> None:
        with (self.logs / f"{name}.log").open("ab") as log:
            self._daemons[name] = subprocess.Popen(
                command,
                env=self.environment | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _stop(self, name: str) -> None:
        self._daemons[name].terminate()
        self._daemons.pop(name).wait()

    def _wait_for(self, name: str, *command: str) -> None:
        def answers() -> bool:
            if self._daemons[name].poll() is not None:
                raise RuntimeError(f"{name} ended: {(self.logs / f'{name}.log').read_text()[-1000:]}")
            return not subprocess.run(command, env=self.environment, capture_output=True).returncode

        wait_for(f"{name} of {self.logs}", answers)


@contextmanager
def running(logs: Path, accounting: bool = False) -> Iterator[Cluster]:
    """A cluster that ends with the context, or with this process."""
    # Sockets have short names, so the folder has one.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    guard = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("guard.py"), folder], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        cluster = Cluster(Configuration(folder, _free_ports(), accounting), logs)
        cluster.start()
        yield cluster
    finally:
        guard.communicate()


@contextmanager
def small_disk(cluster: Cluster, megabytes: int) -> Iterator[Path]:
    """A folder on a disk of its own; pytest.skip where none may be mounted."""
    import pytest

    disk = cluster.folder / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", disk], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield disk


def without(program: str, environment: dict[str, str], folder: Path) -> dict[str, str]:
    """The environment with a PATH on which `program` is not found; `folder` takes the links to all others."""
    for place in reversed(environment["PATH"].split(os.pathsep)):
        for file in Path(place).iterdir() if Path(place).is_dir() else ():
            if file.name != program:
                link = folder / file.name
                link.unlink(missing_ok=True)
                link.symlink_to(file)
    assert not shutil.which(program, path=str(folder))
    return environment | {"PATH": str(folder)}


def _free_ports() -> int:
    """The first of the ports of a cluster, all free now; processes begin to look at different ones."""
    starts = list(PORTS)
    first = os.getpid() % len(starts)
    for start in starts[first:] + starts[:first]:
        try:
            for port in Configuration(Path(), start).ports():
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return start
    raise RuntimeError("no free ports")
