"""Others' points in figures: hollow, in the table of marks, and no line of the study's own moves for them."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from test_collect_synthetic import collected

from retscale.collect.summary import CollectSummary
from retscale.common.tables import read_table
from retscale.external.config import Columns, Published
from retscale.external.run import run as external_run
from retscale.figure.config import FigureConfig
from retscale.figure.data import Tables
from retscale.figure.figures import draw
from retscale.figure.run import run
from retscale.figure.style import GRAY, rc
from retscale.fit.run import run as fit_run

pytestmark = pytest.mark.usefixtures("svg_only")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("study")
    source = collected(root)
    (root / "fit").mkdir()
    fit_run({"bootstrap": 200}, {"collect": source}, root / "fit")
    headline = list(CollectSummary.read(source).headline)
    card = read_table(source, "checkpoints").iloc[0]
    n_params, n_tokens = card["n_params"], card["n_tokens"]
    rows = [
        f"{name},{task},0.3,{n_params},{tokens}"
        for name, tokens in (("open", 2 * n_tokens), ("secret", ""))
        for task in headline
    ]
    rows.append(f"partial,{headline[0]},0.2,{n_params},{3 * n_tokens}")
    (root / "table.csv").write_text("\n".join(["model,task,ndcg_at_10,n_params,n_tokens", *rows]) + "\n")
    told = Published(
        source="a paper",
        metric="ndcg_at_10",
        models=None,
        names={name: name for name in headline},
        splits={},
        columns=Columns(n_params="n_params", n_tokens="n_tokens"),
    )
    out = root / "external"
    out.mkdir()
    external_run({"headline": headline, "tables": [told.model_dump()]}, {"tables": [root / "table.csv"]}, out)
    return {"collect": source, "fit": root / "fit" / "fit.json", "external": out / "external.json"}


def figure(inputs: dict, name: str, external: bool):
    tables = Tables(inputs["collect"], inputs["fit"], inputs["external"] if external else None)
    with matplotlib.rc_context(rc(FigureConfig())):
        return draw(name, tables, FigureConfig())


def lines(drawn, hollow: bool) -> list:
    """Coordinates of the gray hollow diamonds, or of all other lines but the bar of scale."""
    drawn_lines = [line for ax in drawn.figure.axes for line in ax.lines if line.get_color() != "black"]
    mine = [
        (line.get_marker(), line.get_markerfacecolor()) == ("D", "white") and line.get_color() == GRAY
        for line in drawn_lines
    ]
    return [
        line.get_xydata()
        for line, own in zip(drawn_lines, mine, strict=True)
        if own == hollow and len(line.get_xydata())
    ]


@pytest.mark.parametrize("name", ["1a", "1b", "2"])
def test_they_are_hollow_and_move_no_line(inputs, name):
    without, with_them = figure(inputs, name, False), figure(inputs, name, True)
    assert lines(without, True) == []
    assert len(lines(with_them, True)) == len([ax for ax in with_them.figure.axes if ax.lines])
    for before, after in zip(lines(without, False), lines(with_them, False), strict=True):
        np.testing.assert_array_equal(before, after)
    own = with_them.marks[with_them.marks["recipe"].notna()]
    pd.testing.assert_frame_equal(own.astype(object), without.marks.astype(object), check_dtype=False)
    others = with_them.marks[with_them.marks["recipe"].isna()]
    assert set(others["checkpoint"]) == ({"open", "partial"} if name == "2" else {"open"})
    assert others["low"].isna().all() and others["sha256"].notna().all()
    assert "a paper" in with_them.caption and "secret" in with_them.caption and "a paper" in with_them.alt
    assert ("lack a task of the mean: partial" in with_them.caption) == (name != "2")


@pytest.mark.parametrize("name", ["3", "ablation", "training"])
def test_other_figures_are_as_they_were(inputs, name, tmp_path):
    job = {"name": name, "dpi": 72}
    for folder, used in {"with": inputs, "without": inputs | {"external": None}}.items():
        (tmp_path / folder).mkdir()
        run(job, used, tmp_path / folder)
    assert (tmp_path / "with" / f"{name}.csv").read_bytes() == (tmp_path / "without" / f"{name}.csv").read_bytes()
    captions = [(tmp_path / folder / f"{name}.md").read_text() for folder in ("with", "without")]
    words, others = (caption.rpartition("\n\nMade from ")[0] for caption in captions)
    assert words == others != ""


def test_a_study_without_a_table_says_nothing_of_it(inputs):
    for name in ("1a", "1b", "2"):
        drawn = figure(inputs, name, False)
        assert "published" not in drawn.caption and "diamond" not in drawn.caption
