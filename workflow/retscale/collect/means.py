"""What a study averages over, by name: groups of tasks, and the headline mean."""

from collections.abc import Collection
from typing import Protocol

from retscale.common.phrase import counted

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
    """Whether a task behind `name` is a task of the training data, or a cut of one."""
    trained = {task for parts in study.in_domain.values() for task in parts}
    return not trained.isdisjoint({*tasks_of(name, study), *(study.cuts.get(task) for task in tasks_of(name, study))})


def compared_on(study: Averaged) -> tuple[list[str], list[str]]:
    """The tasks of the training data and the averages, beginning with the mean: those that are in-domain, and the zero-shot
    ones."""
    names = [*study.in_domain, MEAN, *study.groups]
    trained = [name for name in names if in_domain(name, study)]
    return trained, [name for name in names if name not in trained]


def averaged_over(study: Averaged) -> str:
    """What the mean is over: `14 zero-shot tasks`; `1 in-domain task` where the study has no other."""
    return counted(len(study.headline), f"{'in-domain' if in_domain(MEAN, study) else 'zero-shot'} task")
