"""What a word is: the same for BM25, near copies of a test, and leakage."""

import re
from itertools import pairwise
from unicodedata import is_normalized, normalize

import regex

# Scripts written without spaces: those of China and Japan, and LB=SA (Thai, Lao, Khmer, Myanmar and related scripts);
# and Hangul, whose words end in particles. As in Lucene's CJKAnalyzer, their words are pairs of adjacent characters.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}ー〆\p{Bopomofo}\p{Hangul}\p{LB=SA}"
_RUN = regex.compile(rf"[{_UNSPACED}]")
_CHARACTER = regex.compile(r".\p{M}*")
_WORD = regex.compile(rf"(?:[{_UNSPACED}]\p{{M}}*)+|[\p{{L}}\p{{M}}\p{{N}}_--{_UNSPACED}]+", regex.V1)
# Where Python's own \w suffices and is five times as fast: Latin, Greek, Cyrillic and signs, without combining marks.
_SIMPLE = re.compile("[\0-\u02ff\u0370-\u0482\u048a-\u052f\u1e00-\u20cf\u2100-\u2bff]*")
_SIMPLE_WORD = re.compile(r"\w+")
_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}--\u200b]", regex.V1)  # U+200B separates words
_RAISED = regex.compile(r"(?<=\d)(?=[⁻\p{No}--\d])", regex.V1)


def fold(text: str) -> str:
    """`text` with case, compatible characters (NFKC: full width, ligatures) and the composition of accents unified.
    10⁻⁹ becomes 10^-9, not 10-9."""
    if text.isascii():
        return text.lower()
    if not is_normalized("NFKC", text):
        text = normalize("NFKC", _RAISED.sub("^", text))
    return text.casefold()


def legible(text: str) -> str:
    """The same without invisible characters, and with one form of minus and of slash."""
    text = fold(text)
    if text.isascii():
        return text
    # Case folding decomposes some letters; \u2044 is the slash of NFKC's fractions.
    text = normalize("NFKC", _INVISIBLE.sub("", text))
    return text.replace("\u2212", "-").replace("\u2044", "/")


def words(text: str, shortest: int = 1) -> list[str]:
    """The words of `text`, legible: runs of letters, digits, `_` and combining marks, of at least `shortest` characters;
    in scripts without spaces, every pair of adjacent characters, or a character on its own."""
    text = legible(text)
    if text.isascii() or _SIMPLE.fullmatch(text):
        result = _SIMPLE_WORD.findall(text)
        return result if shortest == 1 else [word for word in result if len(word) >= shortest]
    result = []
    for word in _WORD.findall(text):
        if _RUN.match(word):
            result += _pairs(word)
        elif len(word) >= shortest:
            result.append(word)
    return result


def _pairs(run: str) -> list[str]:
    characters = _CHARACTER.findall(run)
    return [a + b for a, b in pairwise(characters)] or characters
