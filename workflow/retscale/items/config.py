"""Where the items of an in-context task are read: one jsonl file."""

from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import Field, model_validator

from retscale.common.places import Below
from retscale.common.strict import Strict


class JsonlSource(Strict):
    """One jsonl file, one item per line: `file` below `folder`, or else below `root` of the git repository `repo`.

    `repo` is OWNER/NAME on GitHub, or else the URL (https, http, file) or the absolute path of any clone. The commit
    `revision` pins the bytes of whatever is fetched; `sha256` pins them wherever they come from. In a folder the file
    may also lie without its own folders: folder/piqa.jsonl.
    """

    kind: Literal["jsonl"]
    file: Annotated[Below, Field(pattern=r"\.jsonl$")]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    folder: str | None = None
    repo: Annotated[str, Field(pattern=r"^([\w.-]+/[\w.-]+|(https?|file)://[^@\s]+|[/~].*)$")] | None = None
    revision: Annotated[str, Field(pattern="^[0-9a-f]{40}$")] | None = None
    root: Below = ""

    @model_validator(mode="after")
    def _has_a_place(self) -> "JsonlSource":
        if self.folder is None and (self.repo is None or self.revision is None):
            raise ValueError(
                "name a `folder` that holds the file, or a `repo` and the commit `revision` to fetch it from"
            )
        return self

    @property
    def needs_fetch(self) -> bool:
        """Whether it must be fetched before it can be read."""
        return self.folder is None

    def find(self) -> Path | None:
        """The file below `folder`, with or without its path in the repository; None if it is missing."""
        folder = Path(self.folder).expanduser()
        candidates = (folder / self.file, folder / Path(self.file).name)
        return next((path for path in candidates if path.is_file()), None)

    def files(self) -> list[Path]:
        """The file, if it is read in place and exists; a fetched file is an output of the stage `items`."""
        path = None if self.needs_fetch else self.find()
        return [path] if path else []

    def url(self) -> str:
        """Where git finds the repository."""
        assert self.repo is not None, "what is fetched has a repository"
        if self.repo.startswith(("/", "~")):
            return str(Path(self.repo).expanduser())
        return self.repo if "://" in self.repo else f"https://github.com/{self.repo}"

    def path_in_repo(self) -> str:
        return str(PurePosixPath(self.root, self.file))


class Spec(Strict):
    """The spec of one job of this stage."""

    id: str
    source: JsonlSource
