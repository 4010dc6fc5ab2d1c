"""What the report is told besides the results: the study's own words, and facts that no job needed."""

from pydantic import BaseModel, ConfigDict


class Described(BaseModel):
    """Licence and origin of a data set or a model."""

    model_config = ConfigDict(extra="forbid")

    licence: str = ""
    origin: str = ""
    note: str | None = None


class ReportConfig(BaseModel):
    """The study's title, description and deviations; `machine` is the kind of machine that it is meant for."""

    model_config = ConfigDict(extra="forbid")

    title: str = ""
    description: str = ""
    deviations: list[str] = []
    machine: str = ""
    checkpoints: dict[str, Described] = {}
    training: Described = Described()
    text: dict[str, Described] = {}
    tasks: dict[str, Described] = {}
    icl: dict[str, Described] = {}
