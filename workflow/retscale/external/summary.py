"""external.json: which published tables were read."""

from pydantic import BaseModel, Field

from retscale.common.tables import Summary


class Table(BaseModel):
    """A published table: `rows` on tasks of the study, of this number of `models`, and `elsewhere` rows on other tasks.

    With a folder of mteb's `results`, rows are its files, and the `file` has parameters and tokens only.
    """

    source: str
    file: str
    sha256: str
    models: int
    rows: int
    elsewhere: int
    results: str | None = Field(None, exclude_if=lambda results: results is None)


class ExternalSummary(Summary):
    """`absent`: for each model without a mean, the tasks of the `headline` that it lacks."""

    headline: list[str]
    tables: list[Table]
    absent: dict[str, list[str]]
