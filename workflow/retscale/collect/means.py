"""What a study averages over, by name: groups of tasks, and the headline mean."""

from typing import Protocol

from retscale.common.phrase import counted

MEAN = "mean"  # over the headline, beside the names of tasks and groups


class Averaged(Protocol):
    """A study, its spec of `collect`, or what collect.json says of it."""

    @property
    def headline(self) -> dict[str, list[str]]: ...

    @property
    def in_domain(self) -> dict[str, list[str]]: ...

    @property
    def groups(self) -> dict[str, list[str]]: ...


def means(study: Averaged) -> dict[str, list[str]]:
    """Every average with the names that it is over, unweighted; each is a task or an average that stands before it."""
    groups = {name: parts for name, parts in shown_tasks(study).items() if parts != [name]}
    return groups | study.groups | {MEAN: list(study.headline)}


def shown_tasks(study: Averaged) -> dict[str, list[str]]:
    """Every task outside a group, and every group that counts as one, with its tasks: those of the mean first."""
    return study.headline | study.in_domain


def tasks_of(name: str, study: Averaged) -> list[str]:
    """The tasks behind a task, a group or the mean."""
    parts = means(study).get(name)
    return [name] if parts is None else [task for part in parts for task in tasks_of(part, study)]


def in_domain(name: str, study: Averaged) -> bool:
    """Whether a task of the training data is, or is among, what stands behind `name`."""
    trained = {task for parts in study.in_domain.values() for task in parts}
    return not trained.isdisjoint(tasks_of(name, study))


def averaged_over(study: Averaged) -> str:
    """What the mean is over: `14 zero-shot tasks`; `1 in-domain task` where the study has no other."""
    return counted(len(study.headline), f"{'in-domain' if in_domain(MEAN, study) else 'zero-shot'} task")
