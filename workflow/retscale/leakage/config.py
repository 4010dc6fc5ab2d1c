"""The spec of the leakage stage."""

from pydantic import BaseModel, ConfigDict, Field


class Task(BaseModel):
    """Nothing is said of a task but its name."""

    model_config = ConfigDict(extra="forbid")


class Job(BaseModel):
    """The spec of one job of this stage: the tasks whose texts are looked for."""

    model_config = ConfigDict(extra="forbid")
    tasks: dict[str, Task] = Field(min_length=1)
