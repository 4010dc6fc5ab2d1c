"""Figures of four shapes of study: nothing overlaps or runs off, every text and mark can be read."""

from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import shapes
from drawn import require_legible
from matplotlib.colors import to_rgb

from retscale.collect import run as collected
from retscale.figure import figures, looks, style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Tables
from retscale.fit import backtest
from retscale.fit import run as fit
from retscale.fit.config import FitConfig
from retscale.study import load, source_files, specs

NAMES = tuple(name for name in figures.FIGURES if name != "ablation")
CONFIG = FigureConfig()
CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "config"


@pytest.fixture(scope="module", params=[*shapes.SHAPES, "published"])
def tables(request, tmp_path_factory):
    out = tmp_path_factory.mktemp(request.param)
    if request.param == "published":
        study = load.study(CONFIG_FOLDER / "published.yaml")
        models, scores = (CONFIG_FOLDER.parent / path for path in source_files.published(study))
        collected.run(specs.collect(study), {"models": models, "published": [scores]}, out)
        collect = out / "collect.json"
    else:
        collect = shapes.write_collected(shapes.SHAPES[request.param], out)
    hold_out = backtest.hold_out
    with pytest.MonkeyPatch.context() as patch:  # most of the time, and figures draw those of means alone
        patch.setattr(
            backtest,
            "hold_out",
            lambda ladder, alpha, prior, within: (
                hold_out(ladder, alpha, prior, within) if prior.sd == FitConfig().size_sd_mean else []
            ),
        )
        fit.run({"bootstrap": 200}, {"collect": collect}, out)
    return Tables(collect, out / "fit.json")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_overlaps_or_runs_off_the_page(tables, name, monkeypatch):
    with matplotlib.rc_context(style.rc(CONFIG)):
        figure = figures.draw(name, tables, CONFIG).figure
        require_legible(figure, monkeypatch)
        matplotlib.pyplot.close(figure)


def test_pairs_are_those_of_the_table(tables):
    expected = tables.table("isoflop_pairs").query("iso_flop and adjusted.notna()")
    with matplotlib.rc_context(style.rc(CONFIG)):
        drawn = figures.draw("pairs", tables, CONFIG).marks
        matplotlib.pyplot.close("all")
    assert len(drawn) == {12: 2, 27: 9}.get(len(tables.points["checkpoint"].unique()), len(expected))
    key = ["checkpoint_small", "checkpoint_large"]
    drawn = drawn.rename(columns={"checkpoint": key[1]}).set_index(key)[["x", "low", "high"]].sort_index()
    expected = expected.set_index(key)[["adjusted", "low", "high"]].sort_index()
    np.testing.assert_allclose(drawn.to_numpy(float), expected.to_numpy(float))


def luminance(color: tuple[float, float, float]) -> float:
    """Relative luminance (WCAG 2)."""
    channels = np.array(color)
    return float(
        np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722]
    )


# Machado et al. 2009, severity 1, on linear RGB.
DEFICIENCIES = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def test_every_mark_has_contrast_with_white(tables):
    colors = looks.looks(tables.points, CONFIG).colors.values()
    for color in [*colors, to_rgb(style.GRAY), to_rgb(CONFIG.trend), to_rgb(CONFIG.accent)]:
        assert 1.05 / (luminance(color) + 0.05) >= 3


def lightness(linear: np.ndarray) -> float:
    """CIE L*, 0 to 100, of linear RGB."""
    y = float(np.clip(linear, 0, 1) @ [0.2126, 0.7152, 0.0722])
    return 116 * y ** (1 / 3) - 16 if y > 216 / 24389 else y * 24389 / 27


def test_sizes_are_distinct_in_gray_and_to_the_color_blind():
    """Of as many sizes as a legend lists, each is lighter than the smaller one by 5 of L*: 2 can be told apart."""
    scale = matplotlib.colormaps[CONFIG.palette]
    colors = [to_rgb(scale(x)) for x in np.linspace(CONFIG.palette_from, CONFIG.palette_to, looks.LISTED)]
    for matrix in (np.eye(3), *DEFICIENCIES.values()):
        seen = [lightness(np.array(matrix) @ np.array(color) ** 2.2) for color in colors]
        assert min(second - first for first, second in pairwise(seen)) > 5


def test_of_few_sizes_each_has_a_marker_of_its_own(tables):
    look = looks.looks(tables.points, CONFIG)
    assert look.bar == (tables.points["family"].nunique() > 1 or tables.points["size"].nunique() > 8)
    names = tables.points["family"] if look.bar else tables.points["size"]
    assert len(set(look.markers.values())) == names.nunique()


def test_a_scale_is_a_round_number_below_half_the_span():
    from retscale.figure.fig2 import round_scale

    assert [round_scale(span) for span in (1.0, 0.41, 0.39, 0.09, 0.0)] == [0.5, 0.2, 0.1, 0.02, 0.0001]
