"""Tables for a terminal, in Markdown and in LaTeX: the same cells, and no character that means something else there."""

import re

import pytest

from retscale.report.formats import FORMATS, Table, escape

SCORES = Table("scores", "lrr", ["model", "FLOPs", "R²"], [["d_24", "9.5 × 10⁻¹⁰", "−0.1"], ["a|b", "1", "–"]])
CLAIMS = Table("claims & more", "lpp", ["verdict", "claim", "estimate"], [["open", "it grows", "50%"]])


def test_a_terminal_has_columns_and_lines_of_wide_text():
    assert FORMATS["text"](SCORES) == [
        "scores",
        "model        FLOPs    R²",
        "d_24   9.5 × 10⁻¹⁰  −0.1",
        "a|b              1     –",
    ]
    assert FORMATS["text"](CLAIMS) == ["claims & more", "open  it grows: 50%"]


def test_markdown_has_as_many_cells_in_every_row():
    title, empty, *rows = FORMATS["markdown"](SCORES)
    assert (title, empty) == ("**scores**", "")
    assert rows[1] == "| --- | ---: | ---: |" and rows[3] == r"| a\|b | 1 | – |"
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {4}


def test_latex_is_a_float_with_rules():
    lines = FORMATS["latex"](SCORES)
    assert [line for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    assert r"model & FLOPs & R$^2$ \\" in lines and r"d\_24 & 9.5 $\times 10^{-10}$ & $-$0.1 \\" in lines
    assert r"\begin{tabular}{lp{.4\linewidth}p{.4\linewidth}}" in FORMATS["latex"](CLAIMS)
    assert r"\caption{claims \& more}" in FORMATS["latex"](CLAIMS)


@pytest.mark.parametrize("character", "&%$#_{}~^\\")
def test_what_latex_reads_as_its_own_is_escaped(character):
    left = re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}", "", escape(f"a{character}b"))
    assert left == "ab"
