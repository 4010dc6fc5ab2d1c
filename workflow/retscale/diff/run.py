"""`retscale diff STUDY_A STUDY_B`: which scores differ, and why."""

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from retscale import paths
from retscale.common.phrase import counted
from retscale.common.terminal import answer
from retscale.diff import scores
from retscale.diff.causes import Cause, Chains
from retscale.diff.scores import Key, Score
from retscale.errors import UserError
from retscale.stages import STAGES
from retscale.study import load

MOST = 20  # lines of what one study has alone


@dataclass(frozen=True)
class Difference:
    """`shared`: scores that both studies have, of which `causes` has those that differ, the largest difference first."""

    shared: int
    causes: dict[Cause, list[Key]]
    alone: tuple[list[Key], list[Key]]

    @property
    def different(self) -> set[Key]:
        """A score may have several causes."""
        return {key for keys in self.causes.values() for key in keys}

    @property
    def status(self) -> int:
        return int(bool(self.causes or any(self.alone)))


def main(arguments: argparse.Namespace) -> int:
    """Print the causes, or all as JSON; 0 if the scores are the same, 1 if not. UserError if they cannot be compared."""
    if arguments.tolerance < 0:
        raise UserError(f"--tolerance must be 0 or more, found {arguments.tolerance}")
    roots = (folder(arguments.a), folder(arguments.b))
    if roots[0].resolve() == roots[1].resolve():
        raise UserError(f"{arguments.a} and {arguments.b} are the same results, {roots[0]}")
    a, b = (scores.read(root) for root in roots)
    result = compare(a, b, Chains(roots), arguments.tolerance)
    if arguments.json:
        print(json.dumps(as_json(result, a, b, roots, arguments.tolerance), ensure_ascii=False, indent=1))
    else:
        for line in lines(result, a, b, roots, arguments.tolerance):
            answer(line)
    return result.status


def folder(study: Path) -> Path:
    """The results of a study, named by them or by its file."""
    return study if study.is_dir() else paths.folder(load.study(study).name)


def compare(a: dict[Key, Score], b: dict[Key, Score], chains: Chains, tolerance: float) -> Difference:
    """UserError if no score is of the same in both."""
    shared = [key for key in a if key in b]
    if not shared:
        raise UserError(f"the two studies share no score, so they cannot be compared: {_nothing_shared(a, b)}")
    causes: dict[Cause, list[Key]] = {}
    for key in shared:
        if a[key].distance(b[key]) > tolerance:
            for cause in chains.behind(a[key].file, a[key].sha256 == b[key].sha256):
                causes.setdefault(cause, []).append(key)
    stages = list(STAGES)
    by_road = sorted(causes, key=lambda cause: (stages.index(cause.stage) if cause.stage in stages else -1, cause))
    return Difference(
        len(shared),
        {cause: sorted(causes[cause], key=lambda key: -a[key].distance(b[key])) for cause in by_road},
        ([key for key in a if key not in b], [key for key in b if key not in a]),
    )


def _nothing_shared(a: dict[Key, Score], b: dict[Key, Score]) -> str:
    for kind in ("task", "checkpoint", "recipe"):
        one, other = ({getattr(key, kind) for key in side} for side in (a, b))
        if not one & other:
            return f"one has the {kind}s {', '.join(sorted(one)) or 'none'}, the other {', '.join(sorted(other)) or 'none'}"
    return "not for one checkpoint both have the same recipe, task and metric"


def lines(
    result: Difference, a: dict[Key, Score], b: dict[Key, Score], roots: tuple[Path, Path], tolerance: float
) -> Iterator[str]:
    yield f"a         {roots[0]}  ({counted(len(a), 'score')})"
    yield f"b         {roots[1]}  ({counted(len(b), 'score')})"
    for cause, keys in result.causes.items():
        yield f"{cause.stage:<9} {cause.kind}: {cause.text}"
        files = len({a[key].file for key in keys})
        yield (
            f"          {counted(len(keys), 'score')} of {counted(files, 'result')}, the largest difference "
            f"{keys[0]}: {a[keys[0]].value:.4f} -> {b[keys[0]].value:.4f}"
        )
    for name, keys in zip("ab", result.alone, strict=True):
        encoders = Counter(key.encoder for key in keys)
        for encoder, count in list(encoders.items())[:MOST]:
            yield f"only {name}    {encoder}: {counted(count, 'score')}"
        if len(encoders) > MOST:
            yield f"only {name}    and {len(encoders) - MOST:,} more such"
    alone = sum(map(len, result.alone))
    different = len(result.different)
    yield (
        f"verdict   {'different' if result.status else 'the same'}: {different:,} of {counted(result.shared, 'shared score')} "
        f"{'differs' if different == 1 else 'differ'} by more than {tolerance:g}, {alone:,} only in one study"
    )


def as_json(
    result: Difference, a: dict[Key, Score], b: dict[Key, Score], roots: tuple[Path, Path], tolerance: float
) -> dict:
    """The same for programs, with every score."""
    return {
        "a": str(roots[0]),
        "b": str(roots[1]),
        "tolerance": tolerance,
        "verdict": "different" if result.status else "same",
        "shared": result.shared,
        "different": len(result.different),
        "causes": [
            cause._asdict() | {"scores": [key._asdict() | {"a": number(a[key]), "b": number(b[key])} for key in keys]}
            for cause, keys in result.causes.items()
        ],
        "only_a": [key._asdict() for key in result.alone[0]],
        "only_b": [key._asdict() for key in result.alone[1]],
    }


def number(score: Score) -> float | None:
    """Its value as JSON has it."""
    return None if math.isnan(score.value) else score.value
