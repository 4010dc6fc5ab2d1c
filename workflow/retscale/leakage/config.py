"""What the leakage stage is told."""

from pydantic import BaseModel, ConfigDict, Field


class Task(BaseModel):
    """Nothing is said of a task but its name."""

    model_config = ConfigDict(extra="forbid")


class Job(BaseModel):
    """What one job of this stage is told: the tasks whose texts are looked for."""

    model_config = ConfigDict(extra="forbid")
    tasks: dict[str, Task] = Field(min_length=1)
