"""The spec of the leakage stage."""

from pydantic import Field

from retscale.common.strict import Strict


class Task(Strict):
    """A task has no settings here but its name."""


class Spec(Strict):
    """The spec of one job of this stage: the tasks whose texts are looked for."""

    tasks: dict[str, Task] = Field(min_length=1)
