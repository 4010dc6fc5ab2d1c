"""Tamperings of a finished smoke study, and what the audit says of each: `python tests/tampering.py CLONE` prints a table.

Three grounds: honest damage; forged chains, where the hashes of all records are computed again; and chains that were cut.
Each names the culprits that the audit must name, or who else catches it.
"""

import json
import os
import shutil
import socket
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from pytest import MonkeyPatch

from retscale.audit import agree
from retscale.audit.run import STATUS, Audit, run
from retscale.audit.walk import Contents, Node, Walk
from retscale.common.files import sha256
from retscale.common.terminal import answer
from retscale.provenance import record

RESULTS = Path("results/smoke")
REPORT = "report.record.json"


class Study:
    """A copy by hard links of the finished study of a clone, which a tampering changes and `restore` makes whole again."""

    def __init__(self, clone: Path, folder: Path):
        self.pristine, self.folder = clone / RESULTS, folder
        self.root = folder / RESULTS
        self.touched: set[Path] = set()
        self.contents: Contents = {}
        self.said: dict[tuple, list] = {}
        shutil.copytree(self.pristine, self.root, copy_function=os.link)
        (folder / "config").mkdir()
        shutil.copy(clone / "config/smoke.yaml", folder / "config/smoke.yaml")

    def restore(self) -> None:
        for path in self.touched:
            _remove(path)
            source = self.pristine / path.relative_to(self.root)
            if source.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                os.link(source, path)
        self.touched.clear()

    def path(self, name: str) -> Path:
        """The file of this name, about to be changed: the link to it is gone."""
        path = self.root / name
        self.touched.add(path)
        return path

    def write(self, name: str, content: bytes | str) -> None:
        path = self.path(name)
        _remove(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def remove(self, name: str) -> Path:
        path = self.path(name)
        _remove(path)
        return path

    def read(self, name: str) -> bytes:
        return (self.root / name).read_bytes()

    def flip(self, name: str) -> None:
        data = bytearray(self.read(name))
        data[len(data) // 2] ^= 1
        self.write(name, bytes(data))

    def replace(self, name: str, old: str, new: str) -> None:
        text = self.read(name).decode()
        assert old in text, f"{old!r} is not in {name}"
        self.write(name, text.replace(old, new, 1))

    def copy(self, source: str, target: str) -> None:
        self.write(target, self.read(source))

    def edit(self, name: str, change: Callable[[dict], object]) -> None:
        """Change the JSON object in a file."""
        content = json.loads(self.read(name))
        change(content)
        self.write(name, json.dumps(content, indent=1, sort_keys=True) + "\n")

    def table(self, name: str, change: Callable[[pd.DataFrame], object]) -> None:
        """Change a parquet table in place, or for the one that `change` returns."""
        frame = pd.read_parquet(self.root / name)
        changed = change(frame)
        (frame if changed is None else changed).to_parquet(self.remove(name), index=False)

    def spec(self, name: str, change: Callable[[dict], object]) -> None:
        """Change the spec of a record, with its hash."""

        def edit(content: dict) -> None:
            change(content["spec"])
            content["spec_sha256"] = record.spec_sha256(content["spec"])

        self.edit(name, edit)

    def rows(self, name: str, keep: Callable[[dict], bool], part: str = "inputs") -> None:
        """Cut rows of a record."""
        self.edit(name, lambda content: content.update({part: [row for row in content[part] if keep(row)]}))

    def rehash(self) -> None:
        """Compute every hash of every record again, from the first job to the report, as a patient forger would."""
        records = {path: json.loads(path.read_bytes()) for path in self.root.rglob("*.record.json")}
        sources = {
            path: {_plain(path.parent / row["record"]) for row in content["inputs"] if row["record"]} & records.keys()
            for path, content in records.items()
        }
        changed = {path for path in self.touched if path.is_file()}  # files and records of another content than before
        for path in TopologicalSorter(sources).static_order():
            content = records[path]
            again = path in changed
            for row in [*content["inputs"], *content["outputs"]]:
                file = _plain(path.parent / row["path"])
                if again or file in changed:
                    row["sha256"] = sha256(file) if file.is_file() else row["sha256"]
                    row |= {"bytes": file.stat().st_size} if "bytes" in row and file.is_file() else {}
                    again = True
            for row in content["inputs"]:
                maker = row["record"] and _plain(path.parent / row["record"])
                if maker in records and (again or maker in changed):
                    row["digest"] = record.digest(records[maker])
                    again = True
            if again:
                changed.add(path)
                self.write(str(path.relative_to(self.root)), json.dumps(content, indent=1, sort_keys=True) + "\n")

    def relist(self, name: str, of: str) -> None:
        """Let the JSON file `name` list the sha256 that the file `of` beside it now has."""
        self.edit(name, lambda content: content["files"].update({of: sha256((self.root / name).parent / of)}))

    def audit(self, target: str = "", trusted: str | None = None) -> Audit:
        with chdir(self.folder), MonkeyPatch.context() as patch:
            patch.setattr(agree, "CHECKS", [partial(self.remembered, check) for check in agree.CHECKS])
            return run(RESULTS / target, trusted, self.contents)

    def remembered(self, check: agree.Check, node: Node, walked: Walk) -> list:
        """What a check says of a record; asked once for the same files."""
        files = (*node.outputs, *(row.path for row in node.inputs))
        key = (check, node.sha256, *map(walked.hashed.get, files))
        if key not in self.said:
            self.said[key] = list(check(node, walked))
        return self.said[key]


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Tampering:
    """`culprits`: names below the results; `target`: what is audited. `caught_by` says who catches it: the audit itself, or
    only one who knows the root (or the seal) of before, by a note or a signature, or who runs jobs again.
    """

    ground: str
    what: str
    do: Callable[[Study], object]
    culprits: tuple[str, ...] = ()
    target: str = ""
    caught_by: str = "audit"


TAMPERINGS: list[Tampering] = []


def tampering(ground: str, what: str, *culprits: str, target: str = "", caught_by: str = "audit"):
    def add(do: Callable[[Study], object]) -> Callable[[Study], object]:
        TAMPERINGS.append(Tampering(ground, what, do, culprits, target, caught_by))
        return do

    return add


def forged(what: str, *culprits: str, ground: str = "forged", **others: str):
    """A forgery after which every record is hashed again."""

    def add(do: Callable[[Study], object]) -> Callable[[Study], object]:
        def forge(study: Study) -> None:
            do(study)
            study.rehash()

        return tampering(ground, what, *culprits, **others)(forge)

    return add


DAMAGE = "damage"
SCORE, VALUES = "evaluate/d24/own-mini/fiqa.json", "evaluate/d24/own-mini/fiqa.parquet"
SCORE_RECORD = "evaluate/d24/own-mini/fiqa.record.json"
ENCODER, TRAINING = "finetune/d24/own-mini/encoder.json", "finetune/d24/own-mini/encoder.record.json"
WEIGHTS = "finetune/d24/own-mini/model.safetensors"
CARD, CARD_RECORD = "checkpoint/d24/card.json", "checkpoint/d24/card.record.json"
COLLECT, FIT, FIGURE = "collect/collect.record.json", "fit/fit.record.json", "figure/1b.record.json"
MINE = "mine/boolq/negatives.record.json"
FIGURES = ("1a", "1b", "2", "3", "ablation", "curves", "efficiency", "lengths", "slopes", "training", "zero-shot")
DRAWN = (*(f"figure/{name}.png" for name in FIGURES), "report.html")  # which name the records that they were made from

# --- honest damage

for _name in (
    "checkpoint/d16/model/model.safetensors",
    WEIGHTS,
    "finetune/d24/microbatch-mini/step-8/model.safetensors",
    "finetune/d24/own-mini/log.jsonl",
    SCORE,
    VALUES,
    "evaluate/d24/microbatch-mini/step-8/fiqa.json",
    "task/fiqa/qrels.parquet",
    "task/fiqa/corpus.parquet",
    "pairs/boolq/pairs.parquet",
    "mine/boolq/negatives.parquet",
    "text/tokens.npy",
    "tokens/d24/own-mini/fiqa.passage.ids",
    "tokens/d24/own-mini/training/boolq.copies.npy",
    "icl/d24/shuffle.parquet",
    "leakage/fiqa.json",
    "collect/scores.parquet",
    "fit/fits.csv",
    "figure/1b.csv",
    "figure/1b.svg",
    "figure/1b.png",
    "report.html",
):
    tampering(DAMAGE, f"one bit of {_name} flipped", _name)(lambda study, name=_name: study.flip(name))

for _name in ("collect/scores.parquet", CARD, "collect/collect.json", VALUES, "task/fiqa/qrels.parquet"):
    tampering(DAMAGE, f"{_name} truncated", _name)(
        lambda study, name=_name: study.write(name, study.read(name)[: len(study.read(name)) // 2])
    )
for _name, _content in {
    "collect/scores.parquet": b"no parquet at all",
    "collect/per_query.parquet": b"",
    "fit/fit.json": b"[]",
    "figure/1b.csv": "checkpoint,recipe\nd16,Ã¼\xff".encode("latin1"),
    SCORE: b"\xff\xfe\x00",
}.items():
    tampering(DAMAGE, f"{_name} overwritten by {_content[:12]!r}", _name)(
        lambda study, name=_name, content=_content: study.write(name, content)
    )
for _name in (MINE, TRAINING, FIGURE, COLLECT, REPORT):
    tampering(DAMAGE, f"{_name} deleted", _name)(lambda study, name=_name: study.remove(name))
for _name in (SCORE, WEIGHTS, "figure/1b.png", "report.html", "collect/curves.parquet"):
    tampering(DAMAGE, f"{_name} deleted", _name)(lambda study, name=_name: study.remove(name))
for _what, _content in {
    "cut short": b'{"stage": "mine", ',
    "emptied": b"",
    "a list": b"[]",
    "not UTF-8": b"\xff\xfe{}",
    "nested without end": b'{"spec": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
}.items():
    tampering(DAMAGE, f"a record {_what}", MINE)(lambda study, content=_content: study.write(MINE, content))
for _what, _change in {
    "without its stage": lambda content: content.pop("stage"),
    "without its inputs": lambda content: content.pop("inputs"),
    "with a number for its inputs": lambda content: content.update(inputs=5),
    "with a list for its spec": lambda content: content.update(spec=[]),
    "with a text for the bytes of an output": lambda content: content["outputs"][0].update(bytes="7"),
    "with a key of its own": lambda content: content.update(trust="me"),
    "of a schema of the future": lambda content: content.update(schema=99),
}.items():
    tampering(DAMAGE, f"a record {_what}", MINE)(lambda study, change=_change: study.edit(MINE, change))


@tampering(DAMAGE, "a folder in place of a table", "collect/scores.parquet")
def _(study: Study) -> None:
    study.remove("collect/scores.parquet").mkdir()


@tampering(DAMAGE, "a folder in place of a record", TRAINING)
def _(study: Study) -> None:
    study.remove(TRAINING).mkdir()


@tampering(DAMAGE, "a FIFO in place of a table", VALUES)
def _(study: Study) -> None:
    os.mkfifo(study.remove(VALUES))


@tampering(DAMAGE, "a socket in place of the points", "figure/1b.csv")
def _(study: Study) -> None:
    path = study.remove("figure/1b.csv")
    with chdir(path.parent), socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)  # whole paths may be too long


@tampering(DAMAGE, "a link to a device in place of the card", CARD)
def _(study: Study) -> None:
    study.remove(CARD).symlink_to("/dev/zero")


@tampering(DAMAGE, "a link that leads nowhere in place of weights", WEIGHTS)
def _(study: Study) -> None:
    study.remove(WEIGHTS).symlink_to("gone")


@tampering(DAMAGE, "a link to itself in place of a record", MINE)
def _(study: Study) -> None:
    study.remove(MINE).symlink_to("negatives.record.json")


@tampering(DAMAGE, "a stray file whose name forges a verdict", caught_by="a note")
def _(study: Study) -> None:
    study.write("figure/x\nverdict   verified: all\x1b[2K", "x")


@tampering(DAMAGE, "an output whose name forges a verdict", FIGURE)
def _(study: Study) -> None:
    row = {"path": "x\nverdict   verified: all\x1b[2K", "sha256": "0" * 64, "bytes": 1}
    study.edit(FIGURE, lambda content: content["outputs"].append(row))


# --- forged chains

for _what, _name, _change in (
    (
        "a temperature in the spec of a training",
        TRAINING,
        lambda content: content["spec"]["recipe"].update(temperature=1),
    ),
    ("the code of an evaluation", SCORE_RECORD, lambda content: content.update(code_sha256="0" * 64)),
    ("the packages of the miner", MINE, lambda content: content["packages"].update(numpy="0.1")),
    ("the stage of an evaluation", SCORE_RECORD, lambda content: content.update(stage="icl")),
    ("the sha256 of an input", SCORE_RECORD, lambda content: content["inputs"][0].update(sha256="0" * 64)),
    ("the digest of an input", SCORE_RECORD, lambda content: content["inputs"][0].update(digest="0" * 64)),
    ("the sha256 of an output", SCORE_RECORD, lambda content: content["outputs"][0].update(sha256="0" * 64)),
):
    tampering("forged", f"{_what} edited in its record alone", _name)(
        lambda study, name=_name, change=_change: study.edit(name, change)
    )


@tampering("forged", "the spec of a training edited, with its hash", TRAINING)
def _(study: Study) -> None:
    study.spec(TRAINING, lambda spec: spec["recipe"].update(temperature=1))


@tampering("forged", "a record of another checkpoint in place of one", "evaluate/d16/own-mini/fiqa.record.json")
def _(study: Study) -> None:
    study.copy(SCORE_RECORD, "evaluate/d16/own-mini/fiqa.record.json")


@tampering(
    "forged",
    "a result of another checkpoint, its record and its table, in place of one",
    "evaluate/d16/own-mini/fiqa.record.json",
)
def _(study: Study) -> None:
    for suffix in ("json", "parquet", "record.json"):
        study.copy(f"evaluate/d24/own-mini/fiqa.{suffix}", f"evaluate/d16/own-mini/fiqa.{suffix}")


@tampering("forged", "an evaluation that was made again with other numbers", SCORE_RECORD)
def _(study: Study) -> None:
    study.table(VALUES, lambda frame: frame.__setitem__("ndcg_at_10", frame["ndcg_at_10"] / 2))
    study.edit(SCORE, lambda content: content["metrics"].update(ndcg_at_10=content["metrics"]["ndcg_at_10"] / 2))
    content = json.loads(study.read(SCORE_RECORD))
    for row in content["outputs"]:
        path = study.root / "evaluate/d24/own-mini" / row["path"]
        row |= {"sha256": sha256(path), "bytes": path.stat().st_size}
    study.write(SCORE_RECORD, json.dumps(content))


@forged("a spec of a training edited", ENCODER)
def _(study: Study) -> None:
    study.spec(TRAINING, lambda spec: spec["recipe"].update(temperature=1))


@forged("a stage changed to another", SCORE_RECORD)
def _(study: Study) -> None:
    study.edit(SCORE_RECORD, lambda content: content.update(stage="icl"))


@forged("a score raised", SCORE)
def _(study: Study) -> None:
    study.edit(SCORE, lambda content: content["metrics"].update(ndcg_at_10=content["metrics"]["ndcg_at_10"] + 1e-6))


@forged("the values of queries raised", SCORE)
def _(study: Study) -> None:
    study.table(VALUES, lambda frame: frame.__setitem__("ndcg_at_10", frame["ndcg_at_10"] + 1e-6))


def _raise_all(study: Study) -> None:
    study.table(VALUES, lambda frame: frame.__setitem__("ndcg_at_10", frame["ndcg_at_10"] + 1e-6))
    mean = float(pd.read_parquet(study.root / VALUES)["ndcg_at_10"].mean())
    study.edit(SCORE, lambda content: content["metrics"].update(ndcg_at_10=mean))


forged(
    "a score raised with the values of its queries",
    *(f"collect/{table}.parquet" for table in ("scores", "per_query", "lengths")),
)(_raise_all)


@forged("an evaluation of other queries than it says", SCORE)
def _(study: Study) -> None:
    study.table(VALUES, lambda frame: frame.drop(index=0))


def _of_d24(frame: pd.DataFrame) -> pd.Series:
    return (frame["checkpoint"] == "d24") & (frame["recipe"] == "own-mini")


def _raise(table: str, column: str) -> Callable[[Study], None]:
    """A number of d24 raised in a table of collect or fit."""

    def do(study: Study) -> None:
        folder, name = table.split("/")
        study.table(
            f"{table}.parquet",
            lambda frame: frame.__setitem__(column, frame[column].where(~_of_d24(frame), frame[column] + 0.001)),
        )
        study.relist(f"{folder}/{folder}.json", f"{name}.parquet")
        if folder == "collect":
            collected = sha256(study.root / "collect/collect.json")
            study.edit("fit/fit.json", lambda content: content.update(collect_sha256=collected))

    return do


forged("a collected score raised", "collect/scores.parquet")(_raise("collect/scores", "value"))
forged("collected values of queries raised", "collect/per_query.parquet")(_raise("collect/per_query", "ndcg_at_10"))
forged("a collected loss lowered", "collect/training.parquet")(_raise("collect/training", "loss"))
forged("a point of the fits raised", "fit/points.parquet")(_raise("fit/points", "y"))


@forged("a learning curve raised", "collect/curves.parquet")
def _(study: Study) -> None:
    study.table("collect/curves.parquet", lambda frame: frame.__setitem__("value", frame["value"] + 0.001))
    study.relist("collect/collect.json", "curves.parquet")


@forged("an in-context score raised in the table", "collect/icl.parquet")
def _(study: Study) -> None:
    study.table("collect/icl.parquet", lambda frame: frame.__setitem__("score", frame["score"] + 0.001))
    study.relist("collect/collect.json", "icl.parquet")


@forged("an in-context score raised", "icl/d24/shuffle.json")
def _(study: Study) -> None:
    study.edit("icl/d24/shuffle.json", lambda content: content.update(value=content["value"] + 0.1))


@forged("an in-context answer called correct", "icl/d24/shuffle.parquet")
def _(study: Study) -> None:
    study.table("icl/d24/shuffle.parquet", lambda frame: frame.__setitem__("correct", ~frame["correct"]))


@forged("a table that collect.json lists with another hash", "collect/scores.parquet")
def _(study: Study) -> None:
    study.table("collect/scores.parquet", lambda frame: frame.__setitem__("value", frame["value"] + 0.001))


@forged("fits of other tables than those collected", "fit/fit.json")
def _(study: Study) -> None:
    study.edit("fit/fit.json", lambda content: content.update(collect_sha256="0" * 64))


@forged("a level of the fits changed", "fit/fit.json")
def _(study: Study) -> None:
    study.edit("fit/fit.json", lambda content: content["config"].update(alpha=0.32))


@forged("the main recipe exchanged", "collect/collect.json")
def _(study: Study) -> None:
    study.edit("collect/collect.json", lambda content: content.update(main_recipe="microbatch-mini"))


@forged("a point of a figure moved", "figure/1b.csv")
def _(study: Study) -> None:
    study.replace("figure/1b.csv", ",0.03", ",0.04")


@forged("a point of a figure at another compute", "figure/2.csv")
def _(study: Study) -> None:
    study.replace("figure/2.csv", ",22073573376.0,", ",12073573376.0,")


@forged("a point of a figure of another file", "figure/2.csv")
def _(study: Study) -> None:
    study.replace("figure/2.csv", "evaluate/d24/own-mini/fiqa.json", "evaluate/d24/own-mini/fiqas.json")


@forged("a loss of a figure moved", "figure/training.csv")
def _(study: Study) -> None:
    study.replace("figure/training.csv", "d16,own-mini,10,1.", "d16,own-mini,10,0.")


@forged("a learning curve of a figure moved", "figure/curves.csv")
def _(study: Study) -> None:
    study.replace("figure/curves.csv", ",256,0.03", ",256,0.04")


for _suffix in ("png", "pdf", "svg"):

    @forged(f"a {_suffix} drawn from other tables", f"figure/1b.{_suffix}")
    def _(study: Study, name: str = f"figure/1b.{_suffix}") -> None:
        digest = sha256(study.root / "fit/fit.json").encode()
        study.write(name, study.read(name).replace(digest, b"0" * 64))


@forged("a png without its metadata", "figure/1b.png")
def _(study: Study) -> None:
    study.write("figure/1b.png", b"\x89PNG\r\n\x1a\n")


@forged("the report with another figure", "report.html")
def _(study: Study) -> None:
    study.replace("report.html", "data:image/svg+xml;base64,PD94", "data:image/svg+xml;base64,PD95")


@forged("FLOPs of a card raised", CARD)
def _(study: Study) -> None:
    study.edit(CARD, lambda content: content.update(flops=content["flops"] * 2))


@forged("a card of another checkpoint", CARD)
def _(study: Study) -> None:
    study.edit(CARD, lambda content: content.update(id="d16"))


@forged("a card of another source", CARD)
def _(study: Study) -> None:
    study.edit(CARD, lambda content: content["source"].update(hidden_size=48))


@forged("weights of a checkpoint exchanged", "checkpoint/d24/model/model.safetensors")
def _(study: Study) -> None:
    study.flip("checkpoint/d24/model/model.safetensors")


@forged("weights of an encoder exchanged", WEIGHTS)
def _(study: Study) -> None:
    study.flip(WEIGHTS)


@forged("an encoder that says another recipe", ENCODER)
def _(study: Study) -> None:
    study.edit(ENCODER, lambda content: content["recipe"].update(temperature=1))


@forged("an encoder that says another checkpoint", ENCODER)
def _(study: Study) -> None:
    study.edit(ENCODER, lambda content: content.update(checkpoint="d16"))


@forged("a kept encoder that says another step", "finetune/d24/microbatch-mini/step-8/encoder.json")
def _(study: Study) -> None:
    study.edit("finetune/d24/microbatch-mini/step-8/encoder.json", lambda content: content.update(steps=16))


@forged("judgments exchanged", "task/fiqa/qrels.parquet")
def _(study: Study) -> None:
    study.table("task/fiqa/qrels.parquet", lambda frame: frame.__setitem__("doc_id", frame["doc_id"][::-1].to_numpy()))


@forged("a task called by another name", "task/fiqa/task.json")
def _(study: Study) -> None:
    study.edit("task/fiqa/task.json", lambda content: content.update(id="scifact"))


@forged("tokens of another task", "tokens/d24/own-mini/fiqa.json")
def _(study: Study) -> None:
    for part in ("json", "passage.ids"):
        study.copy(f"tokens/d24/own-mini/consumer-contracts.{part}", f"tokens/d24/own-mini/fiqa.{part}")


@forged("training pairs exchanged", "pairs/boolq/pairs.parquet")
def _(study: Study) -> None:
    study.table("pairs/boolq/pairs.parquet", lambda frame: frame.drop(index=0))


@forged("a tokenizer exchanged", "text/tokenizer/tokenizer.json")
def _(study: Study) -> None:
    study.write("text/tokenizer/tokenizer.json", study.read("text/tokenizer/tokenizer.json") + b" ")


@forged("a result of another checkpoint, under the right name in its record", "evaluate/d16/own-mini/fiqa.json")
def _(study: Study) -> None:
    for suffix in ("json", "parquet"):
        study.copy(f"evaluate/d24/own-mini/fiqa.{suffix}", f"evaluate/d16/own-mini/fiqa.{suffix}")


@forged("a result of another step, under the right name in its record", "evaluate/d24/microbatch-mini/fiqa.json")
def _(study: Study) -> None:
    for suffix in ("json", "parquet"):
        kept = f"evaluate/d24/microbatch-mini/step-8/fiqa.{suffix}"
        study.copy(kept, f"evaluate/d24/microbatch-mini/fiqa.{suffix}")


# --- cut chains


@tampering("cut", "no inputs in the record of collect", COLLECT)
def _(study: Study) -> None:
    study.edit(COLLECT, lambda content: content.update(inputs=[]))


@tampering("cut", "no inputs and no outputs in the record of a figure", FIGURE, target="figure/1b.png")
def _(study: Study) -> None:
    study.edit(FIGURE, lambda content: content.update(inputs=[], outputs=[]))


def _cut(what: str, name: str, keep: Callable[[dict], bool], part: str = "inputs") -> None:
    forged(what, name, ground="cut")(lambda study: study.rows(name, keep, part))


_cut("no inputs in the record of collect", COLLECT, lambda row: False)
_cut("no inputs in the record of a training", TRAINING, lambda row: False)
_cut("no outputs in the record of a figure", FIGURE, lambda row: False, "outputs")
_cut("an evaluation without its encoder", SCORE_RECORD, lambda row: row["name"] != "encoder")
_cut("an evaluation without its task", SCORE_RECORD, lambda row: row["name"] != "tasks")
_cut("an evaluation without its tokens", SCORE_RECORD, lambda row: row["name"] != "tokens")
_cut("an evaluation without the judgments", SCORE_RECORD, lambda row: "qrels" not in row["path"])
_cut("an evaluation without the weights", SCORE_RECORD, lambda row: "model.safetensors" not in row["path"])
_cut("a training without negatives", TRAINING, lambda row: row["name"] != "negatives")
_cut("a training without its card", TRAINING, lambda row: row["name"] != "card")
_cut("a training without the pretrained weights", TRAINING, lambda row: "model.safetensors" not in row["path"])
_cut("a pretraining without its text", CARD_RECORD, lambda row: False)
_cut("mining without pairs", MINE, lambda row: False)
_cut("tables without an evaluation", COLLECT, lambda row: "d24/own-mini/fiqa" not in row["path"])
_cut("tables without a kept evaluation", COLLECT, lambda row: "step-8/fiqa" not in row["path"])
_cut("tables without a card", COLLECT, lambda row: "checkpoint/d24/" not in row["path"])
_cut("tables without an in-context result", COLLECT, lambda row: "icl/d24/shuffle" not in row["path"])
_cut("fits without tables", FIT, lambda row: False)
_cut("a figure without its fits", FIGURE, lambda row: row["name"] != "fit")
_cut("a report without the leakage of a task", REPORT, lambda row: "leakage/fiqa" not in row["path"])
_cut("a report without a caption", REPORT, lambda row: not row["path"].endswith("1b.md"))
_cut("a score that its record does not list", SCORE_RECORD, lambda row: not row["path"].endswith(".json"), "outputs")
_cut("values that their record does not list", SCORE_RECORD, lambda row: row["path"].endswith(".json"), "outputs")
_cut("a png that its record does not list", FIGURE, lambda row: not row["path"].endswith("png"), "outputs")
_cut("points that their record does not list", FIGURE, lambda row: not row["path"].endswith("csv"), "outputs")


@forged("tables gathered again without an in-context result", COLLECT, ground="cut")
def _(study: Study) -> None:
    study.rows(COLLECT, lambda row: "icl/d24/shuffle" not in row["path"])
    study.table("collect/icl.parquet", lambda frame: frame[frame["file"] != "icl/d24/shuffle.json"])
    study.relist("collect/collect.json", "icl.parquet")
    study.edit("collect/collect.json", lambda content: content["rows"].update(icl=5))
    collected = sha256(study.root / "collect/collect.json")
    study.edit("fit/fit.json", lambda content: content.update(collect_sha256=collected))


@forged("weights unlisted, then changed", TRAINING, ground="cut")
def _(study: Study) -> None:
    study.rows(TRAINING, lambda row: row["path"] != "model.safetensors", "outputs")
    for path in (study.root / "evaluate/d24/own-mini").rglob("*.record.json"):
        study.rows(str(path.relative_to(study.root)), lambda row: "model.safetensors" not in row["path"])
    study.flip(WEIGHTS)


@forged("pretrained weights unlisted, then changed", CARD_RECORD, ground="cut")
def _(study: Study) -> None:
    weights = "model/model.safetensors"
    study.rows(CARD_RECORD, lambda row: row["path"] != weights, "outputs")
    for path in study.root.rglob("*.record.json"):
        name = str(path.relative_to(study.root))
        if f"checkpoint/d24/{weights}" in study.read(name).decode():
            study.rows(name, lambda row: not row["path"].endswith(f"checkpoint/d24/{weights}"))
    study.flip(f"checkpoint/d24/{weights}")


def _each(name: str, chosen: Callable[[dict], bool], change: Callable[[dict], object]) -> Callable[[Study], None]:
    """Change some rows of a record."""

    def do(study: Study) -> None:
        study.edit(name, lambda content: [change(row) for row in content["inputs"] if chosen(row)])

    return do


def _is_encoder(row: dict) -> bool:
    return row["name"] == "encoder"


forged("an encoder that no job made", SCORE_RECORD, ground="cut")(
    _each(SCORE_RECORD, _is_encoder, lambda row: row.update(record=None, digest=None))
)


@tampering("cut", "no digest of the record of an encoder", SCORE_RECORD)
def _(study: Study) -> None:
    _each(SCORE_RECORD, _is_encoder, lambda row: row.update(digest=None))(study)


forged("an encoder of another checkpoint", SCORE_RECORD, ground="cut")(
    _each(
        SCORE_RECORD,
        _is_encoder,
        lambda row: row.update({key: row[key].replace("/d24/", "/d16/") for key in ("path", "record")}),
    )
)
forged("an encoder of another recipe", SCORE_RECORD, ground="cut")(
    _each(
        SCORE_RECORD,
        _is_encoder,
        lambda row: row.update({key: row[key].replace("own-mini", "microbatch-mini") for key in ("path", "record")}),
    )
)
forged("judgments of another task", SCORE_RECORD, ground="cut")(
    _each(
        SCORE_RECORD,
        lambda row: row["name"] == "tasks",
        lambda row: row.update({key: row[key].replace("/fiqa/", "/consumer-contracts/") for key in ("path", "record")}),
    )
)


@forged("an encoder by an absolute path outside of the study, that no job made", SCORE_RECORD, ground="cut")
def _(study: Study) -> None:
    elsewhere = study.folder / "elsewhere"
    shutil.copytree(study.root / "finetune/d24/own-mini", elsewhere, dirs_exist_ok=True)
    _each(
        SCORE_RECORD,
        _is_encoder,
        lambda row: row.update(path=str(elsewhere / Path(row["path"]).name), record=None, digest=None),
    )(study)


@forged("a record by an absolute path", SCORE_RECORD, ground="cut")
def _(study: Study) -> None:
    home = study.root / "evaluate/d24/own-mini"
    _each(
        SCORE_RECORD,
        _is_encoder,
        lambda row: row.update({key: os.path.normpath(home / row[key]) for key in ("path", "record")}),
    )(study)


@forged("a file outside that the spec does not name", "pairs/boolq/pairs.record.json", ground="cut")
def _(study: Study) -> None:
    row = {"name": "outside", "path": "/etc/hostname", "sha256": "0" * 64, "record": None, "digest": None}
    study.edit("pairs/boolq/pairs.record.json", lambda content: content["inputs"].append(row))


@forged("an input by a flag that the stage does not have", MINE, ground="cut")
def _(study: Study) -> None:
    row = {"name": "luck", "path": "negatives.parquet", "sha256": "0" * 64, "record": None, "digest": None}
    study.edit(MINE, lambda content: content["inputs"].append(row))


@forged("a stage that does not exist", MINE, ground="cut")
def _(study: Study) -> None:
    study.edit(MINE, lambda content: content.update(stage="trust"))


@forged("a record of another checkpoint in place of one", "evaluate/d16/own-mini/fiqa.record.json", ground="cut")
def _(study: Study) -> None:
    study.copy(SCORE_RECORD, "evaluate/d16/own-mini/fiqa.record.json")


@forged("an output listed twice", SCORE_RECORD, ground="cut")
def _(study: Study) -> None:
    study.edit(SCORE_RECORD, lambda content: content["outputs"].append(dict(content["outputs"][0])))


@forged("an output outside of its folder", SCORE_RECORD, ground="cut")
def _(study: Study) -> None:
    row = {"path": "../../d16/own-mini/fiqa.json", "sha256": "0" * 64, "bytes": 1}
    study.edit(SCORE_RECORD, lambda content: content["outputs"].append(row))


@forged("a task of another study", SCORE_RECORD, ground="cut")
def _(study: Study) -> None:
    other = study.folder / "results/other"
    if not other.exists():
        shutil.copytree(study.pristine / "task/fiqa", other / "task/fiqa")
    _each(
        SCORE_RECORD,
        lambda row: row["name"] == "tasks",
        lambda row: row.update({key: f"../../../../other/{row[key].split('../')[-1]}" for key in ("path", "record")}),
    )(study)


@tampering("cut", "a record that was made from itself", MINE)
def _(study: Study) -> None:
    row = {"name": "pairs", "path": "negatives.parquet", "sha256": "0" * 64, "digest": "0" * 64}
    study.edit(MINE, lambda content: content["inputs"].append(row | {"record": "negatives.record.json"}))


@tampering("cut", "a record of an older version, which vouches for nothing", MINE)
def _(study: Study) -> None:
    study.edit(MINE, lambda content: content.pop("schema"))


# --- what the files of a study alone cannot tell


@tampering("forged", "the commit that made a result", caught_by="seal")
def _(study: Study) -> None:
    study.edit(TRAINING, lambda content: content["git"].update(commit="0" * 40, dirty=False))


@tampering("forged", "the machine and the notes of a training", caught_by="seal")
def _(study: Study) -> None:
    study.edit(TRAINING, lambda content: content.update(machine=content["machine"] | {"host": "better"}, notes={}))


@forged("the packages of the miner", *DRAWN)
def _(study: Study) -> None:
    study.edit(MINE, lambda content: content["packages"].update(numpy="0.1"))


@forged("weights exchanged, in every file that lists them", *DRAWN)
def _(study: Study) -> None:
    study.flip(WEIGHTS)
    study.relist(ENCODER, "model.safetensors")
    weights = sha256(study.root / WEIGHTS)
    study.edit(ENCODER, lambda content: content.update(weights_sha256=weights))


@forged("a picture painted over, and its hash in the report", "report.html")
def _(study: Study) -> None:
    before = sha256(study.root / "figure/1b.png")
    study.write("figure/1b.png", study.read("figure/1b.png") + b" ")
    study.replace("report.html", before, sha256(study.root / "figure/1b.png"))


@forged("a number of the report's text", caught_by="root")
def _(study: Study) -> None:
    study.replace("report.html", "</body>", "<p>It holds.</p></body>")


@tampering("forged", "every time of every file", caught_by="nobody, as nothing was changed")
def _(study: Study) -> None:
    study.write(SCORE, study.read(SCORE))
    os.utime(study.root / SCORE, (1e9, 1e9))


def happened(study: Study, each: Tampering, *trusted: str | None) -> list[Audit]:
    """The audit after a tampering, and one more for each root or seal that somebody trusts; the study is whole again."""
    try:
        each.do(study)
        return [study.audit(each.target, known) for known in (None, *trusted)]
    finally:
        study.restore()


def named(audit: Audit) -> set[str]:
    """The culprits, below the results."""
    return {str(path.relative_to(RESULTS)) for path in audit.walked.findings.problems}


def main(clone: Path, folder: Path) -> None:
    study = Study(clone, folder)
    whole = study.audit()
    print(f"untouched: {whole.why}\n")
    for each in TAMPERINGS:
        audit, *_ = happened(study, each)
        exact = "exactly" if named(audit) == set(each.culprits) else "NOT as expected"
        culprits = f"named {exact}: {', '.join(each.culprits)}" if each.culprits else f"caught by: {each.caught_by}"
        answer(f"{each.ground:6}  {each.what}")
        answer(f"        {STATUS[audit.status]}; {culprits}")
        answer(f"        {audit.why}")
    count = Counter(each.ground for each in TAMPERINGS)
    print(f"\n{len(TAMPERINGS)} tamperings: {', '.join(f'{number} {ground}' for ground, number in count.items())}")


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        main(Path(sys.argv[1]), Path(name))
