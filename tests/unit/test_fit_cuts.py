"""What a cut of a task changes: slopes, order and level of the scores, with intervals over the queries that both share."""

import numpy as np
import pandas as pd
import pytest
import worlds
from test_collect_synthetic import TASKS, write_study

from retscale.audit.figures import SCORED
from retscale.collect.means import MEAN
from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.figure.run import run as draw
from retscale.fit.cuts import Cut, compare
from retscale.fit.cuts import cuts as cut_table
from retscale.fit.points import query_scores, resampled
from retscale.fit.run import run as fit
from retscale.report.results import Results
from retscale.report.run import run as report
from retscale.report.show import content, lines

pytestmark = pytest.mark.usefixtures("svg_only")

ROW = Cut(0, None, None, None, None)


def test_intervals_cover_the_truth_over_queries():
    """Slopes and bias of a population of queries, of which each study asks 120; the noise of a query is shared."""
    rng = np.random.default_rng(4)
    ladder = worlds.line(np.linspace(0.2, 0.5, 6))
    growth = (ladder.at.x - ladder.at.x.mean()) / np.log(10)
    n_population, n, replicates, studies = 4000, 120, 400, 300
    level, slope = rng.normal(0.35, 0.2, (n_population, 1)), rng.normal(0.04, 0.08, (n_population, 1))
    whole = level + slope * growth + rng.normal(0, 0.1, (n_population, 6))
    easier = rng.normal(0.05, 0.1, (n_population, 1))
    cut = whole + easier + rng.normal(-0.006, 0.05, (n_population, 1)) * growth + rng.normal(0, 0.05, (n_population, 6))
    fitted = growth / (growth @ growth)
    truth = {"": float((cut - whole).mean(0) @ fitted), "bias_": float((cut - whole).mean())}
    covered = dict.fromkeys(truth, 0)
    width, apart = [], []
    for _ in range(studies):
        asked = rng.integers(0, n_population, n)
        weights = rng.multinomial(n, np.full(n, 1 / n), replicates) / n
        drawn = weights @ whole[asked], weights @ cut[asked]
        row = compare(worlds.line(whole[asked].mean(0)), cut[asked].mean(0), *drawn, 0.05, ROW)
        for name, value in truth.items():
            covered[name] += getattr(row, f"{name}low") <= value <= getattr(row, f"{name}high")
        width.append(row.high - row.low)
        unpaired = (rng.permutation(drawn[1]) - drawn[0]) @ fitted
        apart.append(np.ptp(np.quantile(unpaired, [0.025, 0.975])))
    assert all(0.91 <= count / studies <= 0.98 for count in covered.values()), covered
    assert np.mean(apart) > 1.5 * np.mean(width)  # what pairing is for


def queries(task: str, ids: range, values: np.ndarray) -> pd.DataFrame:
    """Scores of two encoders, values (queries, 2)."""
    table = pd.DataFrame({"query_id": [f"q{i:03d}" for i in ids]})
    return pd.concat(
        [table.assign(checkpoint=id, recipe="r", task=task, m=values[:, number]) for number, id in enumerate("ab")]
    )


def test_a_cut_is_drawn_with_its_whole_task_whatever_their_names():
    values = np.random.default_rng(0).random((30, 2))
    tables = [queries("whole", range(30), values), queries("a-cut", range(30), values), queries("z", range(30), values)]
    draws = resampled(query_scores(tables, "m"), {}, 50, 0, {"a-cut": "whole", "z": "whole"})
    alone = resampled(query_scores(tables[:1], "m"), {}, 50, 0)
    for checkpoint in "ab":
        expected = alone[checkpoint, "r", "whole"]
        for task in ("whole", "a-cut", "z"):
            pd.testing.assert_series_equal(draws[checkpoint, "r", task], expected, check_names=False, check_exact=True)
    apart = resampled(query_scores(tables, "m"), {}, 50, 0)
    assert (apart["a", "r", "a-cut"] != apart["a", "r", "whole"]).any()


def test_a_cut_to_some_queries_is_drawn_by_their_share_of_the_same_draws():
    values = np.random.default_rng(0).random((30, 2))
    some = queries("some", range(10, 20), np.ones((10, 2)) * [0.25, 0.5])
    indicator = np.zeros((30, 2))
    indicator[10:20] = values[10:20]
    shares = np.zeros((30, 2))
    shares[10:20] = 1
    tables = [some, queries("whole", range(30), values)]
    draws = resampled(query_scores(tables, "m"), {}, 50, 0, {"some": "whole"})
    assert np.allclose(draws["a", "r", "some"], 0.25) and np.allclose(draws["b", "r", "some"], 0.5)
    tables[0] = queries("some", range(10, 20), values[10:20])
    draws = resampled(query_scores(tables, "m"), {}, 50, 0, {"some": "whole"})
    sums, counts = (
        resampled(query_scores([queries("whole", range(30), each)], "m"), {}, 50, 0)["a", "r", "whole"]
        for each in (indicator, shares)
    )
    np.testing.assert_allclose(draws["a", "r", "some"], sums / counts)


def test_too_few_checkpoints_decades_and_constant_scores_say_so():
    y = np.array([0.2, 0.3, 0.25])
    assert compare(worlds.line(y[:2]), y[:2], None, None, 0.05, ROW).status == "insufficient"
    assert compare(worlds.line(y), np.ones(3), None, None, 0.05, ROW).status == "unidentified"
    short = compare(worlds.line(y, decades=0.5), y + 0.1, None, None, 0.05, ROW)
    assert (
        short.status == "ok" and short.difference is None and short.spearman == 1 and short.bias == pytest.approx(0.1)
    )
    assert short.reason.startswith("no slope: ") and short.reason.endswith("; queries are unknown")
    known = compare(worlds.line(y), 2 * y, None, None, 0.05, ROW)
    assert known.slope_whole == pytest.approx(0.025) and known.slope_cut == pytest.approx(0.05)
    assert known.difference == pytest.approx(0.025) and known.low is None and known.reason == "queries are unknown"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A study of two tasks with a cut of each, which answer the same queries, up to its report."""
    root = tmp_path_factory.mktemp("cuts")
    names = list(TASKS)[:2]
    cuts = {f"{name}-cut": name for name in names}
    weights = {name: TASKS[name] for name in names} | {cut: TASKS[name] for cut, name in cuts.items()}
    spec, inputs = write_study(root, sizes={"40k": 40_000, "160k": 160_000, "640k": 640_000}, tasks=weights, queries=20)
    spec |= {"headline": {name: [name] for name in names}, "contrasts": list(cuts), "cuts": cuts}
    for stage in ("collect", "fit", "figure", "report"):
        (root / stage).mkdir()
    collect(spec, inputs, root / "collect")
    given = {"collect": root / "collect" / "collect.json", "fit": root / "fit" / "fit.json"}
    fit({"bootstrap": 200}, given, root / "fit")
    return root, given, cuts


def test_the_table_has_a_row_for_each_cut_and_for_their_means(made):
    _, given, cuts = made
    table = read_table(given["fit"], "cuts").query("recipe == 'paper'").set_index("task")
    assert list(table.index) == [*cuts, MEAN] and table["whole"].tolist() == [*cuts.values(), MEAN]
    assert (table["n"] == 9).all() and (table["status"] == "ok").all() and (table["reason"] == "").all()
    fits = read_table(given["fit"], "fits").query("recipe == 'paper' and form == 'log-linear'").set_index("task")
    for cut, whole in cuts.items():
        assert table.loc[cut, "slope_cut"] == pytest.approx(fits.loc[cut, "slope"], abs=1e-12)
        assert table.loc[cut, "slope_whole"] == pytest.approx(fits.loc[whole, "slope"], abs=1e-12)
        assert table.loc[cut, ["documents_whole", "documents_cut", "queries_cut"]].tolist() == [500, 500, 20]
    assert table.loc[MEAN, "slope_whole"] == pytest.approx(fits.loc[MEAN, "slope"], abs=1e-12)
    assert table.loc[MEAN, "bias"] == pytest.approx(table.loc[list(cuts), "bias"].mean(), abs=1e-12)
    for ends in (["low", "difference", "high"], ["bias_low", "bias", "bias_high"], ["spearman_low", "spearman_high"]):
        assert (table[ends].diff(axis=1).iloc[:, 1:] > -1e-12).all(axis=None)
    # Resampled queries add noise to the ranks, so a high coefficient may lie above its interval.
    assert table[["spearman_low", "spearman", "spearman_high"]].stack().between(-1, 1).all()


def test_two_cuts_of_one_task_count_it_twice_in_the_mean(made):
    _, given, cuts = made
    points = read_table(given["fit"], "points")
    points = points[points["task"].isin([*cuts, "alpha", "beta"])]
    finished = points.query("recipe == 'paper'")
    names = [(row.checkpoint, row.recipe, row.task) for row in finished.itertuples()]
    draws = pd.DataFrame([finished["y"].tolist()] * 3, columns=pd.MultiIndex.from_tuples(names))
    scores = points.assign(n_documents=500)
    table = cut_table(finished, draws, scores, cuts | {"beta": "alpha"}, {}, 0.05)
    table = table.set_index("task")
    for name in ("bias", "slope_whole", "slope_cut", "difference"):
        assert table.loc[MEAN, name] == pytest.approx(table.drop(MEAN)[name].mean(), abs=1e-12)
    assert table.loc[MEAN, "bias"] == pytest.approx(table.loc[MEAN, "bias_low"], abs=1e-12)


def test_the_mean_is_what_it_would_be_without_contrasts(made, tmp_path):
    _, given, cuts = made
    names = list(cuts.values())
    points = (
        read_table(given["fit"], "points")
        .query("recipe == 'paper'")
        .pivot(index="checkpoint", columns="task", values="y")
    )
    np.testing.assert_allclose(points[MEAN], points[names].mean(axis=1), rtol=1e-12)
    assert set(cuts) < set(points.columns)


@pytest.mark.slow
def test_figure_report_and_show_say_what_the_table_says(made):
    root, given, cuts = made
    assert "cuts" in SCORED  # the audit compares its marks with the points
    draw({"name": "cuts", "dpi": 72}, given, root / "figure")
    caption = (root / "figure/cuts.md").read_text()
    marks = pd.read_csv(root / "figure/cuts.csv")
    assert set(marks["task"]) == set(cuts) and len(marks) == 18
    points = read_table(given["fit"], "points").query("recipe == 'paper'").set_index(["checkpoint", "task"])["y"]
    for mark in marks.itertuples():
        assert mark.y == pytest.approx(points[mark.checkpoint, mark.task])
        assert mark.x == pytest.approx(points[mark.checkpoint, cuts[mark.task]])
    row = read_table(given["fit"], "cuts").query("recipe == 'paper' and task == 'alpha-cut'").iloc[0]
    assert f"slope {row.slope_whole:.3f} → {row.slope_cut:.3f}, difference" in caption.replace("−", "-")
    report({}, given | {"figures": [root / "figure/cuts.png"], "tasks": [], "pairs": []}, root / "report")
    page = (root / "report/report.html").read_text()
    assert '<h2 id="cuts">' in page and "; alpha-cut, beta-cut stand beside it." in page
    shown = content(Results(given["collect"], given["fit"]), "t") | {"used": [], "used_unknown": 0}
    assert [row["task"] for row in shown["cuts"] if row["recipe"] == "paper"] == [*cuts, MEAN]
    assert any("cuts against whole tasks" in line for line in lines(shown, "text"))
