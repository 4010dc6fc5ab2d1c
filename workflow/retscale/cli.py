"""The command `retscale`: runs a stage, or answers a question about a study."""

import argparse
import errno
import importlib
import os
import sys
from contextlib import nullcontext
from pathlib import Path

from retscale import job
from retscale import spec as specs
from retscale.arguments import parser
from retscale.common.terminal import write
from retscale.errors import UserError
from retscale.offline import offline
from retscale.stages import STAGES, spec_model

# Commands that ask about a study instead of making a part of it.
QUESTIONS = {
    "check": "retscale.study.check",
    "plan": "retscale.plan.show",
    "status": "retscale.status.show",
    "audit": "retscale.audit.run",
    "trec": "retscale.evaluate.trec",
    "compare": "retscale.evaluate.compare",
    "show": "retscale.report.show",
    "export": "retscale.exchange.export",
    "card": "retscale.exchange.card",
    "push": "retscale.exchange.push",
    "figure": "retscale.figure.redraw",  # without --spec
    "crate": "retscale.crate.run",
    "clean": "retscale.clean.run",
    "diff": "retscale.diff.run",
    "lineage": "retscale.lineage.run",
}

# Commands whose exit status 1 is an answer, so that errors have 2.
ANSWERS = ("diff",)


def main(argv: list[str] | None = None) -> int:
    if argv is None:
        use_utf8()
    arguments = parser().parse_args(argv)
    name = arguments.command
    try:
        if name in STAGES and "spec" in arguments:
            with nullcontext() if STAGES[name].fetches else offline(name):
                run_stage(name, arguments)
            return 0
        status = importlib.import_module(QUESTIONS[name]).main(arguments)
        sys.stdout.flush()
        return status
    except UserError as error:
        return _fail(name, str(error), 2 if name in ANSWERS else 1)
    except BrokenPipeError:  # the reader, such as `head`, has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail(name, "stopped by the user; no partial output is left; run the same command again to resume", 130)
    except Exception as error:
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if not full and "No space left on device" not in str(error):
            raise
        return _fail(name, f"the disk is full ({error}); free some space and run the same command again")


def use_utf8() -> None:
    """In a locale with another encoding, such as C, restart this process in Python's UTF-8 mode.

    Arguments, names of files, what is read and what is printed are UTF-8 everywhere, on every node of a cluster.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # whatever PYTHONIOENCODING says


def _fail(name: str, message: str, status: int = 1) -> int:
    write(f"retscale {name}: error: {message}")
    return status


def run_stage(name: str, arguments: argparse.Namespace) -> None:
    """Run a stage's job as its command line says."""
    stage = STAGES[name]
    spec = specs.read(arguments.spec, spec_model(name))
    flags = (*stage.inputs, *stage.many, *stage.optional)
    inputs = {flag: value for flag in flags if (value := getattr(arguments, flag)) is not None}
    inputs |= {flag: read_list(inputs[flag]) for flag in stage.many}
    job.run(name, spec, inputs, arguments.out if stage.batch else [arguments.out])


def read_list(paths: list[Path]) -> list[Path]:
    """The paths, or those in the file that one `@FILE` names: a large study has more than a command line holds."""
    if len(paths) != 1 or not str(paths[0]).startswith("@"):
        return paths
    try:
        return [Path(line) for line in Path(str(paths[0])[1:]).read_text(encoding="utf-8").splitlines() if line]
    except OSError as error:
        raise UserError(f"cannot read the list {paths[0]}: {error.strerror}") from None
