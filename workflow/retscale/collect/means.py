"""What a study averages over, by name: groups of tasks, and the headline mean."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Protocol

from retscale.common.phrase import counted

if TYPE_CHECKING:
    from retscale.collect.summary import StudySummary

MEAN = "mean"  # over the headline, beside the names of tasks and groups
# ArguAna's queries are passages of its own corpus that ask for their opposite, and most of Touché's relevant passages
# are unjudged (Thakur et al. 2024), so a reader may want to see the mean without these two.
ROBUST, LEFT_OUT = "mean-without-arguana-touche", {"arguana", "touche2020"}


class Averaged(Protocol):
    """A study, its spec of `collect`, or its summary in collect.json."""

    @property
    def headline(self) -> dict[str, list[str]]: ...

    @property
    def in_domain(self) -> dict[str, list[str]]: ...

    @property
    def beside(self) -> dict[str, list[str]]: ...

    @property
    def groups(self) -> dict[str, list[str]]: ...

    @property
    def contrasts(self) -> Collection[str]: ...

    @property
    def cuts(self) -> dict[str, str]: ...


def means(study: Averaged) -> dict[str, list[str]]:
    """Every average with the names that it is the unweighted mean of: tasks, or averages that come before it."""
    groups = {name: parts for name, parts in shown_tasks(study).items() if parts != [name]}
    robust = [name for name in study.headline if name.lower() not in LEFT_OUT]
    second = {ROBUST: robust} if 0 < len(robust) < len(study.headline) else {}
    return groups | study.groups | {MEAN: list(study.headline)} | second


def overall(study: Averaged) -> set[str]:
    """The averages over several tasks, without groups that count as one task."""
    return {MEAN, ROBUST, *study.groups}


def shown_tasks(study: Averaged) -> dict[str, list[str]]:
    """What counts as one task, with its tasks: single tasks and groups, those of the mean first, the contrasts last."""
    return study.headline | study.in_domain | study.beside | {name: [name] for name in study.contrasts}


def tasks_of(name: str, study: Averaged) -> list[str]:
    """The tasks behind a task, a group or the mean."""
    parts = means(study).get(name)
    return [name] if parts is None else [task for part in parts for task in tasks_of(part, study)]


def in_domain(name: str, study: Averaged) -> bool:
    """Whether a task behind `name` is a task of the data that any recipe trains on, or a cut of one."""
    return _behind(name, study.in_domain, study)


def in_domain_of(name: str, study: StudySummary, recipe: str) -> bool:
    """The same of the data that this recipe trains on."""
    return _behind(name, _trained_on(study, recipe), study)


def _behind(name: str, units: Iterable[str], study: Averaged) -> bool:
    trained, tasks = {task for unit in units for task in study.in_domain[unit]}, tasks_of(name, study)
    return not trained.isdisjoint({*tasks, *(study.cuts.get(task) for task in tasks)})


def _trained_on(study: StudySummary, recipe: str) -> list[str]:
    """The names of `in_domain` of a recipe; an encoder made elsewhere is compared on those of the main one."""
    known = recipe if recipe in study.recipes else study.main_recipe
    return study.in_domain_by_recipe.get(known, list(study.in_domain))


def once(units: dict[str, list[str]], study: StudySummary) -> dict[str, list[str]]:
    """The `units` without those that are asked with instructions and are there without as well: both are one task."""
    there = {task for parts in units.values() for task in parts} - set(study.contrasts)
    asked = {task for task, plain in study.comparisons.asked.items() if plain in there}
    return {name: parts for name, parts in units.items() if not set(parts) <= asked}


def own_tasks(study: StudySummary, recipe: str) -> list[str]:
    """What counts as one task and is of the data that a recipe trains on, each once."""
    return list(once({name: study.in_domain[name] for name in _trained_on(study, recipe)}, study))


def compared_on(study: StudySummary, recipe: str) -> tuple[list[str], list[str]]:
    """What the backbones of a recipe are compared on, in-domain and zero-shot: the recipe's own tasks and the averages with one
    of them; and the other averages, beginning with the mean."""
    averages = [MEAN, *study.groups]
    trained = [name for name in averages if in_domain_of(name, study, recipe)]
    return own_tasks(study, recipe) + trained, [name for name in averages if name not in trained]


def averaged_over(study: Averaged) -> str:
    """What the mean is over: `14 zero-shot tasks`; `1 in-domain task` where the study has no other."""
    return counted(len(study.headline), f"{'in-domain' if in_domain(MEAN, study) else 'zero-shot'} task")
