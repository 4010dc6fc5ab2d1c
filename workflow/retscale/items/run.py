"""The stage `items`: items.jsonl, the file of one in-context task as released, and items.json with its hash."""

import hashlib
from pathlib import Path

from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.items import repository
from retscale.items.card import ItemsCard
from retscale.items.config import Spec


def run(values: dict, inputs: dict, out: Path) -> None:
    """Fetch the file that `spec` names; raises UserError if it cannot be fetched or is not the pinned one."""
    spec = Spec.model_validate(values)
    source = spec.source
    location = f"{source.path_in_repo()} of {source.url()} at {source.revision}"
    say(f"fetching {location}")
    try:
        content, blob = repository.read(source.url(), source.revision, source.path_in_repo(), out)
    except repository.FetchError as error:
        raise UserError(
            f"cannot fetch {location}: {error}; check repository, commit and network, or name a local clone as "
            f"`repo`, or a `folder` that contains {source.file}"
        ) from None
    digest = hashlib.sha256(content).hexdigest()
    say(f"{len(content)} bytes, sha256 {digest}")
    if source.sha256 not in (None, digest):
        raise UserError(
            f"{location} has the sha256 {digest}, but {source.sha256} is pinned; it is not the released file"
        )
    (out / "items.jsonl").write_bytes(content)
    metadata = {"id": spec.id, "from": location, "blob": blob, "sha256": digest, "lines": content.count(b"\n")}
    ItemsCard.write(out / "items.json", metadata)
