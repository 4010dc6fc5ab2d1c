"""Figures: the same bytes in every process, every mark in the table, and something sensible from little data."""

import io
import os
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from test_collect_synthetic import collected

from retscale.collect.run import run as collect
from retscale.collect.tables import read_json, read_table, sha256
from retscale.errors import UserError
from retscale.figure.run import FIGURES, run
from retscale.fit.run import run as fit_run

DPI = {"dpi": 72}


def fitted(root, **options):
    source = collected(root, **options)
    (root / "fit").mkdir()
    fit_run({"bootstrap": 200}, {"collect": source}, root / "fit")
    return {"collect": source, "fit": root / "fit" / "fit.json"}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return fitted(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def drawn(inputs, tmp_path_factory):
    """Every figure's files, by name and suffix."""
    return {name: draw(name, inputs, tmp_path_factory.mktemp(f"figure-{name}")) for name in FIGURES}


def draw(name, inputs, out, **spec):
    out.mkdir(exist_ok=True)
    run({"name": name} | DPI | spec, inputs, out)
    return {suffix: out / f"{name}.{suffix}" for suffix in ("pdf", "svg", "png", "csv", "md", "txt")}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_all_its_files(inputs, drawn, name):
    files = drawn[name]
    assert set(files["png"].parent.iterdir()) == set(files.values())
    assert all(path.stat().st_size > 0 for path in files.values())
    stamp = sha256(inputs["fit"])
    for suffix in ("pdf", "svg", "png"):
        assert stamp.encode() in files[suffix].read_bytes(), suffix
    assert b"CreationDate" not in files["pdf"].read_bytes()
    assert len(files["txt"].read_text()) > 100


def test_the_same_bytes_in_another_process(inputs, drawn, tmp_path):
    """Hash seeds, time zones and the order of drawing differ between processes; the files must not."""
    code = (
        "import sys; from pathlib import Path; from retscale.figure.run import FIGURES, run\n"
        "collect, fit, out = map(Path, sys.argv[1:])\n"
        "for name in reversed(FIGURES): run({'name': name, 'dpi': 72}, {'collect': collect, 'fit': fit}, out)"
    )
    package = str(Path(__file__).parents[2] / "workflow")
    env = os.environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": package, "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code, inputs["collect"], inputs["fit"], tmp_path], check=True, env=env)
    assert len(list(tmp_path.iterdir())) == 6 * len(FIGURES)
    for files in drawn.values():
        for path in files.values():
            assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def test_marks_are_the_points_and_task_marks_name_their_file(inputs, drawn):
    points = read_table(inputs["fit"], "points").set_index(["checkpoint", "recipe", "task"])
    scores = (
        read_table(inputs["collect"], "scores")
        .query("metric == 'ndcg_at_10'")
        .set_index(["checkpoint", "recipe", "task"])
    )
    for name in FIGURES:
        marks = pd.read_csv(drawn[name]["csv"])
        assert not marks.duplicated(["checkpoint", "recipe", "task"]).any()
        for mark in marks.itertuples():
            point = points.loc[mark.checkpoint, mark.recipe, mark.task]
            assert mark.y == pytest.approx(point.y, rel=1e-12)
            if name != "3":
                assert mark.x == pytest.approx(point.flops, rel=1e-12)
            if name == "2":
                source = scores.loc[mark.checkpoint, mark.recipe, mark.task]
                assert (mark.file, mark.sha256) == (source.file, source.sha256)
    marks = pd.read_csv(drawn["3"]["csv"]).set_index("checkpoint")
    icl = read_table(inputs["fit"], "icl_points").query("task == 'mean'").set_index("checkpoint")
    np.testing.assert_allclose(marks["x"], icl.loc[marks.index, "score"])


def test_a_colour_changes_the_picture_and_nothing_else(inputs, drawn, tmp_path):
    one, other = drawn["1b"], draw("1b", inputs, tmp_path / "b", trend="#aa0000")
    assert one["png"].read_bytes() != other["png"].read_bytes()
    for suffix in ("csv", "md", "txt"):
        assert one[suffix].read_bytes() == other[suffix].read_bytes()


def test_width_and_resolution_are_those_of_the_study(inputs, tmp_path):
    files = draw("1a", inputs, tmp_path / "out", dpi=100, width=5)
    assert matplotlib.image.imread(io.BytesIO(files["png"].read_bytes())).shape[1] == 500


def test_captions_state_the_numbers_of_the_tables(inputs, drawn):
    trend = read_table(inputs["fit"], "trends").query("recipe == 'paper' and task == 'mean'").iloc[0]
    caption = drawn["1b"]["md"].read_text()
    assert f"{trend.slope:.3f} [{trend.low:.3f}, {trend.high:.3f}]" in caption
    assert "confidence band" in caption and "prediction band" in caption


@pytest.mark.parametrize(("sizes", "levels", "ablated"), [(1, 1, 1), (1, 3, 0), (3, 1, 0)])
def test_few_points_are_drawn_without_a_trend(tmp_path, sizes, levels, ablated):
    names = dict(list({"a": 40_000, "b": 60_000, "c": 80_000}.items())[:sizes])
    tables = {"alpha": 0.05, "beta": 0.1}
    inputs = fitted(tmp_path, sizes=names, levels=(5, 6, 7)[:levels], tasks=tables, queries=10, ablation=ablated)
    for name in FIGURES:
        files = draw(name, inputs, tmp_path / "out")
        assert files["png"].stat().st_size > 0
    assert "No trend is fitted" in (tmp_path / "out" / "1b.md").read_text()
    if not ablated:
        assert "No checkpoint was trained with a second recipe" in (tmp_path / "out" / "ablation.md").read_text()


def test_other_models_are_drawn_hollow_or_not_at_all(tmp_path):
    from test_collect_synthetic import write_study

    spec, files = write_study(tmp_path)
    spec["checkpoints"]["toy-40k-5"]["role"] = "external"
    spec["checkpoints"]["toy-160k-5"]["role"] = "reference"
    (tmp_path / "collect").mkdir()
    collect(spec, files, tmp_path / "collect")
    (tmp_path / "fit").mkdir()
    fit_run({"bootstrap": 200}, {"collect": tmp_path / "collect" / "collect.json"}, tmp_path / "fit")
    inputs = {"collect": tmp_path / "collect" / "collect.json", "fit": tmp_path / "fit" / "fit.json"}
    marks = pd.read_csv(draw("1b", inputs, tmp_path / "out")["csv"])
    assert "toy-40k-5" not in set(marks["checkpoint"])
    assert "toy-160k-5" in set(marks["checkpoint"])
    assert read_json(inputs["fit"])["main_recipe"] == "paper"


def test_an_unknown_figure_is_refused(inputs, tmp_path):
    with pytest.raises(UserError, match="1a, 1b"):
        run({"name": "7"}, inputs, tmp_path)
