"""Where a record must lie: the place of each stage's outputs, read backwards from the paths of results."""

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from retscale.encoder.config import GIVEN, REFERENCE
from retscale.paths import Results
from retscale.stages import STAGES

PARTS = ("checkpoint", "recipe", "step", "length", "task", "pairs", "figure")
_ID = r"[^/]+"
Names = dict[str, str | None]


@dataclass(frozen=True)
class Place:
    """Of the results folder `root`, with what the path of an output there says: its checkpoint, recipe, task, ...

    `step` is None where the path tells the last encoder of a training from those that it kept, and this is the last;
    `length` where it tells the encoder's own length of documents from others, and this is its own.
    """

    root: Path
    names: Names


def of(stage: str, primary: Path) -> Place | None:
    """The place of a declared output of a stage; None if no output of this stage lies there."""
    for pattern, constants in _patterns().get(stage, ()):
        if match := pattern.fullmatch(primary.as_posix()):
            names = constants | {key: value for key, value in match.groupdict().items() if key != "root"}
            return Place(Path(match["root"]), names)
    return None


@cache
def _patterns() -> dict[str, list[tuple[re.Pattern, Names]]]:
    """By stage: each form of path, with names that it implies."""
    results, ids = Results(), {name: f"{{{name}}}" for name in PARTS}
    checkpoint, recipe, step, length, task = (ids[name] for name in ("checkpoint", "recipe", "step", "length", "task"))
    last: Names = {"step": None}
    own: Names = {"length": None}
    forms: dict[str, list[tuple[str, Names]]] = {
        "text": [(results.text(), {})],
        "checkpoint": [(results.checkpoint(checkpoint), {})],
        "pairs": [(results.pairs(ids["pairs"]), {})],
        "mine": [(results.mine(ids["pairs"]), {})],
        "tokens": [
            (results.training_tokens(checkpoint, recipe, ids["pairs"]), {}),
            (results.tokens(checkpoint, recipe, task, length), {}),
            (results.tokens(checkpoint, recipe, task), own),
        ],
        "finetune": [(results.finetune(checkpoint, recipe, step), {}), (results.finetune(checkpoint, recipe), last)],
        "encoder": [(results.given(checkpoint), {"recipe": GIVEN})],
        "task": [(results.task(task), {})],
        "evaluate": [
            (results.evaluate(checkpoint, recipe, task, step), own),
            (results.evaluate(checkpoint, recipe, task, length=length), last),
            (results.evaluate(checkpoint, recipe, task), last | own),
        ],
        "reference": [(results.reference(checkpoint, task), {"recipe": REFERENCE})],
        "leakage": [(results.leakage(task), {})],
        "items": [(results.items(task), {})],
        "icl": [(results.icl(checkpoint, task), {})],
        "collect": [(results.collect(), {})],
        "fit": [(results.fit(), {})],
        "external": [(results.external(), {})],
        "figure": [(results.figure(ids["figure"]), {})],
        "report": [(results.report(), {})],
    }
    assert forms.keys() == STAGES.keys()
    return {stage: [(_pattern(form), implied) for form, implied in each] for stage, each in forms.items()}


def _pattern(form: str) -> re.Pattern:
    """Of a path below any folder; a placeholder stands for one part of the path."""
    text = re.escape(form)
    for name in PARTS:
        text = text.replace(re.escape(f"{{{name}}}"), f"(?P<{name}>{_ID})")
    return re.compile(f"(?P<root>.*/|){text}", re.DOTALL)


def plain(path: Path | str) -> Path:
    """The path without `..`, symbolic links left as they are."""
    return Path(os.path.normpath(path))


def is_inside(path: str) -> bool:
    """Whether a path leads from a folder to something in it."""
    return not os.path.isabs(path) and ".." not in Path(path).parts
