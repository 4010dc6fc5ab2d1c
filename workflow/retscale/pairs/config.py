"""What the pairs stage reads of a study."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from retscale.common.places import Repository, Revision
from retscale.common.strict import Strict
from retscale.common.wheel import WheelSource
from retscale.items.config import JsonlSource

FORMATS = (".parquet", ".jsonl", ".jsonl.gz")


class Fields(Strict):
    """The names of a row's fields. A passage is a text, or an object of `title` and `text`, which are joined.

    `passage` names a field with one positive or a list of them, each of which makes a pair. `negatives` names a field
    with one passage or a list, or is a glob of several such (`negative_*`); they join the passage collection, where
    mining finds them, and are used as negatives as such with `mine: {method: given}`. `title` names a field with a title
    that precedes all passages of the row.
    """

    query: str = "query"
    passage: str = "positive"
    negatives: str | None = None
    title: str | None = Field(None, exclude_if=lambda title: title is None)


class Text(Strict):
    """The name of the field that holds a passage: a text, or an object of `title` and `text`."""

    text: str = "text"


class File(Strict):
    """A parquet or jsonl file (also .gz), one row per query or passage."""

    kind: Literal["file"]
    path: str

    def file(self) -> Path:
        return Path(self.path).expanduser()

    def files(self) -> list[Path]:
        """The file, if it exists."""
        return [self.file()] if self.file().is_file() else []


LOCAL = {"file": File}  # by kind: the sources that read files of the user's, which their `files` lists


class HubFiles(Strict):
    """Parquet or jsonl files (also .gz; names or globs) of a hub data set; the only source that needs the network.

    A `revision` that is a tag or branch is resolved to a commit, which pairs.json records.
    """

    kind: Literal["hub"]
    repo: Repository
    revision: Revision
    files: list[Annotated[str, Field(min_length=1)]] = Field(min_length=1)


class WheelPairs(WheelSource, Fields):
    """Rows of an installed wheel."""


class FilePairs(File, Fields):
    """Rows of a file, one row per query."""


class HubPairs(HubFiles, Fields):
    """Rows of files of the hub, one row per query."""


class FilePassages(File, Text):
    """Passages of a file."""


class HubPassages(HubFiles, Text):
    """Passages of files of the hub."""


class Excluded(WheelSource):
    """Texts of a test: no training query or passage may equal one of them. `field` holds a text or a list of texts,
    from which the regular expression `strip` is removed.
    """

    name: str
    field: str
    strip: str | None = None


class HeldOut(Strict):
    """A held-out test that is not in a wheel: an in-context task, whose items have their texts in `fields` and are at
    `source` unless a job has fetched them, or a retrieval task, which a job has read.
    """

    fields: list[str] = []
    source: JsonlSource | None = None


class PairsConfig(Strict):
    source: Annotated[WheelPairs | FilePairs | HubPairs, Field(discriminator="kind")]
    # Further passages for mining, besides those of the rows, such as a whole corpus.
    collection: Annotated[FilePassages | HubPassages, Field(discriminator="kind")] | None = None
    # Tasks that measure what it trains and so are not zero-shot: they share its distribution, as its test split does.
    tasks: list[str] = []
    licence: str = ""
    origin: str = ""
    exclude: list[Excluded] = []
    # 13 words is the customary unit of contamination checks since GPT-3 (Brown et al. 2020, appendix C).
    near_words: int = Field(13, ge=5)
    near_share: float = Field(0.5, gt=0, le=1)
    max_pairs: int | None = Field(None, ge=1)
    seed: int = Field(0, ge=0)


class Spec(PairsConfig):
    """The spec of one job of this stage: one training data set, and the held-out tests that are not in a wheel."""

    id: str
    held_out: dict[str, HeldOut] = {}
