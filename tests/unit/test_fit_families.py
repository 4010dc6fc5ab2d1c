"""Two families at equal compute: which checkpoints are pairs, their difference by hand, and the report's section."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapes
from page_checks import problems

from retscale.collect.means import MEAN
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.fit.families import paired_families
from retscale.fit.run import run as fit
from retscale.report.run import run as report
from retscale.study import load, specs

CONFIG = Path(__file__).resolve().parents[2] / "config"
FAMILIES = ("left", "right")


def row(family, size, tokens, y, params=1e6, recipe="own", schedule="finished"):
    name = f"{family}-{size}-{tokens:g}"
    about = {"checkpoint": name, "family": family, "size": f"{family} {size}", "schedule": schedule, "recipe": recipe}
    return about | {"task": MEAN, "n_tokens": tokens, "flops": 6 * params * tokens, "y": y}


def compared(*rows, alpha=0.05):
    """The table of these rows, each with its draws around y, a spread for each."""
    rng = np.random.default_rng(0)
    points = pd.DataFrame(rows)
    columns = [(row["checkpoint"], row["recipe"], row["task"]) for row in rows]
    draws = pd.DataFrame({key: row["y"] + rng.normal(0, 0.01, 400) for key, row in zip(columns, rows, strict=True)})
    draws.columns = pd.MultiIndex.from_tuples(columns)
    return paired_families(points, draws, FAMILIES, 1.25, alpha), draws


def test_pairs_have_one_size_tokens_and_recipe_and_nearly_the_same_flops():
    table, _ = compared(
        row("left", "S", 1e9, 0.5),
        row("right", "S", 1e9, 0.4, params=1.01e6),
        row("left", "S", 2e9, 0.52, schedule="unfinished"),
        row("right", "S", 2e9, 0.6, schedule="unfinished"),
        row("left", "M", 1e9, 0.5),  # no other of its size
        row("right", "S", 3e9, 0.5),  # nor of its tokens
        row("left", "L", 1e9, 0.5),
        row("right", "L", 1e9, 0.5, params=1.3e6),  # one label, other FLOPs
        row("left", "X", 1e9, 0.5, recipe="other"),
        row("right", "X", 1e9, 0.5),
        row("third", "S", 1e9, 0.9),
    )
    assert list(zip(table["size"], table["n_tokens"], table["schedule"])) == [
        ("S", 1e9, "finished"),
        ("S", 2e9, "unfinished"),
    ]
    assert list(table["first"]) == ["left-S-1e+09", "left-S-2e+09"]
    assert table["flops_ratio"].tolist() == pytest.approx([1 / 1.01, 1])
    assert table["flops"].tolist() == pytest.approx([6 * 1.01e15, 12e15])


def test_the_difference_is_paired_over_draws_and_holm_counts_the_pairs():
    table, draws = compared(
        row("left", "S", 1e9, 0.500),
        row("right", "S", 1e9, 0.495),
        row("left", "S", 2e9, 0.4),
        row("right", "S", 2e9, 0.6),
    )
    apart = draws["left-S-1e+09", "own", MEAN] - draws["right-S-1e+09", "own", MEAN]
    first, second = table.to_dict("records")
    assert first["difference"] == pytest.approx(0.005) and second["difference"] == pytest.approx(-0.2)
    assert (first["low"], first["high"]) == pytest.approx(tuple(np.quantile(apart, [0.025, 0.975])))
    assert first["low"] < 0 < first["high"] and second["high"] < 0
    assert second["p"] == pytest.approx(2 / 401) and second["p_holm"] == pytest.approx(4 / 401)
    assert first["p_holm"] == first["p"] > 0.05


def test_without_pairs_the_table_has_its_columns():
    table, _ = compared(row("left", "S", 1e9, 0.5), row("right", "S", 2e9, 0.5))
    assert table.empty and {"difference", "p_holm", "flops_ratio"} <= set(table.columns)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    """collect.json of two families, the right one .05 better in every pair of the larger size."""
    ladder = [(f, s, s * r, r == 20) for f in FAMILIES for s in (1e8, 1e9) for r in (10, 20)]
    return shapes.write_collected(shapes.Shape(ladder, 3, queries=60), tmp_path_factory.mktemp("two") / "collect")


def test_the_table_and_the_section_are_there_only_if_asked_for(studied, tmp_path):
    pages = {}
    for paired in (None, FAMILIES, ("left", "gone")):
        folder = tmp_path / "-".join(paired or ["without"])
        folder.mkdir()
        fit({"bootstrap": 200} | ({"paired": paired} if paired else {}), {"collect": studied}, folder)
        assert (folder / "paired_families.csv").is_file() == bool(paired)
        assert ('"paired"' in (folder / "fit.json").read_text()) == bool(paired)
        report({}, {"collect": studied, "fit": folder / "fit.json"}, folder)
        pages[paired] = (folder / "report.html").read_text()
        assert problems(pages[paired]) == [] and not re.search(r"\b(nan|None)\b", pages[paired])
    assert 'id="paired-families"' not in pages[None]
    assert "No checkpoint of one has the size" in pages["left", "gone"]
    table = read_table(tmp_path / "-".join(FAMILIES) / "fit.json", "paired_families")
    points = read_table(tmp_path / "-".join(FAMILIES) / "fit.json", "points").set_index(["checkpoint", "task"])["y"]
    assert set(table["task"]) == {MEAN, "task-00", "task-01", "task-02"}
    for pair in table.itertuples():
        assert pair.difference == pytest.approx(points[pair.first, pair.task] - points[pair.second, pair.task])
    means = table[table["task"] == MEAN]
    assert list(means["schedule"]) == ["unfinished", "finished"] * 2
    words = " ".join(pages[FAMILIES].split())
    average = f"{means['difference'].mean():.3f}".replace("-", "−")
    assert f"{average} on average over 4 pairs." in words
    better = int(((means["p_holm"] < 0.05) & (means["difference"] > 0)).sum())
    assert f"left is surely better in {better} and" in words


def test_ettins_pairs_are_pairs():
    """Of the study's checkpoints every encoder has its decoder, of one size and number of tokens."""
    study = load.study(CONFIG / "ettin.yaml")
    assert specs.fit(study)["paired"] == ["ettin-encoder", "ettin-decoder"]
    by_family = {
        family: {(c.size, c.tokens) for c in study.checkpoints.values() if c.family == family}
        for family in ("ettin-encoder", "ettin-decoder", "ettin-encoder-from-decoder", "ettin-decoder-from-encoder")
    }
    assert by_family["ettin-encoder"] == by_family["ettin-decoder"] and len(by_family["ettin-encoder"]) == 6 * 7
    crossed = by_family["ettin-encoder-from-decoder"]
    assert crossed == by_family["ettin-decoder-from-encoder"] and len(crossed) == 6


@pytest.mark.parametrize(
    ("families", "message"),
    [
        (["ettin-encoder", "etin-decoder"], "fit.paired.1: unknown family of this study 'etin-decoder'; did you mean"),
        (["ettin-encoder", "ettin-encoder"], "fit.paired: names one family twice; name two"),
    ],
)
def test_families_that_are_not_there_are_refused(tmp_path, families, message):
    path = tmp_path / "x.yaml"
    path.write_text(f"base: {CONFIG / 'ettin.yaml'}\nfit: {{paired: [{', '.join(families)}]}}\n")
    with pytest.raises(UserError, match=f"x.yaml: {re.escape(message)}"):
        load.study(path)
