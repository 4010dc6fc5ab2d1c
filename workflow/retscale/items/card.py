"""items.json: where the released file of an in-context task was fetched from, and its hash."""

from typing import ClassVar

from pydantic import Field

from retscale.common.artifact import Artifact


class ItemsCard(Artifact):
    """Of items.jsonl beside it, which has so many `lines`. `blob`: its name in git."""

    ensure_ascii: ClassVar[bool] = True

    id: str
    location: str = Field(alias="from")
    blob: str
    sha256: str
    lines: int
