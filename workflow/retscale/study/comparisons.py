"""Which tasks, recipes and checkpoints of a study differ in one thing alone, so that their scores are compared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from retscale.collect.comparisons import Comparisons
from retscale.study import catalog

if TYPE_CHECKING:
    from retscale.study.study import Study

# Keys in which a recipe on a mixture and a recipe on one of its data sets may differ: what is used, and for how long.
MIXTURE_KEYS = {"weights", "max_pairs", "epochs", "keep", "instructions", "too_few"}


def of(study: Study) -> Comparisons:
    if study.published:
        return Comparisons()
    mixed = _mixed(study)
    own_tasks = {name: list(study.in_domain_of(study.pairs[name].tasks)) for parts in mixed.values() for name in parts}
    return Comparisons(
        asked=study.instructed,
        deciding=[task for task in study.instructed if study.tasks[task].own_instructions],
        trained=_trained(study),
        mixed=mixed,
        own_tasks=own_tasks,
        tuned=_tuned(study),
    )


def _trained(study: Study) -> dict[str, str]:
    pairs = {id: _without(study, id) for id in study.ladders if _instructs(study, id)}
    return {id: other for id, other in pairs.items() if other}


def _without(study: Study, recipe: str) -> str | None:
    """The first recipe that trains without instructions and else like `recipe`."""
    other_keys = {"instructions", "keep"}
    own = _settings(study, recipe, other_keys)
    return next(
        (
            id
            for id in study.ladders
            if not _instructs(study, id) and _settings(study, id, other_keys) == own and _shares(study, recipe, id)
        ),
        None,
    )


def _mixed(study: Study) -> dict[str, dict[str, str]]:
    mixtures = {id: list(study.mixture(id)) for id in study.ladders}
    pairs = {
        id: {name: other for name in parts if (other := _alone(study, id, name))}
        for id, parts in mixtures.items()
        if len(parts) > 1
    }
    return {id: others for id, others in pairs.items() if others}


def _alone(study: Study, mixture: str, data_set: str) -> str | None:
    """The recipe that trains on one data set of a mixture alone, with its instruction and else alike: of several the first
    of those with the most of its pairs."""

    def instruction(recipe: str) -> str | None:
        return study.recipes[recipe].instructions.get(data_set)

    own = _settings(study, mixture, MIXTURE_KEYS, mixture=False)
    alike = [
        id
        for id in study.ladders
        if list(study.mixture(id)) == [data_set]
        and instruction(id) == instruction(mixture)
        and _settings(study, id, MIXTURE_KEYS, mixture=False) == own
        and _shares(study, mixture, id)
    ]
    return max(alike, key=lambda id: study.recipes[id].max_pairs or math.inf, default=None)


def _tuned(study: Study) -> dict[str, str | None]:
    """The base of a checkpoint is the finished one of its size in the family that its own was tuned from."""
    families, checkpoints = catalog.tuned_from(), {id: study.checkpoints[id] for id in study.distinct_checkpoints}
    finished = {(one.family, one.size): id for id, one in checkpoints.items() if one.schedule_finished}
    return {
        id: finished.get((families[one.family], one.size)) for id, one in checkpoints.items() if one.family in families
    }


def _instructs(study: Study, recipe: str) -> bool:
    return bool(study.recipes[recipe].instructions)


def _shares(study: Study, one: str, other: str) -> bool:
    """Whether both recipes train one of the checkpoints."""
    return not set(study.trained[one]).isdisjoint(study.trained[other])


def _settings(study: Study, recipe: str, without: set[str], mixture: bool = True) -> str:
    """The settings of a recipe but for the keys `without`; `mixture`: with its data sets."""
    return f"{study.recipes[recipe].model_dump_json(exclude=without)} {study.mixture(recipe) if mixture else ''}"
