"""When two texts are copies, and what a word is, in several languages."""

import random
import re
import unicodedata

import pytest

from retscale.common.copies import fingerprints, key, plain, untitled
from retscale.common.words import words
from retscale.pairs.exclude import Excluder

COPIES = [
    ("Well-Known!", "well known", "well-known"),
    ("don't", "do n't", "DON’T"),
    ("1.5 mg", "1.5mg", "(1.5) mg."),
    ("1,000 women", "1000 women", "1 000 women", "1\u202f000 women"),
    ("5%", "5 %", "５％"),
    ("-5 °C", "−5°C", "－5 ℃"),
    ("$5", "$ 5", "＄5"),
    ("p<.05", "p < .05", "(p < .05)"),
    ("1/2 cup", "½ cup"),
    ("2½", "2 1/2"),
    ("10⁻⁵", "10^-5"),
    ("COVID-19", "covid 19", "covid19"),
    ("1939-1945", "1939–1945", "1939 - 1945"),
    ("C++", "c++.", "Ｃ＋＋"),
    ("Home Run -- It's  a\tderby.", "it s a DERBY", "Home\nRun --  its a derby"),
    ("naïve café", "nai\u0308ve cafe\u0301", "NAÏVE CAFÉ"),
    ("Straße", "STRASSE", "stra\u00adße"),
    ("Ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"),
    ("हिन्दी की किताब।", "हिन्दी की किताब"),
    ("日本語です。", "日本語です", "日本 語です"),
    ("ガーゼ", "ｶﾞｰｾﾞ", "カ\u3099ーセ\u3099"),
    ("한국어", unicodedata.normalize("NFD", "한국어")),
    ("می‌خواهم", "میخواهم"),
]
NO_COPIES = [
    ("1.5 mg", "15 mg", "1 5 mg", "1/5 mg", "1:5 mg", "-1.5 mg", "1.5% mg", ".15 mg"),
    ("C++", "C#", "C"),
    ("5", "-5", "5%", "5‰", "$5", "€5", "<5", ">5", "≤5", "±5", "5+", "#5", ".5", "-$5", "5°"),
    ("12", "1/2", "1⁄3", "1 2", "1:2", "21"),
    ("15", "1 5", "1,5", "1.5"),
    ("10⁵", "10⁻⁵", "105"),
    ("1e-5", "1e5", "15"),
    ("5 + 3", "5 3", "53"),
    ("one two", "one three"),
    ("की", "का", "क"),  # only the vowel signs differ
    ("ば", "は", "ぱ"),
    ("pêche", "péché", "peche"),
    ("???", "!!!", "?"),
    ("word " * 40 + "-- tail", "tail"),  # no title is so long
]


@pytest.mark.parametrize("texts", COPIES, ids=lambda texts: texts[0])
def test_copies_have_one_key(texts):
    assert len({key(text) for text in texts}) == 1 == len(set(fingerprints(texts).tolist())), list(map(key, texts))


@pytest.mark.parametrize("texts", NO_COPIES, ids=lambda texts: texts[0][:9])
def test_other_texts_have_other_keys(texts):
    assert len({key(text) for text in texts}) == len(texts), list(map(key, texts))


def some_texts(count: int) -> list[str]:
    """Random texts of what might go wrong: signs, digits, blanks, accents, marks, scripts with and without blanks."""
    generator = random.Random(0)
    pieces = list(" \t\n-+#$€%.,/:'\"<>=~−°½²⁻|") + "-- , C++ 1,000 1.5 20 000 1e-5 don't 10⁹ 5% ﬁ Ａ １".split(" ")
    pieces += list("abeEß019éÉΣςйЙका한가語がガ") + ["ｶﾞ", "e\u0301", "ก็", "\u200c", "\u00ad", "か\u3099", "。"]
    return ["".join(generator.choices(pieces, k=generator.randint(0, 9))) for _ in range(count)]


def test_a_key_does_not_change_with_form_case_or_blanks_and_is_its_own_key():
    for text in some_texts(8_000):
        for form in ("NFC", "NFD"):
            assert key(unicodedata.normalize(form, text)) == key(text), repr(text)
            assert plain(unicodedata.normalize(form, text)) == plain(text), repr(text)
        assert key(text.upper()) == key(text.lower()) == key(text), repr(text)
        assert key(f" {text}\n".replace(" ", "\u3000 ")) == key(text), repr(text)
        assert key(key(text)) == key(text), repr(text)
        assert plain(plain(text)) == plain(text) and untitled(text) == untitled(plain(text)), repr(text)
        assert words(unicodedata.normalize("NFD", text)) == words(text.upper()) == words(text), repr(text)


def test_a_test_of_other_numbers_or_another_form_is_kept_out_of_training_by_its_meaning():
    excluder = Excluder({"test": ["take 1.5 mg a day", "is C++ fast", "un café cre\u0300me"]})
    assert excluder.reasons("q", "Take 15 mg a day") == [] == excluder.reasons("is C# fast", "p")
    assert (
        excluder.reasons("q", "Take 1.5mg a day!")
        == excluder.reasons("q", "un cafe\u0301 crème")
        == ["passage in test"]
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The co-op's 3rd re_try, x", ["the", "co", "op", "s", "3rd", "re_try", "x"]),
        ("Cafe\u0301 ＣＡＦÉ ﬁn", ["café", "café", "fin"]),
        ("हिन्दी की किताब", ["हिन्दी", "की", "किताब"]),
        ("Илья́ идёт", ["илья́", "идёт"]),
        ("می‌خواهم بروم", ["میخواهم", "بروم"]),
        ("שָׁלוֹם", [unicodedata.normalize("NFKC", "שָׁלוֹם")]),
        ("東京都の2024年、猫", ["東京", "京都", "都の", "2024", "年", "猫"]),
        ("ｶﾞｰｾﾞとGPU", ["ガー", "ーゼ", "ゼと", "gpu"]),
        ("ภาษาไทย ดีมาก", ["ภา", "าษ", "ษา", "าไ", "ไท", "ทย", "ดีม", "มา", "าก"]),
        ("ខ្មែរ", ["ខ្មែ", "មែរ"]),
        ("မြန်မာ", ["မြန်", "န်မာ"]),
        ("한국어 말", ["한국", "국어", "말"]),
        ("…?!", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected == words(unicodedata.normalize("NFD", text))
    assert words(text, 2) == [word for word in expected if len(word) > 1 or word in "年猫말"]


def test_words_of_plain_english_are_those_of_a_regular_expression():
    for text in some_texts(20_000):
        text = text.encode("ascii", "ignore").decode()
        assert words(text, 2) == re.findall(r"\b\w\w+\b", text.lower())
        assert words(text) == re.findall(r"\w+", text.lower())
