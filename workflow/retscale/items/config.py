"""Where the items of an in-context task are read: one jsonl file."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class JsonlSource(BaseModel):
    """One jsonl file, an item a line: `file` below `folder`, or else below `root` of a GitHub repository at a commit.

    `sha256` pins its bytes. In a folder the file may also lie without its own folders: folder/piqa.jsonl.
    """

    model_config = ConfigDict(extra="forbid")
    kind: Literal["jsonl"]
    file: Annotated[str, Field(pattern=r"\.jsonl$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    folder: str | None = None
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")] | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    root: str = ""

    @model_validator(mode="after")
    def _has_a_place(self) -> "JsonlSource":
        if self.folder is None and (self.repo is None or self.revision is None):
            raise ValueError(
                "name a `folder` that holds the file, or a `repo` and the commit `revision` to fetch it from"
            )
        return self

    @property
    def fetched(self) -> bool:
        """Whether it must be fetched before it can be read."""
        return self.folder is None

    def path_in_repo(self) -> str:
        return str(PurePosixPath(self.root, self.file))
