"""The form of what a study names in a place of others: a repository of the hub, or a file below a folder."""

from pathlib import PurePosixPath
from typing import Annotated

from pydantic import AfterValidator, Field

# Some data sets have no owner. Neither can be taken for a path, an address or an option.
Repository = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*/)?[A-Za-z0-9][A-Za-z0-9_.-]*$")]
Revision = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][^\s\\~^:?*\[]*$")]


def below(path: str) -> str:
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        raise ValueError("must lie below its folder: neither `..` nor a path from the root")
    return path


# A path, or a glob, that leads nowhere but into its folder.
Below = Annotated[str, AfterValidator(below)]
