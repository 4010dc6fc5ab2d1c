"""docs/portes2025.md is what its program computes, and that is what a pencil computes."""

import importlib.util
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "docs" / "portes2025.py"


@pytest.fixture(scope="module")
def portes():
    made = importlib.util.spec_from_file_location("portes2025", PROGRAM)
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module


def test_the_page_in_the_repository_is_the_computed_one(portes):
    assert portes.PAGE.read_text(encoding="utf-8") == portes.page(), "run: python docs/portes2025.py"


def test_only_the_cell_of_350m_at_250_lies_off_its_label(portes):
    per_param = {cell.id: cell.tokens / portes.SIZES[cell.size].printed for cell in portes.cells()}
    off = {cell.id for cell in portes.cells() if abs(per_param[cell.id] / cell.label - 1) > 0.01}
    assert off == {"mpt-350m-tpr250"} and per_param["mpt-350m-tpr250"] == pytest.approx(200)
    assert len(per_param) == 27 and portes.page().count("| **") == 1


def test_the_pair_of_the_text_is_not_of_equal_compute(portes):
    cells = {cell.id: cell for cell in portes.cells()}
    small, large = cells["mpt-125m-tpr10000"], cells["mpt-1b-tpr20"]
    assert small.printed_flops == pytest.approx(6 * 151e6 * 1.51e12) and large.printed_flops == 6 * 1.26e9 * 25.2e9
    assert small.printed_flops / large.printed_flops == pytest.approx(7.18, abs=0.005)
    pairs = portes.near_pairs(portes.cells())
    assert len(pairs) == 15 and (large, small) not in pairs
    assert all(a.size != b.size and 1 <= b.printed_flops / a.printed_flops <= 1.25 for a, b in pairs)


def test_printed_totals_name_the_vocabulary_and_the_heads(portes):
    """To the last printed digit: 151M, 367M, 749M and 1.26B."""
    fits = {
        (vocabulary, share): all(
            round(portes.parameters(size, vocabulary, size.heads // share), -digits) == size.printed
            for size, digits in zip(list(portes.SIZES.values())[:4], (6, 6, 6, 7), strict=True)
        )
        for vocabulary, share in ((100_352, 4), (100_352, 1), (50_432, 1))
    }
    assert fits == {(100_352, 4): True, (100_352, 1): False, (50_432, 1): False}
    # The public MPT-7B has the last of the three shapes: its count is the loaded model's, checked elsewhere.
    assert portes.parameters(portes.SIZES["7B"], 50_432, 32) == 6_649_286_656
    for cell in portes.cells():
        size = portes.SIZES[cell.size]
        assert cell.n_params == portes.parameters(size, 100_352, size.heads // 4), cell.id
