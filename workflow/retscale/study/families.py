"""Families of checkpoints: what members share is written once, and an intermediate checkpoint follows from a rule.

`pythia-160m-step2000` stands in no file: it is the member pythia-160m at step 2000, which the family's `steps` name. A
run of several phases, each with steps of its own, has `earlier` instead: `ettin-encoder-17m-ext10373`.
"""

import re
from collections.abc import Callable
from math import ceil

from pydantic import Field

from retscale.common.strict import Strict
from retscale.errors import UserError
from retscale.study import validation

FILE = "config/catalog/checkpoints.yaml"


class Range(Strict):
    """from, from + every, ... up to and including `to`, or to the last step of the run."""

    first: int = Field(alias="from", ge=1)
    every: int = Field(ge=1)
    to: int | None = None


class Branch(Strict):
    """Steps whose revisions are named alike: {step}, and {billions} of tokens seen, rounded up."""

    revision: str
    at: list[int | Range]
    without: list[int] = []

    def steps(self, last: int) -> set[int]:
        steps = set()
        for part in self.at:
            steps |= {part} if isinstance(part, int) else set(range(part.first, (part.to or last) + 1, part.every))
        return steps - set(self.without)


class Steps(Strict):
    """How the checkpoints of a training run are named and what they had seen.

    tokens: those of one step. last: the step that the member itself is, named by the first branch unless the member
    says otherwise; of an earlier phase its last one. before: tokens seen before the first step. warmup: the step at which
    the warm-up of the learning rate ends. repo: where the intermediate ones lie, with {repo} for the member's own.
    """

    before: int = Field(0, ge=0)
    tokens: int = Field(ge=1)
    last: int = Field(ge=1)
    warmup: int | None = None
    repo: str = "{repo}"
    branches: list[Branch] = Field(min_length=1)

    def revision(self, step: int) -> str | None:
        """The name of the revision at `step`, or None if there is none."""
        for branch in self.branches:
            if step in branch.steps(self.last) or step == self.last:
                return branch.revision.format(step=step, billions=ceil(step * self.tokens / 10**9))
        return None

    def seen(self, step: int) -> int:
        """Tokens that the model has seen at `step`."""
        return self.before + step * self.tokens

    def available(self) -> list[int]:
        """Every step that has a revision."""
        return sorted({self.last}.union(*(branch.steps(self.last) for branch in self.branches)))


class Family(Strict):
    """Checkpoints of one recipe of pretraining: the facts of all, and of each member by its id.

    tuned_from: the family that these were tuned from, each from the member of its size, for chat or by preferences; they
    have the role `reference` unless a study says otherwise.
    """

    tuned_from: str | None = None
    shared: dict = {}
    members: dict[str, dict]


def members(families: dict[str, dict], merge: Callable[[dict, dict], dict]) -> dict[str, dict]:
    """Every member with the facts of its family, by id, `steps` among them.

    One with `runs` stands for several of the same shape, ID-RUN with the tokens of each; {id} in a path is that id.
    """
    checkpoints = {}
    for name, data in families.items():
        family = validation.validate(Family, data, FILE, name)
        for id, own in family.members.items():
            member = merge({"family": name} | family.shared, own)
            for run, tokens in member.pop("runs", {None: None}).items():
                key = id if run is None else f"{id}-{run}"
                if key in checkpoints:
                    raise ValueError(f"the checkpoint {key} is listed in two families")
                checkpoints[key] = (
                    member if run is None else member | {"tokens": tokens, "source": _with_path(member["source"], key)}
                )
    return checkpoints


def tuned_from(families: dict[str, dict]) -> dict[str, str]:
    """The families that were tuned from another one, each with that one."""
    return {name: data["tuned_from"] for name, data in families.items() if "tuned_from" in data}


def entry(member: dict) -> dict:
    """A member as an entry of the catalog: the end of its run."""
    member = {key: value for key, value in member.items() if key != "earlier"}
    steps = member.pop("steps", None)
    if steps is None:
        return member
    steps = validation.validate(Steps, steps, FILE, "steps")
    source = {"revision": steps.revision(steps.last)} | member["source"]
    return member | {"tokens": steps.seen(steps.last), "source": source}


def at_step(name: str, known: dict[str, dict]) -> dict | None:
    """The entry of `name` if it is MEMBER-stepNUMBER of a member with steps, or MEMBER-PHASENUMBER of one with phases;
    UserError if there is no such step."""
    match = re.fullmatch(r"(.+)-([a-z]+)(\d+)", name)
    if not match or match[1] not in known:
        return None
    member, phase, step = known[match[1]], match[2], int(match[3])
    runs = {"step": member["steps"]} if member.get("steps") else member.get("earlier", {})
    if phase not in runs:
        return None
    steps = validation.validate(Steps, runs[phase], FILE, f"{match[1]}.{phase}")
    revision = steps.revision(step)
    if revision is None:
        available = steps.available()
        nearest = [s for s in available if s < step][-1:] + [s for s in available if s > step][:1]
        raise UserError(
            f"{match[1]} has no checkpoint at {phase} {step}; the nearest: {' and '.join(map(str, nearest))}"
        )
    final = entry(member)
    if step == steps.last and member.get("steps"):
        return final
    source = final["source"] | {"repo": steps.repo.format(repo=final["source"]["repo"]), "revision": revision}
    warming = f"inside the warm-up of the learning rate, which ends at step {steps.warmup}"
    note = {"note": warming} if steps.warmup and step < steps.warmup else {}
    return final | {"tokens": steps.seen(step), "source": source, "schedule_finished": False} | note


def _with_path(source: dict, id: str) -> dict:
    return source | {"path": source["path"].format(id=id)}
