"""The stages: what each reads and writes, and how its command is called."""

import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from retscale.encoder import names


def kept(step: int | str) -> str:
    """The folder, below that of the training, of the encoder kept after `step` steps, and of its results."""
    return f"step-{step}"


def at_length(tokens: int | str) -> str:
    """The folder, below that of the encoder, of its results on documents cut after this number of tokens."""
    return f"length-{tokens}"


@dataclass(frozen=True)
class Stage:
    """How a stage's command is called: its input flags (`many`: one or more files) and its declared output.

    `reads` names, for an input with big neighbors, the only files that the stage reads of it, `skips` those that it does
    not read. A `resumable` stage gets a folder for its state, which lasts until the job has ended well. Only a stage that
    `fetches` reaches the network. Of the inputs `of_task` each file belongs to one task of a batch, after which its folder
    or the file is named. Inputs `outside` may have been made by no stage. `further` matches outputs in folders of their own
    that are read without the rest, so each has a record of its own. A `parallel` stage may be started as several processes,
    which `meet` first.
    """

    does: str
    inputs: tuple[str, ...] = ()
    many: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    reads: dict[str, tuple[str, ...]] = field(default_factory=dict)
    skips: dict[str, tuple[str, ...]] = field(default_factory=dict)
    of_task: dict[str, Literal["folder", "file"]] = field(default_factory=dict)
    primary: str = "{task}.json"
    batch: bool = False
    resumable: bool = False
    fetches: bool = False
    outside: tuple[str, ...] = ()
    further: str = ""
    parallel: bool = False

    def products(self, spec: dict) -> list[str]:
        """The names of a job's declared outputs: of a batch, one for each task, kept step and length."""
        if not self.batch:
            return [self.product(**spec)]
        return [
            os.path.join(folder, self.product(task=task))
            for folder, part in parts(spec).items()
            for task in part["tasks"]
        ]

    def product(self, **spec: object) -> str:
        return self.primary.format(**spec)

    def task_of(self, flag: str, path: Path) -> str:
        """The task that a file of an input `of_task` belongs to."""
        return path.parent.name if self.of_task[flag] == "folder" else path.stem


STAGES = {
    "text": Stage("train a tokenizer and tokenize the text that a ladder is pretrained on", primary="text.json"),
    "checkpoint": Stage(
        "obtain a pretrained model",
        optional=("text", "like"),
        # Only configuration and tokenizer of that model are read; they are compared with its card.
        reads={"like": ("card.json",)},
        primary="card.json",
        fetches=True,
    ),
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
    "tokens": Stage(
        "tokenize the texts of tasks or of training data",
        many=("tasks", "pairs"),
        optional=("card", "encoder", "tasks", "pairs"),
        # Only the tokenizer of a model is read; its files are compared with the card.
        reads={"card": ("card.json",), "encoder": ("encoder.json",)},
        of_task={"tasks": "folder", "pairs": "folder"},
        batch=True,
    ),
    "finetune": Stage(
        "turn a checkpoint into an encoder",
        ("card",),
        ("pairs", "negatives", "tokens"),
        primary="encoder.json",
        resumable=True,
        further=f"{kept('*')}/encoder.json",
        parallel=True,
    ),
    "encoder": Stage("describe an encoder made elsewhere", many=("files",), primary="encoder.json", outside=("files",)),
    "task": Stage(
        "read one retrieval task's queries, corpus and judgments, or cut the corpus of one that is read",
        many=("runs",),
        optional=("whole", "runs"),
        primary="task.json",
        fetches=True,
    ),
    "evaluate": Stage(
        "score an encoder on retrieval tasks",
        ("encoder",),
        ("tasks", "tokens"),
        # Neither the log nor what is for sentence-transformers is read.
        skips={"encoder": ("log.jsonl", *names.OF_SENTENCE_TRANSFORMERS)},
        of_task={"tasks": "folder", "tokens": "file"},
        batch=True,
    ),
    "reference": Stage("score BM25 on retrieval tasks", many=("tasks",), of_task={"tasks": "folder"}, batch=True),
    "leakage": Stage(
        "find texts of tasks in the training data", (), ("pairs", "tasks"), of_task={"tasks": "folder"}, batch=True
    ),
    "items": Stage("fetch the items of one in-context task", primary="items.json", fetches=True),
    "icl": Stage(
        "score a checkpoint on in-context tasks", ("card",), ("tasks",), of_task={"tasks": "folder"}, batch=True
    ),
    "collect": Stage(
        "gather all results into tidy tables",
        many=("cards", "encoders", "given", "scores", "kept", "lengths", "icl", "published"),
        optional=("models",),
        reads={"cards": ("card.json",), "encoders": ("encoder.json", "log.jsonl")},
        primary="collect.json",
        outside=("models", "published"),
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


def parts(spec: dict) -> dict[str, dict]:
    """A batch's spec as one for each folder below the job's own: the last encoder's, each kept one's, each length's."""
    lengths = {key: spec[key] for key in ("lengths", "trained_length") if "lengths" in spec and key in spec}
    last = {key: value for key, value in spec.items() if key not in ("keep", "curve_tasks", *lengths)}
    trained = {key: value for key, value in lengths.items() if key != "lengths"}

    def of(tasks: Iterable[str]) -> dict:
        return {task: spec["tasks"][task] for task in tasks}

    curves = of(spec.get("curve_tasks", ()))
    return (
        {"": last}
        | {kept(step): {**last, "step": step, "tasks": curves} for step in spec.get("keep", ())}
        | {
            at_length(length): {**last, **trained, "length": int(length), "tasks": of(tasks)}
            for length, tasks in lengths.get("lengths", {}).items()
        }
    )


def spec_model(name: str) -> type[BaseModel]:
    """What a spec of the stage `name` must fit."""
    return importlib.import_module(f"retscale.{name}.config").Spec
