"""The job behind a record, as a command that would run it again."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from retscale.audit.place import Place
from retscale.audit.walk import Node
from retscale.common.canonical import canonical
from retscale.errors import UserError
from retscale.stages import STAGES, at_length, kept

Nodes = Mapping[Path, Node]


@dataclass(frozen=True)
class Rerun:
    """The job of a record: its stage, spec and input files by flag, and the declared output that it is run for."""

    stage: str
    spec: dict
    inputs: dict[str, list[Path]]
    target: Path

    def command(self, folder: Path, lists: Path) -> list[str]:
        """The arguments of `retscale`, run in `folder`. The spec, and inputs of which there may be many, go into files
        in `lists`, since they may exceed a command line."""
        (lists / "spec.json").write_text(canonical(self.spec), encoding="utf-8")
        arguments, kind = [self.stage, "--spec", f"@{lists / 'spec.json'}"], STAGES[self.stage]
        for flag in dict.fromkeys((*kind.inputs, *kind.many, *kind.optional)):
            paths = [os.path.relpath(path, folder) for path in self.inputs.get(flag, [])]
            if flag in kind.many:
                (lists / flag).write_text("\n".join(paths), encoding="utf-8")
                paths = [f"@{lists / flag}"]
            arguments += [f"--{flag}", *paths] if paths else []
        return [*arguments, "--out", os.path.relpath(self.target, folder)]


def of(node: Node, nodes: Nodes) -> Rerun:
    """The job of a record; UserError if it lies where its stage puts none, or a record of its inputs is not in `nodes`."""
    step, target = place_of(node).names.get("step"), node.primary
    if STAGES[node.stage].further and step:
        target = target.parent.parent / target.name  # its training makes it together with the last encoder
    inputs: dict[str, dict[Path, None]] = {}
    for read in node.inputs:
        if read.record:
            if read.record not in nodes:
                raise UserError(f"{read.record} is missing or damaged")
            inputs.setdefault(read.name, {})[nodes[read.record].primary] = None
        elif read.name in STAGES[node.stage].outside:
            inputs.setdefault(read.name, {})[read.path] = None
    return Rerun(node.stage, node.spec, {flag: list(paths) for flag, paths in inputs.items()}, target)


def place_of(node: Node) -> Place:
    if node.place is None:
        raise UserError(f"{node.path} is of the stage {node.stage!r}, whose outputs do not lie there")
    return node.place


def label(node: Node) -> str:
    """What the job is about, such as `d24/own-mini/fiqa`; empty for a stage with one job."""
    names = dict(place_of(node).names)
    step, length = names.pop("step", None), names.pop("length", None)
    parts = [names.get(part) for part in ("checkpoint", "recipe")] + [step and kept(step), length and at_length(length)]
    parts += [names.get(part) for part in ("task", "pairs", "figure")]
    return "/".join(part for part in parts if part)


def behind(node: Node, nodes: Nodes) -> list[Node]:
    """The record and all that it rests on, each after what it was made from."""
    order: dict[Path, Node] = {}
    seen, stack = set(), [(node.path, False)]
    while stack:
        path, done = stack.pop()
        if done:
            order[path] = nodes[path]
        elif path not in seen and path in nodes:
            seen.add(path)
            stack += [(path, True), *((maker, False) for maker in reversed(nodes[path].by_source))]
    return list(order.values())
