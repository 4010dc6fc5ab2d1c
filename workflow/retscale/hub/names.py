"""Names of revisions: those that exist, and which are meant where one does not."""

import difflib
import re
from collections.abc import Iterable

from retscale.hub.listing import printable

LONGEST = 255  # characters; git has no longer ones
_NUMBER = re.compile(r"\d+")


def unknown(repo: str, revision: str, known: Iterable[str]) -> str:
    return f"{repo} has no revision {revision!r}; {nearest(revision, known)}"


def nearest(name: str, known: Iterable[str], count: int = 4) -> str:
    """`the nearest that exist: a, b`: names that differ in their numbers only, by how much, or else in their letters."""
    known = sorted({name for name in known if len(name) <= LONGEST})
    alike = [other for other in known if _NUMBER.sub("#", other) == _NUMBER.sub("#", name)]
    closest = sorted(alike, key=lambda other: _distance(name, other)) or difflib.get_close_matches(
        name, known, count, 0.4
    )
    if not closest:
        closest = known
    more = f" and {len(known) - count} more" if len(closest) > count and not alike else ""
    names = ", ".join(map(printable, closest[:count]))
    return f"the nearest that exist: {names}{more}" if closest else "it has no branches and no tags"


def _distance(name: str, other: str) -> list[int]:
    """How far apart the numbers of two names are, the first number first."""
    return [abs(int(a) - int(b)) for a, b in zip(_NUMBER.findall(name), _NUMBER.findall(other), strict=True)]
