"""Which tasks, recipes and checkpoints of a study differ in one thing alone, so that their scores are compared."""

from __future__ import annotations

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
        asked=study.instructed, trained=_trained(study), mixed=mixed, own_tasks=own_tasks, tuned=_tuned(study)
    )


def _trained(study: Study) -> dict[str, str]:
    without = {
        _settings(study, id, {"instructions", "keep"}): id
        for id in reversed(list(study.ladders))
        if not _instructs(study, id)
    }
    pairs = {
        id: without.get(_settings(study, id, {"instructions", "keep"})) for id in study.ladders if _instructs(study, id)
    }
    return {id: other for id, other in pairs.items() if other and _shares(study, id, other)}


def _mixed(study: Study) -> dict[str, dict[str, str]]:
    mixed: dict[str, dict[str, str]] = {}
    mixtures = {id: list(study.mixture(id)) for id in study.ladders}
    for id, parts in mixtures.items():
        if len(parts) < 2:
            continue
        own = _settings(study, id, MIXTURE_KEYS, mixture=False)
        for other, alone in mixtures.items():
            alike = _settings(study, other, MIXTURE_KEYS, mixture=False) == own
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
    """Whether both recipes train one of the checkpoints."""
    return not set(study.trained[one]).isdisjoint(study.trained[other])


def _settings(study: Study, recipe: str, without: set[str], mixture: bool = True) -> str:
    """The settings of a recipe but for the keys `without`; `mixture`: with its data sets."""
    return f"{study.recipes[recipe].model_dump_json(exclude=without)} {study.mixture(recipe) if mixture else ''}"
