"""Items made from running text: each builder returns (context, choices, gold) triples from texts and a generator."""

import re
from collections import Counter
from collections.abc import Callable
from random import Random

from retscale.icl.config import Continuation, FinalWord, Induction, Shuffle

Made = tuple[str, tuple[str, ...], int]

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_PLAIN = re.compile(r"[a-z]{3,}")


def final_word(config: FinalWord, texts: list[str], random: Random) -> list[Made]:
    """One sentence a text; its last word is a plain lower-case word that also ends another text's sentence."""
    found = []
    for text in texts:
        words, ends = text.split(), []
        for at, word in enumerate(words):
            if at >= 8 and word.endswith(".") and _PLAIN.fullmatch(word[:-1]):
                ends.append(at)
        if ends:
            at = random.choice(ends)
            found.append((" ".join(words[max(0, at - config.context_words) : at]), words[at][:-1]))
    counts = Counter(word for _, word in found)
    found = [(context, word) for context, word in found if counts[word] > 1]
    pool = [word for _, word in found]
    made = []
    for context, word in found:
        others: list[str] = []
        while len(others) < config.choices - 1:
            other = random.choice(pool)
            if other != word and other not in others:
                others.append(other)
        made.append(_shuffled(context, word, others, random))
    return made


def continuation(config: Continuation, texts: list[str], random: Random) -> list[Made]:
    """One item a text that is long enough."""
    need = config.context_words + config.words
    parts = [words[:need] for text in texts if len(words := text.split()) >= need]
    ends = [" ".join(words[config.context_words :]) for words in parts]
    made = []
    for i, words in enumerate(parts):
        others = [j if j < i else j + 1 for j in random.sample(range(len(parts) - 1), config.choices - 1)]
        made.append(_shuffled(" ".join(words[: config.context_words]), ends[i], [ends[j] for j in others], random))
    return made


def shuffle(config: Shuffle, texts: list[str], random: Random) -> list[Made]:
    """One sentence a text, if it has one of the right length whose words can be reordered often enough."""
    made = []
    for text in texts:
        sentences = [s for s in _SENTENCE_END.split(text) if config.min_words <= len(s.split()) <= config.max_words]
        if not sentences:
            continue
        words = random.choice(sentences).split()
        true, others = " ".join(words), set()
        for _ in range(10 * config.choices):
            if len(others) < config.choices - 1:
                others.add(" ".join(random.sample(words, len(words))))
                others.discard(true)
        if len(others) == config.choices - 1:
            made.append(_shuffled("", true, sorted(others), random))
    return made


def induction(config: Induction, texts: list[str], random: Random) -> list[Made]:
    """`config.items` random sequences over the frequent plain words of `texts`."""
    counts = Counter(word for text in texts for word in text.split() if _PLAIN.fullmatch(word))
    vocabulary = sorted(counts, key=lambda word: (-counts[word], word))[: config.vocabulary]
    made = []
    for _ in range(config.items):
        words = random.sample(vocabulary, config.words)
        made.append((" ".join(words * (config.repeats - 1) + words[:-1]), (words[-1],), 0))
    return made


def _shuffled(context: str, true: str, others: list[str], random: Random) -> Made:
    choices = [true, *others]
    random.shuffle(choices)
    return context, tuple(choices), choices.index(true)


BUILDERS: dict[str, Callable[..., list[Made]]] = {
    "final_word": final_word,
    "continuation": continuation,
    "shuffle": shuffle,
    "induction": induction,
}
