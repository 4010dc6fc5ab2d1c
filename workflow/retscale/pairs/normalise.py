"""When two texts count as the same."""

import re

# "Title -- " before a passage: BoolQ's training and test files carry it, its dev file does not.
_HEAD = re.compile(r"^.{1,100}? -- ")
_WORD = re.compile(r"\w+")


def plain(text: str) -> str:
    """`text` without differences of case and white space: the identity of a query or passage in the collection."""
    return " ".join(text.casefold().split())


def key(text: str) -> str:
    """The letters and digits of `text` after a leading title: equal for copies that differ in case, white space,
    punctuation or a "Title -- " head."""
    return "".join(filter(str.isalnum, _HEAD.sub("", text).casefold())) or plain(text)


def words(text: str) -> list[str]:
    """The words of `text` after a leading title, without case and punctuation."""
    return _WORD.findall(_HEAD.sub("", text).casefold())


def runs(text: str, length: int) -> set[int]:
    """Hashes of all runs of `length` words; empty for a shorter text. Only for use within one process: Python salts
    them."""
    found = words(text)
    return {hash(tuple(found[i : i + length])) for i in range(len(found) - length + 1)}
