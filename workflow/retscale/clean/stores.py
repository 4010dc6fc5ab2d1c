"""What lies in `.state/`, which all studies run in this folder share, and serves no result and no unfinished job."""

import json
import os
from collections.abc import Callable
from pathlib import Path

from retscale import paths
from retscale.clean.listing import AT_WORK, Listing, Orphan, entries, orphan
from retscale.clean.orphans import at_work, require_no_link
from retscale.provenance import hash_cache
from retscale.tokens import store

# As evaluate/run.py has it, which is not imported, since torch would come along.
VECTORS = Path(".state/evaluate/vectors")


def orphans(others: list[Orphan]) -> Listing:
    """The stores that are of no use once `others`, the orphans among results and logs, are gone.

    Nothing is listed while a job runs, of whichever study. UserError if a store is behind a link.
    """
    gone = {one.path for one in others}
    is_used = {store.STATE: _tokens(gone), VECTORS: _vectors(gone), hash_cache.STATE: _hash}
    for folder in is_used:
        require_no_link(folder)
    if any(at_work([Path(folder, name) for name in names]) for folder, _, names in os.walk(paths.folder(""))):
        return Listing(spared={store.STATE.parent: AT_WORK})
    unused = [Path(entry) for folder, used in is_used.items() for entry in entries(folder) if not used(Path(entry))]
    return Listing([orphan(path) for path in unused])


def _tokens(gone: set[Path]) -> Callable[[Path], bool]:
    """Whether results are links to, or copies of, what is in a folder of tokens: they have the same card."""
    cards = {path.read_bytes() for path in paths.folder("").glob("*/tokens/**/*.json") if _stays(path, gone)}

    def is_used(folder: Path) -> bool:
        card = folder / store.CARD
        return card.is_file() and card.read_bytes() in cards

    return is_used


def _vectors(gone: set[Path]) -> Callable[[Path], bool]:
    """Whether an evaluation may resume with them: one of some study has begun and not ended well."""
    unfinished = any(_stays(path, gone) for path in paths.logs("").glob("*/evaluate/**/*.log~"))
    return lambda _: unfinished


def _hash(path: Path) -> bool:
    """Whether the file whose hash is kept in `path` is still there."""
    try:
        return os.path.exists(json.loads(path.read_bytes())["path"])
    except (OSError, ValueError, LookupError, TypeError):
        return False


def _stays(path: Path, gone: set[Path]) -> bool:
    return gone.isdisjoint((path, *path.parents))
