"""Which tasks, recipes and checkpoints of a study differ in one thing alone, so that their scores are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from retscale.collect.comparisons import Comparisons
from retscale.study import catalog

if TYPE_CHECKING:
    from retscale.study.study import Study

# What need not be the same of a mixture and of a training on one of its parts: how often each part is used, and for how long.
OF_MIXTURES = {"weights", "max_pairs", "epochs", "keep", "instructions", "too_few"}


def of(study: Study) -> Comparisons:
    if study.published:
        return Comparisons()
    return Comparisons(asked=study.instructed, trained=_trained(study), mixed=_mixed(study), tuned=_tuned(study))


def _trained(study: Study) -> dict[str, str]:
    without = {
        _but_for(study, id, {"instructions", "keep"}): id
        for id in reversed(list(study.ladders))
        if not _instructs(study, id)
    }
    pairs = {
        id: without.get(_but_for(study, id, {"instructions", "keep"})) for id in study.ladders if _instructs(study, id)
    }
    return {id: other for id, other in pairs.items() if other and _shares(study, id, other)}


def _mixed(study: Study) -> dict[str, dict[str, str]]:
    mixed: dict[str, dict[str, str]] = {}
    mixtures = {id: list(study.mixture(id)) for id in study.ladders}
    for id, parts in mixtures.items():
        if len(parts) < 2:
            continue
        for other, alone in mixtures.items():
            alike = _but_for(study, other, OF_MIXTURES, mixture=False) == _but_for(
                study, id, OF_MIXTURES, mixture=False
            )
            if len(alone) == 1 and alone[0] in parts and alike and _shares(study, id, other):
                mixed.setdefault(id, {}).setdefault(alone[0], other)
    return mixed


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
    """Whether the recipes train a checkpoint in common."""
    return not set(study.trained[one]).isdisjoint(study.trained[other])


def _but_for(study: Study, recipe: str, keys: set[str], mixture: bool = True) -> str:
    """The rest of a recipe, with its data sets or without."""
    return f"{study.recipes[recipe].model_dump_json(exclude=keys)} {study.mixture(recipe) if mixture else ''}"
