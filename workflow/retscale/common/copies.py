"""When two texts count as the same."""

import hashlib
import re
from collections.abc import Iterable

import numpy as np
import regex

from retscale.common.words import fold, legible

# "Title -- " before a passage: BoolQ's training and test files have it, its dev file does not.
_HEAD = re.compile(r".{1,100}? -- ")
# A number with what belongs to it: 1.5, 20 000, 1/2, 10:30, 1e-5, 5%, 18+, and a sign before it, as in -5, $5, .5 and
# < 5. A hyphen after a letter, a digit or another hyphen is not a minus, as in covid-19 and 1939-1945.
_NUMBER = re.compile(r"\d+(?:(?<!\d{4})(?: \d{3})+(?!\d))?(?:[.,/:]\d+)*(?:e[-+]\d+)?(?: ?[%‰°]|\+(?! ?\.?\d))?")
_SIGN = regex.compile(r"(?:[\p{Sm}--=|~] ?|#)?(?:(?<![\w-])-)?(?:\p{Sc} ?)?(?:(?<![\w.])\.)?$", regex.V1)
_LONGEST = 7  # characters of a sign
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
# Besides numbers, these count: letters, currencies, and + and # after a letter (C++, C#, A+).
_DROPPED = regex.compile(r"[^\p{L}\p{M}\p{N}\p{Sc}+#]+|(?<![\p{L}\p{M}\p{N}+#])[+#]+")
_ASCII_DROPPED = str.maketrans(
    "", "", "".join(character for character in map(chr, range(128)) if not character.isalpha() and character != "$")
)


def plain(text: str) -> str:
    """`text` folded, with whitespace collapsed: the identity of a query or passage."""
    return " ".join(fold(text).split())


def untitled(text: str) -> str:
    """`text`, legible, with whitespace collapsed, without a leading "Title -- "."""
    text = " ".join(legible(text).split())
    return text[head.end() :] if (head := _HEAD.match(text)) else text


def key(text: str) -> str:
    """Equal for copies: texts that differ only in case, form of characters, whitespace, punctuation or a "Title -- ".

    Letters are joined; numbers stay apart and keep their signs. "Well-known!" is a copy of "well known" and "1,000 mg" of
    "1000mg"; "1.5" is not a copy of "15", "1 5", "-1.5" or "1.5%", nor "C++" of "C#".
    """
    text, parts, position = untitled(text), [], 0
    for number in _NUMBER.finditer(text):
        first, end = number.span()
        if not text[position:first].rstrip(" ")[-1:].isalnum():  # the common case: no sign in between
            first = _SIGN.search(text, max(position, first - _LONGEST), first).start()
        parts += _letters(text[position:first]), _THOUSANDS.sub("", text[first:end].replace(" ", ""))
        position = end
    return ";".join(filter(None, [*parts, _letters(text[position:])])) or text


def _letters(text: str) -> str:
    if text.isascii() and "+" not in text and "#" not in text:
        return text.translate(_ASCII_DROPPED)
    return _DROPPED.sub("", text)


def fingerprints(texts: Iterable[str]) -> np.ndarray:
    """A uint64 hash of each text, equal for copies. The chance that any two other texts of a hundred million collide is
    one in 4,000."""
    digests = (hashlib.blake2b(key(text).encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(b"".join(digests), np.uint64)
