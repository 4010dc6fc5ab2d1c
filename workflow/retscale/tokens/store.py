"""Tokens by what they are made from: whoever needs them first makes them, and all others link to them."""

import shutil
from collections.abc import Callable
from pathlib import Path

from retscale.common.files import sha256
from retscale.errors import UserError
from retscale.provenance import publish
from retscale.tokens.card import TokensCard

# Shared by all studies run in this folder. May be deleted when no job runs.
STATE = Path(".state/tokens")
CARD = "json"  # the part of its name after the collection's, as for the other files


def shared(key: str, make: Callable[[Path], None]) -> list[Path]:
    """The files of `key`, the card last: made in an empty folder if they are not there, or not whole.

    One process makes them, while others that need them wait. What a killed one left is deleted.
    """
    folder = STATE / key
    with publish.workspace(STATE, key) as work:
        if not _is_whole(folder):
            make(work)
            shutil.rmtree(folder, ignore_errors=True)
            publish.publish(work, folder, [*sorted(path.name for path in work.iterdir() if path.name != CARD), CARD])
    return [*(folder / name for name in TokensCard.read(folder / CARD).files), folder / CARD]


def _is_whole(folder: Path) -> bool:
    try:
        card = TokensCard.read(folder / CARD)
        return all(sha256(folder / name) == digest for name, digest in card.files.items())
    except (OSError, UserError):
        return False
