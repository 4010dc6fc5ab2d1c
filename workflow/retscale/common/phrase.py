"""Phrases that messages share: a count with its noun, and what a misspelled name may have meant."""

import difflib
from collections.abc import Iterable

SHOWN = 5  # names; nobody reads a longer list


def noun(count: int, singular: str) -> str:
    """`task` for 1, else `tasks`; `queries` for `query`."""
    return singular if count == 1 else f"{singular[:-1]}ies" if singular.endswith("y") else f"{singular}s"


def counted(count: int, singular: str) -> str:
    """`1 task`, `12 tasks`, `2 queries`, `1,000 jobs`."""
    return f"{count:,} {noun(count, singular)}"


def closest(word: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` whatever the case of its letters, or nothing when no known name is near."""
    names = {name.lower(): name for name in sorted(known)}
    matches = difflib.get_close_matches(str(word).lower(), names, 1, 0.6)
    return f"; did you mean {names[matches[0]]!r}?" if matches else ""


def hint(word: object, known: Iterable[str], where: str = "") -> str:
    """What was meant by an unknown name; else all that are known, or of many the nearest and `where` all are listed."""
    names = sorted(known)
    if nearest := closest(word, names):
        return nearest
    if len(names) <= SHOWN:
        return f"; known: {', '.join(names) or 'none'}"
    nearest = difflib.get_close_matches(str(word), names, SHOWN, 0)
    return f"; the nearest of {len(names):,} known: {', '.join(nearest)}{f'; {where} has all' if where else ''}"
