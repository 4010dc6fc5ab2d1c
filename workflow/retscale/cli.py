"""The command `retscale`: one subcommand a stage, and what a person asks of a study.

A stage's command reads its inputs, runs the stage in a temporary folder, writes the provenance record, and only then
moves the outputs into place.
"""

import argparse
import errno
import importlib
import json
import os
import shutil
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel

from retscale import spec as specs
from retscale.errors import UserError
from retscale.offline import offline
from retscale.provenance import code, publish, record
from retscale.study import outside


@dataclass(frozen=True)
class Stage:
    """How a stage's command is called: its input flags (`many`: one or more files) and its declared output.

    `reads` names, for an input with big neighbours, the only files that the stage reads of it. A `resumable` stage gets
    a folder for its state, which lasts until the job has ended well. Only a stage that `fetches` reaches the network.
    Inputs `outside` may have been made by no stage. `further` matches outputs in folders of their own that are read without the
    rest, so each has a record of its own.
    """

    does: str
    inputs: tuple[str, ...] = ()
    many: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    primary: str = ""
    batch: bool = False
    resumable: bool = False
    fetches: bool = False
    outside: tuple[str, ...] = ()
    further: str = ""


STAGES = {
    "text": Stage("train a tokenizer and tokenise the text that a ladder is pretrained on", primary="text.json"),
    "checkpoint": Stage("obtain a pretrained model", optional=("text",), primary="card.json", fetches=True),
    "pairs": Stage(
        "read training queries, positives and the passage collection",
        many=("tests",),
        optional=("tests",),
        primary="pairs.json",
        fetches=True,
    ),
    "mine": Stage(
        "find hard negatives for each training query",
        ("pairs",),
        optional=("encoder", "guide"),
        primary="negatives.parquet",
        outside=("encoder", "guide"),
    ),
    "finetune": Stage(
        "turn a checkpoint into an encoder",
        ("card",),
        ("pairs", "negatives"),
        primary="encoder.json",
        resumable=True,
        further="step-*/encoder.json",
    ),
    "encoder": Stage(
        "describe an encoder made elsewhere", many=("files",), primary="encoder.json", outside=("files",)
    ),
    "task": Stage("read one retrieval task's queries, corpus and judgements", primary="task.json", fetches=True),
    "evaluate": Stage("score an encoder on retrieval tasks", ("encoder",), ("tasks",), batch=True),
    "leakage": Stage("find texts of tasks in the training data", (), ("pairs", "tasks"), batch=True),
    "items": Stage("fetch the items of one in-context task", primary="items.json", fetches=True),
    "icl": Stage("score a checkpoint on in-context tasks", ("card",), ("tasks",), batch=True),
    "collect": Stage(
        "gather all results into tidy tables",
        many=("cards", "encoders", "given", "scores", "kept", "icl"),
        reads={"cards": ("card.json",), "encoders": ("encoder.json", "log.jsonl")},
        primary="collect.json",
    ),
    "fit": Stage("fit trends and correlations", ("collect",), primary="fit.json"),
    "external": Stage(
        "read results that others published", many=("tables",), primary="external.json", outside=("tables",)
    ),
    "figure": Stage("draw one figure", ("collect", "fit"), (), ("external",), primary="{name}.png"),
    "report": Stage(
        "write report.html",
        ("collect", "fit"),
        ("figures", "pairs", "negatives", "tasks", "leakage"),
        ("text", "external"),
        primary="report.html",
    ),
}

# Commands that ask about a study instead of making a part of it.
QUESTIONS = {
    "check": "retscale.study.check",
    "plan": "retscale.plan.show",
    "audit": "retscale.audit.run",
    "trec": "retscale.evaluate.trec",
    "compare": "retscale.evaluate.compare",
}

EXAMPLE = """examples:
  retscale check config/mini.yaml           is this study right, and what would it run?
  retscale check config/mini.yaml --why     which of its jobs would run again, and why?
  retscale plan config/portes2025.yaml      what would it cost, and what does it still need?
  retscale audit results/mini/figure/1b.png where does each point of this figure come from?
  retscale mine --spec '{...}' --pairs results/mini/pairs/boolq/pairs.json --out x/negatives.parquet

The workflow calls the stages; `snakemake --profile local -n -p` prints each command in full.
"""


def main(argv: list[str] | None = None) -> int:
    if argv is None:
        use_utf8()
    arguments = parser().parse_args(argv)
    name = arguments.command
    try:
        if name in STAGES:
            with nullcontext() if STAGES[name].fetches else offline(name):
                run_stage(name, arguments)
            return 0
        status = importlib.import_module(QUESTIONS[name]).main(arguments)
        sys.stdout.flush()
        return status
    except UserError as error:
        return _fail(name, str(error))
    except BrokenPipeError:  # who reads, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail(name, "stopped by the user; nothing half made is left; run the same command again to go on", 130)
    except Exception as error:
        if getattr(error, "errno", None) != errno.ENOSPC and "No space left on device" not in str(error):
            raise
        return _fail(name, f"the disk is full ({error}); free some space and run the same command again")


def use_utf8() -> None:
    """In a locale of another encoding, such as C, start this process again in Python's UTF-8 mode.

    Arguments, names of files, what is read and what is printed are UTF-8 everywhere, on every node of a cluster.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # whatever PYTHONIOENCODING says


def _fail(name: str, message: str, status: int = 1) -> int:
    print(f"retscale {name}: error: {message}", file=sys.stderr, flush=True)
    return status


def job_model(name: str) -> type[BaseModel]:
    """What a spec of the stage `name` must fit."""
    return importlib.import_module(f"retscale.{name}.config").Job


class Command(argparse.ArgumentParser):
    """A subcommand; the help of a stage ends with the keys of its spec."""

    def format_help(self) -> str:
        name = self.prog.split()[-1]
        return super().format_help() + (f"\n{specs.describe(job_model(name))}\n" if name in STAGES else "")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="retscale",
        description=__doc__.splitlines()[0],
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Command)
    for name, stage in STAGES.items():
        command = commands.add_parser(
            name,
            help=stage.does,
            description=f"{stage.does}.".capitalize(),
            epilog=f"example: retscale {name} --spec @spec.json ...; `snakemake -n -p` prints the whole command of each job.",
        )
        command.add_argument("--spec", required=True, help="the job's configuration: a JSON object, or @FILE")
        for flag in stage.inputs:
            command.add_argument(f"--{flag}", type=Path, required=True)
        for flag in stage.many:
            command.add_argument(
                f"--{flag}",
                type=Path,
                nargs="*",
                required=flag not in stage.optional,
                default=[],
                help="files, or @FILE with one per line",
            )
        for flag in set(stage.optional) - set(stage.many):
            command.add_argument(f"--{flag}", type=Path, nargs="?", help="may be left empty")
        command.add_argument(
            "--out",
            type=Path,
            required=True,
            nargs="+" if stage.batch else None,
            help=f"{stage.primary or 'a TASK.json for each task'}; all else goes beside",
        )
    check = commands.add_parser("check", help="validate a study and say what it would run")
    check.add_argument("study", type=Path)
    check.add_argument("--why", action="store_true", help="say why each job of a study that has run would run again")
    plan = commands.add_parser(
        "plan",
        help="say what a study would cost and still needs",
        description="Jobs, tokens, FLOPs, GPU-hours, disk, downloads, and what is gated or missing, before anything runs.",
        epilog="example: retscale plan config/portes2025.yaml --gpu a100 --utilisation 0.4",
    )
    plan.add_argument("study", type=Path)
    plan.add_argument("--gpu", default="h100", help="a GPU of config/catalog/sizes.yaml (default: h100)")
    plan.add_argument(
        "--utilisation", type=float, default=0.45, help="the share of its peak that is reached (default: 0.45)"
    )
    audit = commands.add_parser("audit", help="trace a figure back to bytes and verify every file on the way")
    audit.add_argument("figure", type=Path, help="a figure file, such as results/mini/figure/1b.png")
    audit.add_argument("--quiet", action="store_true", help="print only what is wrong, and the verdict")
    trec = commands.add_parser("trec", help="print the run of an evaluation in TREC's format")
    trec.add_argument("run", type=Path, help="such as results/mini/evaluate/d24-10/own-mini/fiqa.parquet")
    compare = commands.add_parser(
        "compare",
        help="test two encoders against each other on the queries of a task",
        description="Mean difference, 95% interval (BCa bootstrap over queries), p of a paired permutation test, and the "
        "queries that differ most.",
        epilog="example: retscale compare results/mini/evaluate/d24-10/own-mini results/mini/evaluate/d16-10/own-mini fiqa",
    )
    for name in ("a", "b"):
        compare.add_argument(name, type=Path, metavar=name.upper(), help="a folder of results, or a TASK.parquet")
    compare.add_argument("task", nargs="?", metavar="TASK", help="where A or B is a folder")
    compare.add_argument("--metric", default="ndcg_at_10", help="any that was computed (default: ndcg_at_10)")
    compare.add_argument("--most", type=int, default=10, help="queries to show that differ most (default: 10)")
    return top


def run_stage(name: str, arguments: argparse.Namespace) -> None:
    """Run a stage's job: verified inputs in, whole outputs with their record out."""
    started = time.time()
    stage, module = STAGES[name], f"retscale.{name}.run"
    spec = specs.read(arguments.spec, job_model(name))
    flags = (*stage.inputs, *stage.many, *stage.optional)
    inputs = {flag: value for flag in flags if (value := getattr(arguments, flag)) is not None}
    inputs |= {flag: read_list(inputs[flag]) for flag in stage.many}
    names = [f"{task}.json" for task in spec["tasks"]] if stage.batch else [stage.primary.format(**spec)]
    targets = arguments.out if stage.batch else [arguments.out]
    folder, label = targets[0].parent, names[0]
    if targets != [folder / name for name in names]:
        raise UserError(f"--out: this spec makes {' '.join(names)}, in one folder")
    run = importlib.import_module(module).run
    if int(os.environ.get("RANK", 0)) > 0:
        # A further process of `accelerate launch`: it computes, and leaves files and records to the first.
        state = (publish.state_path(folder, label),) if stage.resumable else ()
        run(spec, inputs, folder / f".{label}.tmp", *state)
        return
    digest = code.digest(module)
    with publish.workspace(folder, label) as work:
        if stage.batch:
            run_batch(name, run, spec, inputs, work, folder, digest)
            return
        sources = read_inputs(name, spec, inputs, folder)
        state = (publish.state(folder, label, record.identity(spec, digest, sources)),) if stage.resumable else ()
        notes = run(spec, inputs, work, *state)
        finish(name, spec, digest, sources, work, folder, names[0], notes, started)
        if stage.resumable:
            shutil.rmtree(*state)


def run_batch(name: str, run, spec: dict, inputs: dict, work: Path, out: Path, digest: str) -> None:
    """Run the tasks of a batch that are not finished yet, publishing each as it ends.

    The record of a task knows only its own part of spec and inputs, so a batch that grows redoes nothing.
    """
    shared = read_inputs(name, {**spec, "tasks": {}}, {k: v for k, v in inputs.items() if k != "tasks"}, out)
    files = {path.parent.name: path for path in inputs["tasks"]}  # a task's file lies in a folder of the task's name
    parts = {}
    for task, config in spec["tasks"].items():
        part = {**spec, "tasks": {task: config}}
        parts[task] = (part, shared + read_inputs(name, part, {"tasks": [files[task]]} if task in files else {}, out))
    todo = {}
    for task, (part, sources) in parts.items():
        primary = out / f"{task}.json"
        if record.fresh(primary, part, digest, sources):
            # Snakemake compares times: what is kept must not look older than the inputs of this job.
            for output in record.read(primary)["outputs"]:
                os.utime(out / output["path"])
        else:
            todo[task] = spec["tasks"][task]
    if not todo:
        return
    inputs = {**inputs, "tasks": [files[task] for task in todo if task in files]}
    started = time.time()
    for task in run({**spec, "tasks": todo}, inputs, work):
        part, sources = parts[task]
        finish(name, part, digest, sources, work, out, f"{task}.json", None, started)
        started = time.time()


def read_inputs(name: str, spec: dict, inputs: dict, folder: Path) -> list[dict]:
    """Every file that the job reads, as its record in `folder` lists them; UserError if one is not what was made."""
    rows = record.verified_inputs(inputs, folder, STAGES[name].reads, STAGES[name].outside)
    if "card" in inputs:
        rows += outside.weights(inputs["card"], folder)
    listed = {os.path.abspath(folder / row["path"]) for row in rows}
    others = outside.rows(name, spec, folder)
    return rows + [row for row in others if os.path.abspath(folder / row["path"]) not in listed]


def finish(
    name: str,
    spec: dict,
    digest: str,
    sources: list,
    work: Path,
    out: Path,
    primary: str,
    notes: dict | None,
    started: float,
) -> None:
    """Write the records of the job whose files lie in `work`, then publish: files, records, primary output last."""
    names = sorted(path.relative_to(work) for path in work.rglob("*") if path.is_file())
    if Path(primary) not in names:
        raise UserError(
            f"the stage ended without writing {primary}; this is a bug in retscale: please report it with the log"
        )
    further = [path for path in names if STAGES[name].further and path.match(STAGES[name].further)]
    files, records = [], []
    for product in [*further, Path(primary)]:
        home = product.parent
        own = [path for path in names if path.is_relative_to(home) and path not in files and path != product]
        outputs = [str(path.relative_to(home)) for path in [*own, product]]
        inputs = record.moved(sources, out, out / home)
        made = record.make(name, spec, digest, inputs, work / home, outputs, notes, started)
        path = record.path_of(product)
        (work / path).write_text(json.dumps(made, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        files += [*own, product]
        records.append(path)
    publish.publish(work, out, [str(path) for path in [*files[:-1], *records, files[-1]]])


def read_list(paths: list[Path]) -> list[Path]:
    """The paths, or those in the file that one `@FILE` names: a large study has more than a command line holds."""
    if len(paths) != 1 or not str(paths[0]).startswith("@"):
        return paths
    try:
        return [Path(line) for line in Path(str(paths[0])[1:]).read_text(encoding="utf-8").splitlines() if line]
    except OSError as error:
        raise UserError(f"cannot read the list {paths[0]}: {error.strerror}") from None
