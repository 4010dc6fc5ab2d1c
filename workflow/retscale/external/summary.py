"""external.json: which published tables were read."""

from pydantic import BaseModel

from retscale.common.tables import Summary


class Table(BaseModel):
    """A `file`, of which `rows` of so many `models` were taken; `elsewhere` counts rows of tasks that the study lacks."""

    source: str
    file: str
    sha256: str
    models: int
    rows: int
    elsewhere: int


class ExternalSummary(Summary):
    """`absent`: for each model without a mean, the names of the `headline` that it lacks."""

    headline: list[str]
    tables: list[Table]
    absent: dict[str, list[str]]
