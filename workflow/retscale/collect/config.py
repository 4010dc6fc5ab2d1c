"""The spec of `collect`: which tasks and recipes count, and what each checkpoint is called."""

from typing import Literal

from pydantic import Field, model_validator

from retscale.collect.comparisons import Comparisons
from retscale.collect.repeats import Repeats
from retscale.common.strict import Strict
from retscale.external.config import PUBLISHED, Published
from retscale.reference.config import Reference


class Labels(Strict):
    """What a study says about a checkpoint besides how to get it. Only the role `fit` enters fits.

    `icl`: whether it has in-context scores where others have.
    """

    family: str
    size: str
    role: Literal["fit", "reference", "external"] = "fit"
    icl: bool = True


class Gauntlet(Strict):
    """A version of the in-context gauntlet: the tasks of each category and the categories of each average.

    `baselines`: what scores 0 in this version, of tasks that have another baseline of their own.
    """

    categories: dict[str, list[str]]
    averages: dict[str, list[str]]
    baselines: dict[str, float] = {}


class Spec(Strict):
    """The study's name, recipes and checkpoints, and the `headline`: what the mean over tasks is taken of, unweighted.

    Each entry is a task, {NAME: [NAME]}, or a group that counts as one, {NAME: [TASK, ...]}. `in_domain` are the tasks
    of the training data, in the same form: shown beside the others and in no mean, unless there are no others.
    `in_domain_by_recipe` names those of a recipe that does not train on the data of all of them.
    `beside` are all others, in the same form. `groups` are the study's own, {NAME: names of tasks or groups}: means of
    their own, which change no other. `contrasts` are tasks in no mean but those, and `cuts` says of each task that is a
    part of another of which: {TASK: WHOLE}. `comparisons`: tasks and recipes that differ in one thing. `encoders` were
    made elsewhere; `references` have no model; `untuned` recipes train nothing. `published`: how to read the results that
    the study consists of, instead of its own. `repeats` of recipes and checkpoints with further seeds than the study's own
    `seed` are not among `recipes`.
    """

    study: str
    headline: dict[str, list[str]] = Field(min_length=1)
    in_domain: dict[str, list[str]] = {}
    in_domain_by_recipe: dict[str, list[str]] = {}
    beside: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    contrasts: list[str] = []
    cuts: dict[str, str] = {}
    comparisons: Comparisons = Comparisons()
    recipes: list[str] = Field([PUBLISHED], min_length=1)
    untuned: list[str] = []
    repeats: Repeats = Repeats()
    main_recipe: str = PUBLISHED
    checkpoints: dict[str, Labels] = {}
    published: Published | None = None
    encoders: list[str] = []
    references: dict[str, Reference] = {}
    averages: dict[str, Gauntlet] = {}
    seed: int = 0

    def seed_of(self, recipe: str) -> int:
        """The seed of a recipe's fine-tuning, or of a repeat's."""
        return self.repeats.recipes[recipe].seed if recipe in self.repeats.recipes else self.seed

    @model_validator(mode="after")
    def _consistent(self) -> "Spec":
        if self.main_recipe not in self.recipes:
            raise ValueError(f"main_recipe {self.main_recipe!r} is not one of the recipes {self.recipes}")
        if not (self.checkpoints or self.published):
            raise ValueError("give `checkpoints` or `published`")
        return self
