"""The arguments of `retscale`: a parser for each stage, and for each command about a study."""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from retscale import spec as specs
from retscale.common.terminal import visible
from retscale.diff import TOLERANCE
from retscale.stages import STAGES, spec_model
from retscale.status.states import STATES

EXAMPLE = """examples:
  retscale check config/mini.yaml           is this study valid, and what would it run?
  retscale check config/mini.yaml --why     which of its jobs would run again, and why?
  retscale plan config/portes2025.yaml      what would it cost, and what does it still need?
  retscale status config/mini.yaml          what are its jobs doing, on this machine and in Slurm?
  retscale show config/mini.yaml            what are its scores, fits and claims, and what did they cost?
  retscale figure 1b config/mini.yaml       one figure again, from the results of a study that has run
  retscale lineage results/mini/figure/1b.png  all that it was made from, on one page
  retscale diff results/mini OTHER/mini     which scores of two studies differ, and why?
  retscale clean config/mini.yaml --orphans what lies among its results that it names no more?
  retscale audit results/mini/figure/1b.png is every byte behind this figure what was recorded?
  retscale crate config/mini.yaml           the study as an RO-Crate, to publish or to archive
  retscale mine --spec '{...}' --pairs results/mini/pairs/boolq/pairs.json --out x/negatives.parquet

The workflow calls the stages; `snakemake --profile local -n -p` prints each command in full.
"""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are harmless on a terminal, whatever the arguments hold."""

    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


class Command(Parser):
    """A subcommand; the help of a stage ends with the keys of its spec.

    A stage may be a command `of_study` too, which reads the arguments if --spec is not among them.
    """

    of_study: Parser | None = None

    def parse_known_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> tuple[Any, list[str]]:
        words = list(args or ())
        if self.of_study is not None and not any(word.split("=")[0] == "--spec" for word in words):
            return self.of_study.parse_known_args(words, namespace)
        return super().parse_known_args(words, namespace)

    def format_help(self) -> str:
        name = self.prog.split()[-1]
        return super().format_help() + (f"\n{specs.describe(spec_model(name))}\n" if name in STAGES else "")


Commands = argparse._SubParsersAction  # argparse has no public name for it


def parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    main_parser = Parser(
        prog="retscale",
        description="Runs one stage of the workflow, or answers a question about a study.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Command)
    for add in (
        _stages,
        _check,
        _plan,
        _status,
        _audit,
        _trec,
        _compare,
        _show,
        _export,
        _card,
        _push,
        _figure,
        _crate,
        _clean,
        _diff,
        _lineage,
    ):
        add(commands)
    return main_parser


def _stages(commands: Commands) -> None:
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
            help=f"{'a TASK.json for each task' if stage.batch else stage.primary}; all other files go beside it",
        )


def _check(commands: Commands) -> None:
    check = commands.add_parser("check", help="validate a study and say what it would run")
    check.add_argument("study", type=Path)
    check.add_argument("--why", action="store_true", help="say why each job that has run would run again")
    check.add_argument(
        "--profile",
        help="compare the site file of this profile with its Slurm (slurm), or look up what is here (workstation)",
    )


def _plan(commands: Commands) -> None:
    plan = commands.add_parser(
        "plan",
        help="say what a study would cost and what it still needs",
        description="Jobs, tokens, FLOPs, GPU-hours, disk, downloads, and what is gated or missing, before anything runs.",
        epilog="example: retscale plan config/portes2025.yaml --gpu a100 --utilisation 0.4",
    )
    plan.add_argument("study", type=Path)
    plan.add_argument(
        "--gpu", default="h100", help="a GPU of config/catalog/sizes.yaml, or cpu, which is one core (default: h100)"
    )
    plan.add_argument(
        "--utilisation", type=float, help="the fraction of its peak that is reached (default: by stage and size)"
    )
    plan.add_argument("--profile", help="show what each job gets by this profile, such as slurm or workstation")


def _status(commands: Commands) -> None:
    status = commands.add_parser(
        "status",
        help="say what the jobs of a study are doing",
        description="From files and Slurm's queue alone, whether Snakemake runs or not. A job is\n\n"
        + "\n".join(f"  {state:8} {meaning}" for state, meaning in STATES.items()),
        epilog="`retscale check STUDY --why` says which jobs that are done would run again.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    status.add_argument("study", type=Path)
    status.add_argument("--watch", action="store_true", help="show it every 5 seconds, until nothing has run for 15")


def _audit(commands: Commands) -> None:
    audit = commands.add_parser(
        "audit",
        help="verify a figure, a table or a study down to bytes",
        description="Hashes every file behind it, compares the records with each other, and the files with what others "
        "say of them. The exit status is 0 if all is verified, 1 if not, 2 if that cannot be told; the last line says why.",
        epilog="example: retscale audit config/mini.yaml --json",
    )
    audit.add_argument(
        "target",
        metavar="FIGURE|TABLE|STUDY",
        type=Path,
        help="a study file, a folder of results, or any file in it, such as results/mini/figure/1b.png",
    )
    audit.add_argument("--points", action="store_true", help="say where each point of a figure comes from")
    audit.add_argument("--json", action="store_true", help="one JSON object, for programs")
    audit.add_argument(
        "--spot-check",
        type=count,
        metavar="K",
        help="score every stored ranking again, and make K evaluations again, drawn at random",
    )
    audit.add_argument(
        "--replay",
        nargs="?",
        const="",
        metavar="STAGE|POINT",
        help="run jobs again and compare bit by bit: one of each stage; one of STAGE; or all that the point "
        "CHECKPOINT/RECIPE[/TASK] rests on",
    )
    audit.add_argument("--seed", type=count, metavar="N", help="draw what an audit with this seed has drawn")
    audit.add_argument("--root", metavar="HASH", help="the root or the seal that an audit printed, to compare")
    audit.add_argument("--sign", nargs=2, type=Path, metavar=("KEY", "OUT"), help="sign root and seal by an ssh key")
    audit.add_argument(
        "--signature",
        nargs=2,
        type=Path,
        metavar=("FILE", "SIGNERS"),
        help="check such a signature by one of the signers that a file lists as ssh does",
    )


def _trec(commands: Commands) -> None:
    trec = commands.add_parser("trec", help="print the run of an evaluation in TREC's format")
    trec.add_argument("run", type=Path, help="a run, such as results/mini/evaluate/d24-10/own-mini/fiqa.parquet")


def _compare(commands: Commands) -> None:
    compare = commands.add_parser(
        "compare",
        help="test two encoders against each other on the queries of a task",
        description="Mean difference, 95% interval (BCa bootstrap over queries), p of a paired permutation test, the "
        "smallest difference that would be detected (with the noise of seeds, if the fit of the study has estimated it), and "
        "the queries that differ most.",
        epilog="example: retscale compare results/mini/evaluate/d24-10/own-mini results/mini/evaluate/d16-10/own-mini fiqa",
    )
    for name in ("a", "b"):
        compare.add_argument(name, type=Path, metavar=name.upper(), help="a folder of results, or a TASK.parquet")
    compare.add_argument("task", nargs="?", metavar="TASK", help="needed if A or B is a folder")
    compare.add_argument("--metric", default="ndcg_at_10", help="any metric that was computed (default: ndcg_at_10)")
    compare.add_argument(
        "--most", type=int, default=10, help="how many of the queries that differ most to show (default: 10)"
    )


def _show(commands: Commands) -> None:
    show = commands.add_parser(
        "show",
        help="print the scores, fits and claims of a study that has run, and the time and energy that it took",
        description="The checkpoints with their mean scores, every form of fit of the mean, the claims, and the hours and energy "
        "of each stage, as records say. A job that makes several results, such as a batch of tasks, counts for each. Attempts "
        "that failed or were stopped are not in it. Of several processes on GPUs, CPU-hours are those of the first. Energy is "
        "that of the GPUs alone, by their own counters.",
        epilog="example: retscale show config/mini.yaml --json | jq .claims",
    )
    show.add_argument("study", type=Path)
    forms = show.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="one JSON object, for programs")
    forms.add_argument(
        "--format",
        choices=("text", "markdown", "latex"),
        default="text",
        help="of the tables (default: text); LaTeX's are for the package booktabs",
    )


def _export(commands: Commands) -> None:
    export = commands.add_parser(
        "export",
        help="write the scores of a study that has run for other tools",
        description="The result files of mteb, one folder per model and revision, which is the digest of the encoder's "
        "record. What is not a task of mteb, or is a part of one, keeps its id in the study.",
        epilog="example: retscale export config/mini.yaml --format mteb --out shared\n\nEnds with 1 if the study has not run.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    export.add_argument("study", type=Path)
    export.add_argument("--format", choices=("mteb",), required=True)
    export.add_argument("--out", type=Path, required=True, help="a folder that mteb's ResultCache reads")


def _card(commands: Commands) -> None:
    card = commands.add_parser(
        "card",
        help="print the model card of an encoder",
        description="Markdown with the header that the Hugging Face hub reads: data, recipe, parameters, scores with "
        "intervals, licence, and the digest of the record behind them.",
        epilog="example: retscale card d24-10/own-mini config/mini.yaml > README.md\n\n"
        "Ends with 1 if the study has not run, or trains no such encoder.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    card.add_argument("encoder", metavar="CHECKPOINT/RECIPE")
    card.add_argument("study", type=Path)


def _push(commands: Commands) -> None:
    push = commands.add_parser(
        "push",
        help="upload an encoder, its card and its scores to the Hugging Face hub",
        description="The encoder's files and scores as their records list them, and the card as README.md. Records stay "
        "here: they name machines. The repository is made if it is not there, private unless --public. An upload that was "
        "interrupted resumes: files that are there are not sent again.",
        epilog="example: retscale push d24-10/own-mini config/mini.yaml --to me/d24-10 --dry-run\n\n"
        "Needs a token that may write, in HF_TOKEN or from `hf auth login`. Ends with 1 if the study has not run, a file "
        "is not what\nits record says, there is no token, or the hub refuses.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    push.add_argument("encoder", metavar="CHECKPOINT/RECIPE")
    push.add_argument("study", type=Path)
    push.add_argument("--to", required=True, type=repository, metavar="OWNER/NAME", help="the repository")
    push.add_argument("--public", action="store_true", help="make a public repository, or push to one")
    push.add_argument("--dry-run", action="store_true", help="list the files, and send nothing")


def _figure(commands: Commands) -> None:
    commands.choices["figure"].of_study = figure = Command(
        prog="retscale figure",
        description="Draw one figure of a study that has run, as the study file styles it now, with its points, caption "
        "and alternative text beside it.",
        epilog="example: retscale figure 1b config/mini.yaml --out paper\n\n"
        f"As a job of the workflow, with --spec:\n{commands.choices['figure'].format_usage()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    figure.add_argument("name", metavar="NAME", help="a figure, such as 1b")
    figure.add_argument("study", type=Path)
    figure.add_argument("--out", type=Path, default=Path(), help="the folder for its files (default: this one)")


def _crate(commands: Commands) -> None:
    crate = commands.add_parser(
        "crate",
        help="write a study that has run as a Workflow Run RO-Crate",
        description="Every job with its code, its inputs, its outputs and its times, from the records; with figures, "
        "tables, report, study file, licenses and citation. Weights and texts are named by their SHA-256 and not copied. "
        "The exit status is 0 if the crate is written, 1 if not.",
        epilog="example: retscale crate config/mini.yaml --out mini.zip",
    )
    crate.add_argument("study", type=Path)
    crate.add_argument("--out", type=Path, help="a new folder, or a new file FILE.zip (default: STUDY-crate.zip here)")


def _clean(commands: Commands) -> None:
    clean = commands.add_parser(
        "clean",
        help="list what lies among the results of studies and is of none of them, and remove it",
        description="Results, logs, states and temporary folders below results/, logs/ and .state/ that no job of these "
        "studies names, nor of those in config/ with the same name. What a running job holds, and what is behind a "
        "symbolic link, is left alone. The exit status is 0 whether there are any or not.",
        epilog="example: retscale clean config/mini.yaml --orphans",
    )
    clean.add_argument("studies", type=Path, nargs="+", metavar="STUDY")
    clean.add_argument("--orphans", action="store_true", required=True, help="list them, each with its bytes")
    clean.add_argument("--delete", action="store_true", help="remove what is listed")


def _diff(commands: Commands) -> None:
    diff = commands.add_parser(
        "diff",
        help="say which scores of two studies differ, and what differs first on the way to them",
        description="Compares every score of an encoder, also of those kept during training, and in context. For those "
        "that differ, both chains of records are walked back to the first difference: data, seed, recipe, spec, code, "
        "package or hardware. The exit status is 0 if the scores are the same, 1 if they differ or one study has more, "
        "and 2 if that cannot be told.",
        epilog="example: retscale diff results/mini ../other-clone/results/mini --tolerance 0.001",
    )
    for name in ("a", "b"):
        diff.add_argument(name, type=Path, metavar=f"STUDY_{name.upper()}", help="a study's results, or its file")
    diff.add_argument(
        "--tolerance", type=float, default=TOLERANCE, help=f"how far two scores may be apart (default: {TOLERANCE:g})"
    )
    diff.add_argument("--json", action="store_true", help="one JSON object with every score, for programs")


def _lineage(commands: Commands) -> None:
    lineage = commands.add_parser(
        "lineage",
        help="draw all that a figure or a table was made from, on one page",
        description="A page of A4: one box for the results of a stage that are alike, with numbers and bytes; what came "
        "from outside, with licenses as the report of the study states them; commits, and the digest that vouches for all.",
        epilog="example: retscale lineage results/mini/figure/1b.png --out lineage.svg",
    )
    lineage.add_argument("output", type=Path, metavar="FIGURE", help="a file of a figure, or of a table")
    lineage.add_argument(
        "--out", type=Path, default=Path("lineage.svg"), help="a .svg, .pdf or .png (default: lineage.svg)"
    )


def count(text: str) -> int:
    """The type of an argument that is a count."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def repository(text: str) -> str:
    """The type of an argument that is OWNER/NAME of a repository of the hub."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not OWNER/NAME of a repository")
    return text
