"""The task.json files of a job, by the tasks of its spec."""

from collections.abc import Iterable
from pathlib import Path

from retscale.errors import UserError
from retscale.task.card import TaskCard


def by_task(tasks: Iterable[str], paths: Iterable[Path]) -> list[tuple[str, Path]]:
    """Each of `tasks` with its task.json, whatever the order of `paths`; UserError if one is missing."""
    files = {TaskCard.read(path).id: path for path in paths}
    if missing := [task for task in tasks if task not in files]:
        raise UserError(
            f"--tasks: no task.json of {', '.join(missing)}, which the spec names; given: {', '.join(files) or 'none'}"
        )
    return [(task, files[task]) for task in tasks]
