"""What the pairs stage reads of a study."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from retscale.text.wheel import WheelSource


class Fields(BaseModel):
    """The names of a row's fields.

    `negatives` may name a field with one text or a list of texts; they join the passage collection, where mining finds
    them, and are used as negatives as such with `mine: {method: given}`.
    """

    model_config = ConfigDict(extra="forbid")
    query: str = "query"
    passage: str = "positive"
    negatives: str | None = None


class WheelPairs(WheelSource, Fields):
    """Rows of an installed wheel."""


class FilePairs(Fields):
    """A parquet or jsonl file, a row a pair."""

    kind: Literal["folder"]
    path: str


class HubPairs(Fields):
    """Parquet or jsonl files (names or globs) of a hub data set; the only source that needs the network.

    A `revision` that is a tag or branch is resolved to a commit, which pairs.json states.
    """

    kind: Literal["hub"]
    repo: str
    revision: str = Field(min_length=1)
    files: list[str] = Field(min_length=1)


class Excluded(WheelSource):
    """Texts of a test: no training query or passage may equal one of them. `field` holds a text or a list of texts."""

    name: str
    field: str


class PairsConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")
    source: Annotated[WheelPairs | FilePairs | HubPairs, Field(discriminator="kind")]
    licence: str = ""
    origin: str = ""
    exclude: list[Excluded] = []
    # 13 words is the customary unit of contamination checks since GPT-3 (Brown et al. 2020, appendix C).
    near_words: int = Field(13, ge=5)
    near_share: float = Field(0.5, gt=0, le=1)
    max_pairs: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)
