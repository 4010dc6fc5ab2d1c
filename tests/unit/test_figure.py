"""Figures: the same bytes in every process, every mark in the table, and something sensible from little data."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.figure
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
from conftest import drawn_as_svg
from scipy import stats
from test_collect_synthetic import collected, write_study

from retscale.collect.run import run as collect
from retscale.common.files import sha256
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.figure import curves, fig3, style, training
from retscale.figure.config import FigureConfig
from retscale.figure.data import Tables
from retscale.figure.run import FIGURES, run
from retscale.fit.run import run as fit_run
from retscale.fit.summary import FitSummary
from retscale.provenance.behind import made_from

pytestmark = pytest.mark.slow

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


def said(files):
    """The caption, and what it says that the figure was made from."""
    words, _, source = files["md"].read_text().rpartition("\n\nMade from ")
    return words, source.removesuffix(" by retscale.\n")


def draw(name, inputs, out, **spec):
    out.mkdir(exist_ok=True)
    run({"name": name} | DPI | spec, inputs, out)
    return {suffix: out / f"{name}.{suffix}" for suffix in ("pdf", "svg", "png", "csv", "md", "txt")}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_all_its_files(inputs, drawn, name):
    files = drawn[name]
    assert set(files["png"].parent.iterdir()) == set(files.values())
    assert all(path.stat().st_size > 0 for path in files.values())
    source = made_from({"name": name} | DPI, inputs.items())
    for stamp in (f"made from {source}; collect.json sha256", sha256(inputs["fit"])):
        for suffix in ("pdf", "svg", "png"):
            assert stamp.encode() in files[suffix].read_bytes(), suffix
    assert said(files)[1] == source[:16]
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
    for name in ("1a", "1b", "2", "3", "forms", "ablation"):
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
    bits = read_table(inputs["fit"], "icl_bits").query("task == 'mean'").set_index("checkpoint").loc[marks.index]
    half = stats.norm.ppf(0.975) * bits["stderr"]
    np.testing.assert_allclose(marks["bits"], bits["bits_per_byte"])
    np.testing.assert_allclose(marks[["bits_low", "bits_high"]].T, [marks["bits"] - half, marks["bits"] + half])


def test_better_lies_to_the_right_in_both_panels_of_figure_3(inputs, drawn, tmp_path):
    left, right = fig3.draw(Tables(inputs["collect"], inputs["fit"]), FigureConfig()).figure.axes
    (a, b), (c, d) = left.get_xlim(), right.get_xlim()
    assert a < b and c > d and "fewer are better: the axis is reversed" in right.get_xlabel()
    assert "better lies to the right in both panels. Pearson r = −0." in said(drawn["3"])[0]
    table = read_table(inputs["fit"], "icl_bits")

    class Older(Tables):
        def table(self, name):
            return table.head(0) if name == "icl_bits" else super().table(name)

    figure = fig3.draw(Older(inputs["collect"], inputs["fit"]), FigureConfig())
    assert len(figure.figure.axes) == 1 and "bits per byte" not in figure.caption and figure.marks["bits"].isna().all()


def test_slopes_and_residuals_are_those_of_the_tables(inputs, drawn):
    fits = read_table(inputs["fit"], "fits").query("form == 'log-linear' and recipe == 'paper'").set_index("task")
    slopes = pd.read_csv(drawn["slopes"]["csv"]).set_index("task")
    assert len(slopes) == 8
    np.testing.assert_allclose(slopes[["x", "low", "high"]], fits.loc[slopes.index, ["slope", "low", "high"]])
    residuals = pd.read_csv(drawn["residuals"]["csv"]).set_index("checkpoint")
    points = read_table(inputs["fit"], "points").query("recipe == 'paper' and task == 'mean'").set_index("checkpoint")
    points = points.loc[residuals.index]
    left = points["y"] - fits.loc["mean", "slope"] * np.log10(points["flops"])
    np.testing.assert_allclose(residuals["y"], left - left.mean(), atol=1e-12)
    np.testing.assert_allclose(residuals["x"], points["tokens_per_param"])


def test_the_curves_are_the_logs(inputs, drawn):
    """Every line of every log is a mark, number for number, and no mark is anything else."""
    marks = pd.read_csv(drawn["training"]["csv"])
    root = inputs["collect"].parents[1]
    assert set(marks["file"]) == {path.relative_to(root).as_posix() for path in root.glob("finetune/*/*/log.jsonl")}
    for file, rows in marks.groupby("file"):
        told = [json.loads(line) for line in (root / file).read_text().splitlines()]
        assert list(zip(rows["x"], rows["y"])) == [(line["step"], line["loss"]) for line in told]
        assert set(rows["checkpoint"] + "/" + rows["recipe"]) == {str(Path(file).parent.relative_to("finetune"))}


def test_learning_curves_are_the_kept_scores_and_end_in_the_last(inputs, drawn):
    """Every kept evaluation enters one mark, the mean over its tasks; the last marks are those of the last encoders."""
    marks = pd.read_csv(drawn["curves"]["csv"])
    root = inputs["collect"].parents[1]
    told = {}
    for path in root.glob("evaluate/*/paper/**/*.json"):
        result = json.loads(path.read_text())
        if result["task"] in ("alpha", "beta"):
            key = result["checkpoint"], result["step"] or 45
            told.setdefault(key, []).append(result["metrics"]["ndcg_at_10"])
    assert len(marks) == len(told) == 3 * 12 and set(marks["task"]) == {"alpha, beta"}
    for mark in marks.itertuples():
        assert mark.y == pytest.approx(np.mean(told[mark.checkpoint, mark.step]), rel=1e-12)
        assert mark.share == pytest.approx(mark.y / np.mean(told[mark.checkpoint, 45]), rel=1e-12)
        assert mark.x == 32 * mark.step
    caption, first = drawn["curves"]["md"].read_text(), marks[marks["step"] == 10]
    rho = stats.spearmanr(first["share"], first["flops"]).statistic
    assert f"FLOPs {rho:.2f} over 12 checkpoints".replace("-", "−") in caption
    assert f"after 320 of 1,440 queries the checkpoints have {first['share'].min():.0%} (" in caption


def test_what_is_drawn_of_learning_curves(inputs, drawn):
    """Lines through the marks on the left, first shares on the right, and no axis so narrow that noise fills it."""
    figure = curves.draw(Tables(inputs["collect"], inputs["fit"]), FigureConfig()).figure
    left, right = figure.axes
    marks = pd.read_csv(drawn["curves"]["csv"])
    lines = [line.get_xydata() for line in left.lines if len(line.get_xdata()) == 3]
    np.testing.assert_allclose(lines, [rows[["x", "y"]].to_numpy() for _, rows in marks.groupby("checkpoint")])
    shares = {tuple(line.get_xydata()[0]) for line in right.lines if len(line.get_xdata()) == 1}
    first = marks[marks["step"] == 10]
    assert shares == set(zip(first["flops"], first["share"]))
    ax = matplotlib.figure.Figure().subplots()
    ax.plot([1, 2], [0.500, 0.501])
    curves.widen(ax, 0.05)
    assert np.ptp(ax.get_ylim()) == pytest.approx(0.05) and np.mean(ax.get_ylim()) == pytest.approx(0.5005)


def test_a_short_axis_of_flops_names_no_number_twice():
    figure = matplotlib.figure.Figure()
    ax = figure.subplots()
    style.flops_axis(ax, pd.Series([2.2e10]))
    figure.canvas.draw()
    labels = [text.get_text() for text in ax.get_xticklabels(which="both") if text.get_text()]
    assert labels and len(labels) == len(set(labels))


def test_a_group_of_tasks_counts_once_in_a_curve(tmp_path):
    spec, files = write_study(tmp_path, sizes={"40k": 40_000, "160k": 160_000}, levels=(5, 10), queries=12)
    spec["headline"] = {"both": ["alpha", "beta"], **{name: [name] for name in ("gamma", "delta")}}
    (tmp_path / "collect").mkdir(), (tmp_path / "fit").mkdir()
    collect(spec, files, tmp_path / "collect")
    source = tmp_path / "collect/collect.json"
    fit_run({"bootstrap": 200}, {"collect": source}, tmp_path / "fit")
    tables = Tables(source, tmp_path / "fit/fit.json")
    rows, tasks = curves.curves(tables)
    assert tasks == ["both"]
    last = rows[rows["step"] == 45].set_index("checkpoint")["y"]
    points = tables.points.query("recipe == 'paper' and task == 'both'").set_index("checkpoint")["y"]
    np.testing.assert_allclose(last, points[last.index], rtol=1e-12)


def test_a_curve_that_ends_at_nothing_has_no_share(tmp_path):
    spec, files = write_study(tmp_path, sizes={"40k": 40_000, "160k": 160_000}, levels=(5, 10), queries=12)
    for task in ("alpha", "beta"):
        path = next(x for x in files["scores"] if x.match(f"toy-40k-5/paper/{task}.json"))
        result = json.loads(path.read_text())
        path.write_text(json.dumps(result | {"metrics": dict.fromkeys(result["metrics"], 0.0)}))
        table = pd.read_parquet(path.with_suffix(".parquet"))
        table.assign(**dict.fromkeys(result["metrics"], 0.0)).to_parquet(path.with_suffix(".parquet"), index=False)
    (tmp_path / "collect").mkdir(), (tmp_path / "fit").mkdir()
    collect(spec, files, tmp_path / "collect")
    source = tmp_path / "collect/collect.json"
    fit_run({"bootstrap": 200}, {"collect": source}, tmp_path / "fit")
    drawn = draw("curves", {"collect": source, "fit": tmp_path / "fit/fit.json"}, tmp_path / "out")
    marks = pd.read_csv(drawn["csv"])
    assert set(marks[marks["share"].isna()]["checkpoint"]) == {"toy-40k-5"} and len(marks) == 4 * 3
    assert "inf" not in drawn["md"].read_text() and "nan" not in drawn["md"].read_text()
    assert "toy-40k-5" not in drawn["md"].read_text()


def test_what_is_drawn_of_a_training(inputs):
    """A panel a recipe, in the study's order; lines as logged; guessing where the queries have their own negatives."""
    figure = training.draw(Tables(inputs["collect"], inputs["fit"]), FigureConfig()).figure
    table = read_table(inputs["collect"], "training")
    paper, pool = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["paper", "microbatch"]
    for ax, recipe in ((paper, "paper"), (pool, "microbatch")):
        curves = [line.get_xydata() for line in ax.lines if len(line.get_xdata()) == 5]
        rows = [group[["step", "loss"]] for _, group in table[table["recipe"] == recipe].groupby("checkpoint")]
        np.testing.assert_array_equal(curves, [group.to_numpy() for group in rows])
        assert ax.get_xlim() == (0, 45)
    levels = {ax: [line for line in ax.lines if list(line.get_xdata()) == [0, 1]] for ax in figure.axes}
    assert [line.get_ydata()[0] for line in levels[paper]] == pytest.approx([-np.log(1 / 5)])
    assert levels[pool] == []
    assert [text.get_text() for ax in figure.axes for text in ax.texts] == ["guessing: ln 5 = 1.61"]


@pytest.mark.parametrize("entries", [1, 39, 40, 41, 80, 781, 800])
def test_a_long_log_is_drawn_as_means_of_all_its_entries(entries):
    step = np.arange(1, entries + 1) * 10.0
    log = pd.DataFrame({"step": step, "loss": 1 + 5 / step, "size": "a"})
    line = training.averaged(log)
    assert len(line) == min(entries, 40) and list(line.columns) == list(log.columns)
    if entries <= 40 or entries % 40 == 0:  # of equal parts the mean of means is the mean
        for name in ("step", "loss"):
            assert line[name].mean() == pytest.approx(log[name].mean(), rel=1e-12)
    assert (np.diff(line["loss"]) < 0).all() and (np.diff(line["step"]) > 0).all()
    flat = training.averaged(log.assign(loss=0.7))
    np.testing.assert_allclose(flat["loss"], 0.7, rtol=1e-15)


def test_the_caption_of_the_curves_counts_who_learnt(inputs, drawn, tmp_path):
    spec, files = write_study(tmp_path)
    slow = files["encoders"][0]
    log = slow.with_name("log.jsonl")
    last = log.read_text().splitlines()[-1]
    log.write_text(log.read_text().replace(last, json.dumps(json.loads(last) | {"loss": 1.7})))
    (tmp_path / "collect").mkdir()
    collect(spec, files, tmp_path / "collect")
    stale = draw("training", inputs | {"collect": tmp_path / "collect" / "collect.json"}, tmp_path / "out")
    words = r"`paper`, 12 checkpoints of 45 steps: .* below guessing \(1\.609\) for (\d+) of 12"
    counts = [re.search(words, files["md"].read_text())[1] for files in (drawn["training"], stale)]
    assert counts == ["12", "11"]


def test_a_colour_changes_the_picture_and_nothing_else(inputs, drawn, tmp_path):
    one, other = drawn["1b"], draw("1b", inputs, tmp_path / "b", trend="#aa0000")
    assert one["png"].read_bytes() != other["png"].read_bytes()
    for suffix in ("csv", "txt"):
        assert one[suffix].read_bytes() == other[suffix].read_bytes()
    (words, source), (other_words, other_source) = (said(files) for files in (one, other))
    assert words == other_words and source != other_source


def test_width_and_resolution_are_those_of_the_study(inputs, tmp_path):
    files = draw("1a", inputs, tmp_path / "out", dpi=100, width=5)
    assert matplotlib.image.imread(io.BytesIO(files["png"].read_bytes())).shape[1] == 500


def test_captions_state_the_numbers_of_the_tables(inputs, drawn):
    trend = (
        read_table(inputs["fit"], "fits").query("recipe == 'paper' and task == 'mean' and form == 'log-linear'").iloc[0]
    )
    caption = drawn["1b"]["md"].read_text()
    assert f"{trend.slope:.3f} [{trend.low:.3f}, {trend.high:.3f}]" in caption
    assert "confidence band" in caption and "prediction band" in caption


@pytest.mark.parametrize(("sizes", "levels", "ablated"), [(1, 1, 1), (1, 3, 0), (3, 1, 0)])
@drawn_as_svg()
def test_few_points_are_drawn_without_a_trend(tmp_path, sizes, levels, ablated):
    names = dict(list({"a": 40_000, "b": 60_000, "c": 80_000}.items())[:sizes])
    tables = {"alpha": 0.05, "beta": 0.1}
    inputs = fitted(tmp_path, sizes=names, levels=(5, 6, 7)[:levels], tasks=tables, queries=10, ablation=ablated)
    for name in FIGURES:
        files = draw(name, inputs, tmp_path / "out")
        assert files["svg"].stat().st_size > 0
    assert "No trend is fitted" in (tmp_path / "out" / "1b.md").read_text()
    if not ablated:
        assert "No checkpoint was trained with a second recipe" in (tmp_path / "out" / "ablation.md").read_text()


@drawn_as_svg()
def test_other_models_are_drawn_hollow_or_not_at_all(tmp_path):
    spec, files = write_study(tmp_path)
    spec["checkpoints"]["toy-40k-5"]["role"] = "external"
    spec["checkpoints"]["toy-160k-5"]["role"] = "reference"
    (tmp_path / "collect").mkdir()
    collect(spec, files, tmp_path / "collect")
    (tmp_path / "fit").mkdir()
    fit_run({"bootstrap": 200}, {"collect": tmp_path / "collect" / "collect.json"}, tmp_path / "fit")
    inputs = {"collect": tmp_path / "collect" / "collect.json", "fit": tmp_path / "fit" / "fit.json"}
    for name in ("1b", "training"):
        marks = pd.read_csv(draw(name, inputs, tmp_path / "out")["csv"])
        assert "toy-40k-5" not in set(marks["checkpoint"])
        assert "toy-160k-5" in set(marks["checkpoint"])
    assert FitSummary.read(inputs["fit"]).main_recipe == "paper"


def test_an_unknown_figure_is_refused(inputs, tmp_path):
    with pytest.raises(UserError, match="1a, 1b"):
        run({"name": "7"}, inputs, tmp_path)
