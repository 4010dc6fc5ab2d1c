"""What a hub says about a repository, accepted only in the form that it must have.

A hub may be anybody's. Its strings become paths, comparisons and lines on a terminal, so that commits and hashes are of
hexadecimal digits, and names of files lead nowhere but into their folder, before anything else is done with them.
"""

import re
from collections.abc import Iterable
from typing import Annotated, TypeVar
from urllib.parse import quote

from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status, validate_repo_id
from pydantic import BaseModel, FailFast, Field, NonNegativeInt, ValidationError

from retscale.errors import UserError
from retscale.hub.client import prepare

COMMIT = re.compile("[0-9a-f]{40}")
BLOB = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")  # the cache's name for a file: its git id, or of a large one the sha256

GitId = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
T = TypeVar("T", bound=BaseModel)


class Large(BaseModel):
    """The part of a file that git LFS holds."""

    sha256: Sha256
    size: NonNegativeInt


class File(BaseModel):
    name: str = Field(alias="rfilename")
    git_id: GitId = Field(alias="blobId")
    size_in_git: NonNegativeInt = Field(alias="size")
    lfs: Large | None = None

    @property
    def size(self) -> int:
        """Bytes, on the wire and on the disk."""
        return self.lfs.size if self.lfs else self.size_in_git

    @property
    def blob(self) -> str:
        """Its name in the cache, which states its content."""
        return self.lfs.sha256 if self.lfs else self.git_id


class Tip(BaseModel):
    sha: GitId


class Listing(Tip):
    """A commit and all its files."""

    siblings: Annotated[list[File], FailFast()]  # one fault is enough: each takes a hundred times its bytes


class Ref(BaseModel):
    name: str


class Refs(BaseModel):
    branches: Annotated[list[Ref], FailFast()]
    tags: Annotated[list[Ref], FailFast()]


def listing(repo: str, revision: str, kind: str) -> Listing:
    return _query(Listing, repo, kind, f"revision/{quote(revision, safe='')}?blobs=true")


def tip(repo: str, revision: str, kind: str) -> str:
    """The commit that a revision stands for."""
    return _query(Tip, repo, kind, f"revision/{quote(revision, safe='')}").sha


def refs(repo: str, kind: str = "model") -> list[str]:
    """Names of the branches and tags of a repository."""
    answer = _query(Refs, repo, kind, "refs")
    return [ref.name for ref in (*answer.branches, *answer.tags)]


def is_path(name: str) -> bool:
    """Whether a name is a relative path without `..` that can be printed."""
    return name.isprintable() and not {"", ".", ".."} & set(name.split("/"))


def check_names(names: Iterable[str], source: str) -> None:
    """UserError unless each is the name of a file within a folder."""
    for name in names:
        if not is_path(name):
            raise UserError(f"{source} lists a file {quoted(name)}, which leads out of its folder or cannot be printed")


def quoted(text: str, length: int = 80) -> str:
    """A text of a stranger as it may be printed: quoted, on one line, without control characters, not long."""
    return repr(text if len(text) <= length else f"{text[:length]}...")


def printable(line: str) -> str:
    """The same where the text is to stay as it is unless it must not be printed so."""
    return line if line.isprintable() and len(line) <= 300 else quoted(line, 300)


def _query(model: type[T], repo: str, kind: str, rest: str) -> T:
    """An answer of the hub's API, which UserError refuses unless it has the form of `model`."""
    prepare()
    validate_repo_id(repo)
    response = get_session().get(f"{constants.ENDPOINT}/api/{kind}s/{repo}/{rest}", headers=build_hf_headers())
    hf_raise_for_status(response)
    try:
        return model.model_validate_json(response.content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its answer"
        value = "" if first["type"] == "missing" else f" ({quoted(str(first['input']))})"
        raise UserError(
            f"the hub describes {repo} in an unexpected form: {where}{value}: {first['msg']}; nothing was fetched; "
            "check HF_ENDPOINT"
        ) from None
