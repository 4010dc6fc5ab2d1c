"""Which encoders share a rule for their jobs on a batch of tasks: those whose jobs have the same outputs."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from retscale.study.study import Study


class Outputs(NamedTuple):
    """What a job writes besides the results of its own encoder at its own length: kept `steps`, and tasks by length."""

    steps: tuple[int, ...]
    lengths: tuple[tuple[int, tuple[str, ...]], ...]


class RuleGroup(NamedTuple):
    """Encoders, as (checkpoint, recipe), whose jobs have the same kept `steps` and the same tasks at further `lengths`.

    `suffix` ends the name of their rule; no two groups of a batch share one. `whole`: no other group has an encoder of
    their recipes.
    """

    suffix: str
    steps: list[int]
    lengths: dict[int, list[str]]
    encoders: list[tuple[str, str]]
    whole: bool

    @property
    def recipes(self) -> list[str]:
        return list(dict.fromkeys(recipe for _, recipe in self.encoders))


def of(study: Study, tasks: list[str], steps: bool = True) -> list[RuleGroup]:
    """All `evaluated_encoders` on `tasks`, in groups; without `steps` for jobs that do not read kept encoders."""
    encoders: dict[Outputs, list[tuple[str, str]]] = {}
    for encoder in study.evaluated_encoders:
        encoders.setdefault(_outputs(study, *encoder, tasks, steps), []).append(encoder)
    groups_with = Counter(recipe for ids in encoders.values() for recipe in {recipe for _, recipe in ids})
    return [
        RuleGroup(
            suffix=suffix,
            steps=list(outputs.steps),
            lengths={length: list(names) for length, names in outputs.lengths},
            encoders=ids,
            whole=all(groups_with[recipe] == 1 for _, recipe in ids),
        )
        for suffix, (outputs, ids) in zip(_suffixes(encoders), encoders.items(), strict=True)
    ]


def _outputs(study: Study, checkpoint: str, recipe: str, tasks: list[str], steps: bool) -> Outputs:
    lengths = study.lengths(checkpoint, recipe, tasks)
    return Outputs(
        tuple(study.kept_steps(recipe, tasks)) if steps else (),
        tuple((length, tuple(names)) for length, names in lengths.items()),
    )


def _suffixes(groups: Iterable[Outputs]) -> list[str]:
    """Such as `_after_8_16`. Lengths are named only where groups have the same steps, and a number where those agree too."""
    groups, suffixes, used = list(groups), [], Counter()
    same_steps = Counter(outputs.steps for outputs in groups)
    for outputs in groups:
        words = ["after", *outputs.steps] if outputs.steps else []
        if outputs.lengths and same_steps[outputs.steps] > 1:
            words += ["at", *(length for length, _ in outputs.lengths)]
        suffix = "".join(f"_{word}" for word in words)
        suffixes.append(f"{suffix}_or_{used[suffix]}" if used[suffix] else suffix)
        used[suffix] += 1
    return suffixes
