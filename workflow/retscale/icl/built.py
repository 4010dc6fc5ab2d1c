"""Items made from running text: each builder returns (context, choices, gold) triples from texts and a generator."""

import re
from collections import Counter
from collections.abc import Callable
from random import Random

from retscale.icl.config import Continuation, FinalWord, Induction, NextWord, Shuffle

Triple = tuple[str, tuple[str, ...], int]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_PLAIN = re.compile(r"[a-z]{2,}")


def final_word(config: FinalWord, texts: list[str], random: Random) -> list[Triple]:
    """One sentence a text; its last word is a plain lower-case word that also ends another text's sentence."""
    candidates = []
    for text in texts:
        words, ends = text.split(), []
        for at, word in enumerate(words):
            if at >= 8 and word.endswith(".") and _PLAIN.fullmatch(word[:-1]):
                ends.append(at)
        if ends:
            at = random.choice(ends)
            candidates.append((" ".join(words[max(0, at - config.context_words) : at]), words[at][:-1]))
    counts = Counter(word for _, word in candidates)
    candidates = [(context, word) for context, word in candidates if counts[word] > 1]
    return _against_each_other(candidates, config.choices, random)


def continuation(config: Continuation, texts: list[str], random: Random) -> list[Triple]:
    """One item a text that is long enough."""
    n_words = config.context_words + config.words
    passages = [words[:n_words] for text in texts if len(words := text.split()) >= n_words]
    pairs = [(" ".join(words[: config.context_words]), " ".join(words[config.context_words :])) for words in passages]
    return _against_each_other(pairs, config.choices, random)


def shuffle(config: Shuffle, texts: list[str], random: Random) -> list[Triple]:
    """One sentence a text, if it has one of the right length that can be reordered in enough ways."""
    triples = []
    for text in texts:
        sentences = [s for s in _SENTENCE_END.split(text) if config.min_words <= len(s.split()) <= config.max_words]
        if not sentences:
            continue
        words = random.choice(sentences).split()
        true, others = " ".join(words), set()
        for _ in range(10 * config.choices):
            if len(others) < config.choices - 1:
                others.add(" ".join(_swapped(words, config.swaps, random)))
                others.discard(true)
        if len(others) == config.choices - 1:
            triples.append(_shuffled("", true, sorted(others), random))
    return triples


def _swapped(words: list[str], swaps: int, random: Random) -> list[str]:
    """The first and the last word stay: capital and full stop would give the order away."""
    words = list(words)
    for _ in range(swaps):
        at = random.randrange(1, len(words) - 2)
        words[at], words[at + 1] = words[at + 1], words[at]
    return words


def next_word(config: NextWord, texts: list[str], random: Random) -> list[Triple]:
    """One word a text that is long enough."""
    triples = []
    for text in texts:
        words = text.split()
        places = [at for at in range(config.context_words, len(words)) if _PLAIN.fullmatch(words[at])]
        if places:
            at = random.choice(places)
            triples.append((" ".join(words[at - config.context_words : at]), (words[at],), 0))
    return triples


def induction(config: Induction, texts: list[str], random: Random) -> list[Triple]:
    """`config.items` random sequences over the frequent plain words of `texts`."""
    counts = Counter(word for text in texts for word in text.split() if _PLAIN.fullmatch(word))
    vocabulary = sorted(counts, key=lambda word: (-counts[word], word))[: config.vocabulary]
    triples = []
    for _ in range(config.items):
        words = random.sample(vocabulary, config.words)
        triples.append((" ".join(words * (config.repeats - 1) + words[:-1]), (words[-1],), 0))
    return triples


def _against_each_other(pairs: list[tuple[str, str]], n_choices: int, random: Random) -> list[Triple]:
    """Items of (context, right choice) pairs, whose wrong choices are right ones of other items."""
    pool, triples = [true for _, true in pairs], []
    if len(set(pool)) < n_choices:
        return []
    for context, true in pairs:
        others: list[str] = []
        while len(others) < n_choices - 1:
            other = random.choice(pool)
            if other != true and other not in others:
                others.append(other)
        triples.append(_shuffled(context, true, others, random))
    return triples


def _shuffled(context: str, true: str, others: list[str], random: Random) -> Triple:
    choices = [true, *others]
    random.shuffle(choices)
    return context, tuple(choices), choices.index(true)


BUILDERS: dict[str, Callable[..., list[Triple]]] = {
    "final_word": final_word,
    "continuation": continuation,
    "shuffle": shuffle,
    "next_word": next_word,
    "induction": induction,
}
