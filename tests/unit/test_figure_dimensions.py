"""The figures of the six dimensions: every mark is a row of its table, and a reader can tell them apart."""

import matplotlib
import pandas as pd
import pytest
from drawn import require_legible
from test_collect_synthetic import write_study

from retscale.audit.figures import ROWS
from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.figure import backbones, differences, style
from retscale.figure.config import FigureConfig
from retscale.figure.data import Tables
from retscale.figure.figures import draw
from retscale.figure.words import short
from retscale.fit.run import run as fit
from retscale.report import dimensions

pytestmark = pytest.mark.slow
PAIRS = {
    "asked": {"beta": "alpha"},
    "trained": {"microbatch": "paper"},
    "mixed": {"microbatch": {"questions": "paper"}},
    "own_tasks": {"questions": ["alpha"]},
}


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> Tables:
    """Two families of two sizes, one task of the training data, a second recipe that stands for all that may differ."""
    root = tmp_path_factory.mktemp("study")
    names = {"alpha": 0.05, "beta": 0.09, "gamma": 0.02}
    spec, files = write_study(root, sizes={"40k": 40_000, "160k": 160_000}, tasks=names, queries=20)
    spec |= {"headline": {"gamma": ["gamma"]}, "in_domain": {"alpha": ["alpha"]}, "beside": {"beta": ["beta"]}}
    spec |= {"comparisons": PAIRS, "groups": {"both": ["beta", "gamma"]}}
    for place, labels in enumerate(spec["checkpoints"].values()):
        labels["family"] = ("decoder", "encoder")[place % 2]
    for stage in ("collect", "fit"):
        (root / stage).mkdir()
    collect(spec, files, root / "collect")
    fit({"bootstrap": 200}, {"collect": root / "collect/collect.json"}, root / "fit")
    return Tables(root / "collect/collect.json", root / "fit/fit.json")


@pytest.fixture(autouse=True)
def styled():
    with matplotlib.rc_context(style.rc(FigureConfig())):
        yield


@pytest.mark.parametrize("name", ["instructions", "multi-task", "efficiency"])
def test_marks_are_rows_of_their_table(tables, name, monkeypatch):
    drawn = draw(name, tables, FigureConfig())
    table, key = ROWS[name]
    rows = read_table(tables.fit, table).set_index(key)
    assert len(drawn.marks) and not drawn.marks.duplicated(key).any()
    for mark in drawn.marks.to_dict("records"):
        row = rows.loc[tuple(mark[part] for part in key)]
        assert all(row[column] == value or pd.isna(value) for column, value in mark.items() if column in rows.columns)
    require_legible(drawn.figure, monkeypatch)


def test_instructions_and_mixtures_say_how_many_gain(tables):
    asked = differences.draw_instructions(tables, FigureConfig())
    assert "beta: asked with − without: " in asked.caption and "beta: trained with − without: " in asked.caption
    assert set(asked.marks["kind"]) == {"asked with instructions", "trained with instructions"}
    mixed = differences.draw_mixtures(tables, FigureConfig())
    rows = mixed.marks
    gain, lose = int((rows["low"] > 0).sum()), int((rows["high"] < 0).sum())
    assert gain < (rows["difference"] > 0).sum()  # some gain within their interval only
    counts = f"{gain} of {len(rows)} differences above 0 with the whole interval, {lose} below"
    assert f"microbatch − paper (questions alone): {counts}" in mixed.caption
    assert set(mixed.marks["task"]) == {"mean", "alpha", "beta", "gamma"}


def test_tasks_are_marked_as_in_domain_for_the_recipe_that_is_drawn(tables, monkeypatch):
    """Of a mixture by what the mixture trained on, and where no recipe is named by the main one."""
    summary = tables.summary.model_copy(update={"in_domain_by_recipe": {"paper": []}})
    monkeypatch.setitem(tables.__dict__, "summary", summary)
    assert (tables.title("alpha"), tables.title("alpha", "microbatch")) == ("alpha", "alpha (in-domain)")
    drawn = []
    monkeypatch.setattr(differences, "draw", lambda tables, config, title, panels, *words: drawn.extend(panels))
    differences.draw_mixtures(tables, FigureConfig())
    assert "alpha (in-domain)" in set(pd.concat([rows for _, rows in drawn])["label"])


def test_a_caption_of_differences_says_what_their_intervals_are_over():
    for methods, words in (
        (["sign flips", "paired t"], "queries"),
        (["queries and seeds; Student's t"], "queries and seeds"),
        (["queries and seeds; Student's t", "paired t"], "queries, and over seeds where a recipe has several"),
        ([], "queries"),
    ):
        assert differences.over(pd.DataFrame({"method": methods})) == words


def test_backbones_stand_at_their_parameters_once(tables, monkeypatch):
    points = read_table(tables.fit, "points").set_index(["checkpoint", "recipe", "task"])
    for drawn, names in (
        (backbones.draw_in_domain(tables, FigureConfig()), {"alpha"}),
        (backbones.draw_zero_shot(tables, FigureConfig()), {"mean", "both"}),
    ):
        assert set(drawn.marks["task"]) == names and not drawn.marks.duplicated(["checkpoint", "task"]).any()
        assert set(drawn.marks["recipe"]) == {"paper"}
        for mark in drawn.marks.itertuples():
            point = points.loc[mark.checkpoint, mark.recipe, mark.task]
            assert (mark.x, mark.y, mark.low, mark.high) == (point.n_params, point.y, point.low, point.high)
        require_legible(drawn.figure, monkeypatch)


def test_the_page_compares_backbones_of_equal_parameters_and_tokens(tables):
    table = read_table(tables.fit, "comparisons").assign(of_family="b", against_family="a")
    kinds = dict(zip(table.index[:3], ["of another family", "tuned for chat", "of another family"], strict=True))
    table = table.assign(kind=pd.Series(kinds), task=["mean", "mean", "alpha", *table["task"][3:]])
    table.loc[table.index[0], "low"] = None
    first, second = dimensions.equals(table)
    assert (first["kind"], second["kind"]) == ("of another family", "tuned for chat")
    assert first["low"] is None and second["difference"] == table["difference"].iloc[1]


def test_the_page_has_a_row_for_each_backbone(tables):
    checkpoints = read_table(tables.collect, "checkpoints")
    shown = dimensions.table(read_table(tables.fit, "dimensions"), checkpoints)
    assert [dimension for dimension, _ in shown["columns"]] == [
        "in-domain", "zero-shot", "zero-shot", "data efficiency", "data efficiency",
        "instructions", "instructions", "multi-task", "multi-task",
    ]  # fmt: skip
    assert [row["checkpoint"] for row in shown["rows"]] == list(
        checkpoints.sort_values(["n_params", "checkpoint"])["checkpoint"]
    )
    first = shown["rows"][0]
    value = (
        read_table(tables.fit, "points")
        .set_index(["checkpoint", "recipe", "task"])
        .loc[(first["checkpoint"], "paper", "alpha")]
    )
    assert first["cells"][0] == f"{value['y']:.3f} [{value['low']:.3f}, {value['high']:.3f}]"
    assert all(len(row["cells"]) == len(shown["columns"]) for row in shown["rows"])
    curves = read_table(tables.fit, "efficiency").set_index(["checkpoint", "recipe", "task"])
    curve = curves.loc[(first["checkpoint"], "paper", "mean")]
    place = [measure for _, measure in shown["columns"]].index("queries for 95%")
    ends = f"[{short(curve['needed_low'])}, {short(curve['needed_high'])}]"
    assert first["cells"][place] == f"{short(curve['needed'])} {ends}"


def test_what_a_figure_has_no_room_for_is_said(tables, monkeypatch):
    monkeypatch.setattr(differences, "TASKS", 2)
    monkeypatch.setattr(differences, "MOST", 1)
    rows = differences.known(tables, differences.of_kinds(tables, "trained with instructions"))
    every = [("one", rows.assign(label=rows["task"])), ("two", rows.assign(label=rows["task"]))]
    drawn = differences.draw(tables, FigureConfig(), "Title", every, "About.", "absent")
    assert drawn.marks["task"].nunique() == 2 < rows["task"].nunique()
    assert f"one: {int((rows['low'] > 0).sum())} of {len(rows)} differences above 0" in drawn.caption
    assert f"of {rows['task'].nunique()} tasks 2 are drawn" in drawn.caption
    assert "Not drawn, but in the tables: two." in drawn.caption
    monkeypatch.setattr(backbones, "MOST", 1)
    panels = {name: backbones.backbones(tables, name) for name in ("alpha", "beta")}
    assert "Not drawn, but in the tables: beta." in backbones.draw(tables, FigureConfig(), panels, "Title").caption
