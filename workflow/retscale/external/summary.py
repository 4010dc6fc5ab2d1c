"""external.json: which published tables were read."""

from pydantic import BaseModel, Field

from retscale.common.tables import Summary


class Table(BaseModel):
    """A `file`, of which `rows` of so many `models` were taken; `elsewhere` counts rows of tasks that the study lacks.

    Where there is a folder of mteb's `results`, the rows are its files, and the `file` has parameters and tokens.
    """

    source: str
    file: str
    sha256: str
    models: int
    rows: int
    elsewhere: int
    results: str | None = Field(None, exclude_if=lambda results: results is None)


class ExternalSummary(Summary):
    """`absent`: for each model without a mean, the names of the `headline` that it lacks."""

    headline: list[str]
    tables: list[Table]
    absent: dict[str, list[str]]
