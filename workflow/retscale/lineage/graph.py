"""The records behind an output, those that are alike in one box, and which boxes were made from which."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from retscale.collect.repeats import Repeats
from retscale.errors import UserError
from retscale.paths import TRAINING
from retscale.provenance import record
from retscale.provenance.behind import by_path
from retscale.provenance.schema import OlderRecord, Record
from retscale.stages import STAGES, at_length, kept

MOST_RECIPES = 3  # that have boxes of their own
ORIGINS = {"pretrain": "pretrained here", "hub": "from the hub", "local": "from a folder", "gguf": "from GGUF files"}
ORIGINS |= {"random": "with random weights"}
# What the first folder below a stage's is called after, and what the file.
FOLDERS = dict.fromkeys(("checkpoint", "finetune", "tokens", "evaluate", "icl"), "checkpoint")
FOLDERS |= {
    "reference": "reference",
    "encoder": "encoder",
    "task": "task",
    "items": "task",
    "pairs": "data set",
    "mine": "data set",
}
FILES = dict.fromkeys(("evaluate", "reference", "icl", "leakage"), "task") | {"figure": "figure"}


Known = Record | OlderRecord


class Group(NamedTuple):
    """What the records of a box have in common: their stage and, where that is not all, their kind."""

    stage: str
    kind: str = ""


@dataclass
class Box:
    """The records of a group. `names`: what they are about, such as checkpoints, each once."""

    group: Group
    records: int = 0
    files: int = 0
    bytes: int = 0
    names: dict[str, dict[str, None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """`boxes` in the order of the road; `edges` from a group to each whose records read what it made."""

    boxes: dict[Group, Box]
    edges: set[tuple[Group, Group]]

    def ranks(self) -> dict[Group, int]:
        """How many boxes stand before each one, along the longest way."""
        ranks: dict[Group, int] = {}
        for group in self.boxes:  # whatever it is made from comes before it
            ranks[group] = max((ranks[a] + 1 for a, b in self.edges if b == group and a in ranks), default=0)
        return ranks

    def reduced(self) -> set[tuple[Group, Group]]:
        """The edges that do not follow from others: no longer way leads from one end to the other."""

        def reached(group: Group) -> set[Group]:
            return {group}.union(*(reached(b) for a, b in forward if a == group))

        ranks = self.ranks()
        forward = {(a, b) for a, b in self.edges if ranks[a] < ranks[b]}
        return {
            (a, b)
            for a, b in forward
            if not any(b in reached(other) for one, other in forward if one == a != other != b)
        }


def behind(primary: Path) -> dict[Path, Known]:
    """Every record behind an output, by its path, the output's own first. UserError if one is missing or damaged."""
    return {path: saved or record.parse(path) for path, saved in by_path([primary])}


def primary(file: Path) -> Path:
    """The declared output that `file` was made with, or is; UserError if no record beside it lists it."""
    for path in sorted(file.parent.glob("*.record.json")):
        names = [row["path"] for row in record.parse(path)["outputs"]]
        if file.name in names:
            return file.parent / names[-1]
    raise UserError(
        f"{file} is not an output of a study, for no record beside it lists it; name a figure or a table of one"
    )


def graph(records: dict[Path, Known]) -> Graph:
    """Of all records behind an output."""
    root = Path(os.path.commonpath([path.parent for path in records]))
    recipes = {path: _recipe(content) for path, content in records.items()}
    specs = [content["spec"] for content in records.values() if content["stage"] == "collect"]
    repeats = Repeats.model_validate(next((spec["repeats"] for spec in specs if "repeats" in spec), {}))
    recipes = {path: repeats.recipe(recipe) for path, recipe in recipes.items()}
    if len({*recipes.values()} - {""}) > MOST_RECIPES:
        recipes = dict.fromkeys(recipes, "")
    groups = {path: group_of(path, content, recipes[path]) for path, content in records.items()}
    boxes = {group: Box(group) for group in sorted(set(groups.values()), key=_road)}
    edges = set()
    for path, content in records.items():
        box = boxes[groups[path]]
        box.records += 1
        box.files += len(content["outputs"])
        box.bytes += sum(row.get("bytes", 0) for row in content["outputs"])
        for kind, name in _names(path.relative_to(root), content["stage"]):
            box.names.setdefault(kind, {})[name] = None
        edges |= {
            (groups[_plain(path.parent / row["record"])], groups[path]) for row in content["inputs"] if row["record"]
        }
    return Graph(boxes, {(a, b) for a, b in edges if a != b})


def _road(group: Group) -> tuple[int, str]:
    return list(STAGES).index(group.stage), group.kind


def group_of(path: Path, content: Known, recipe: str) -> Group:
    """The group of the record at `path`; `recipe` is empty where all recipes are in one."""
    stage = content["stage"]
    if stage == "checkpoint":
        return Group(stage, ORIGINS.get(content["spec"].get("source", {}).get("kind", ""), ""))
    if stage == "tokens":
        return Group(stage, "training data" if path.parent.name == TRAINING else "tasks")
    if stage in ("finetune", "evaluate"):
        kinds = [
            recipe,
            "on the way" if path.parent.name.startswith(kept("")) else "",
            "at other lengths" if path.parent.name.startswith(at_length("")) else "",
        ]
        return Group(stage, ", ".join(filter(None, kinds)))
    return Group(stage)


def _recipe(content: Known) -> str:
    """The id of the recipe of a training or an evaluation."""
    recipe = content["spec"].get("recipe") if content["stage"] in ("finetune", "evaluate") else None
    return str(recipe.get("id", "") if isinstance(recipe, dict) else recipe or "")


def _names(place: Path, stage: str) -> Iterator[tuple[str, str]]:
    """(what, name) that the place of a record below the results tells, such as a checkpoint and a task."""
    parts = place.parts[place.parts.index(stage) + 1 :] if stage in place.parts[:2] else ()
    if len(parts) > 1 and stage in FOLDERS:
        yield FOLDERS[stage], parts[0]
    if parts and stage in FILES:
        yield FILES[stage], parts[-1].removesuffix(".record.json")


def _plain(path: Path) -> Path:
    return Path(os.path.normpath(path))
