"""Processes forked from one that has imported the libraries: a test waits for its own work and not for imports.

Nothing of the repository stays imported after the fork, so that a command in a clone reads the clone's own code. The
libraries do, so what they read of the environment as they are imported (HF_ENDPOINT, a locale, PYTHONHASHSEED) needs a
process of its own. What a digest of code takes from a source file comes along, by the file's text (`warm_code`).
"""

import gc
import importlib
import multiprocessing
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import warm_code
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry

COMMANDS = {"snakemake": "snakemake.cli", "retscale": "retscale.cli"}
OWN = ("retscale", "snakemake_executor_plugin_retscale")
LIBRARIES = (
    "snakemake.cli",
    "pandas",
    "pyarrow.parquet",
    "pydantic",
    "scipy.stats",
    "scipy.optimize",
    "torch.distributed.checkpoint",
    "transformers.modeling_utils",
    "accelerate",
    "peft",
    "seaborn",
    "numba",
)

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([*LIBRARIES])


class Process:
    """A fork at work, with the methods of `subprocess.Popen` that the tests use."""

    def __init__(self, target: Callable, *arguments, folder: Path = Path(), environment: dict[str, str]):
        self._folder = tempfile.TemporaryDirectory()
        self._printed = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        given = (self._printed, warm_code.of_this_repository(), folder, environment, target, *arguments)
        self._fork = _forks.Process(target=_run, args=given)
        self._fork.start()

    def poll(self) -> int | None:
        return self._fork.exitcode

    @property
    def returncode(self) -> int | None:
        return self._fork.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._fork.join(timeout)
        if self._fork.exitcode is None:
            self.kill()
            raise TimeoutError(f"a fork was still at work after {timeout} s: {self.communicate()}")
        return self._fork.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has printed to stdout and to stderr by its end."""
        self.wait(timeout)
        return tuple(path.read_text(encoding="utf-8", errors="replace") for path in self._printed)

    def send_signal(self, number: int) -> None:
        os.kill(self._fork.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(arguments: list[str] | tuple[str, ...], folder: Path, environment: dict[str, str]) -> Process:
    """One of COMMANDS, or a script, at work in `folder` with the package that its PYTHONPATH names first."""
    return Process(command, arguments, folder=folder, environment=environment)


def _run(
    printed: list[Path],
    known: dict,
    folder: Path,
    environment: dict[str, str],
    target: Callable,
    *arguments,
) -> None:
    warm_code.KNOWN.update(known)
    gc.freeze()  # the libraries stay until the end
    for path, descriptor in zip(printed, (1, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    target(*arguments)


def command(arguments: list[str] | tuple[str, ...]) -> None:
    """Be one of COMMANDS or a script, with its arguments and the package that PYTHONPATH names first."""
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    for name in [name for name in sys.modules if name.partition(".")[0] in OWN]:
        del sys.modules[name]
    ExecutorPluginRegistry().collect_plugins()  # Snakemake has imported the executor; it takes the clone's instead
    sys.argv = [*arguments]
    if arguments[0] in COMMANDS:
        warm_code.remember()
        sys.exit(importlib.import_module(COMMANDS[arguments[0]]).main())
    sys.path.insert(0, os.path.dirname(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")
