"""What BM25 indexes of a text: its words without stop words, or their stems."""

from threading import Lock

import Stemmer  # ty: ignore[import-not-found] - it has no sources that a checker could read
from stop_words import get_stop_words

from retscale.common.words import words

# Lucene's English stop words; the library's list has 1,300, many of which mean something.
ENGLISH: list[str] = (
    "a an and are as at be but by for if in into is it no not of on or such that the their then there these they "
    "this to was will with"
).split()
SHORTEST = 2  # minimum length of a word, except in scripts without spaces


class Terms(dict):
    """The number of each word's term, in order of appearance: `names[term]`. A stop word has -1; so has, once these are
    `closed`, a word whose term is new."""

    def __init__(self, stopwords: str, stemmer: str):
        super().__init__(dict.fromkeys(stop_words(stopwords), -1))
        self.names: dict[str, int] = {}
        self.closed = False
        self._stem = str if stemmer == "none" else Stemmer.Stemmer(stemmer, maxCacheSize=0).stemWord
        self._lock = Lock()  # a stemmer serves one thread at a time

    def __missing__(self, word: str) -> int:
        with self._lock:
            term = self._stem(word)
            if self.closed:
                number = self.names.get(term, -1)
            else:
                number = self.names.setdefault(term, len(self.names))
            self[word] = number
        return number

    def close(self) -> list[int]:
        """Number the terms by the alphabet from here on, and take no further ones; the new numbers in the old order."""
        numbers = {term: number for number, term in enumerate(sorted(self.names))}
        new_numbers = [numbers[term] for term in self.names]
        self.update({word: new_numbers[number] for word, number in self.items() if number >= 0})
        self.names, self.closed = numbers, True
        return new_numbers

    def numbers(self, text: str) -> list[int]:
        """The numbers of a text's words."""
        return list(map(self.__getitem__, words(text, SHORTEST)))


def stop_words(language: str) -> list[str]:
    """The stop words that are one word by our rule; "aujourd'hui" is two."""
    if language in ("none", "english"):
        return ENGLISH if language == "english" else []
    return [split[0] for text in get_stop_words(language) if len(split := words(text)) == 1]
