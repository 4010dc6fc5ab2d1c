"""References in a study: what it may say of them, in which specs they are, and that they enter tables and no fit."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from test_collect_synthetic import TASKS, write_encoder, write_evaluation, write_study

from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.errors import UserError
from retscale.figure import references
from retscale.figure.data import Tables
from retscale.fit.run import run as fit
from retscale.plan.jobs import jobs
from retscale.report.results import Results
from retscale.report.scores import score_table, systems
from retscale.report.show import content, lines
from retscale.study import load, specs

SMOKE = Path(__file__).resolve().parents[2] / "config" / "smoke.yaml"
OWN = {"use": "own-mini", "n_negatives": 2, "max_pairs": 512}
UNTUNED = {"use": "own-mini", "id": "untuned", "tuning": "none"}
RANDOM = {"id": "fresh", "family": "mpt-mini", "size": "0.04M", "role": "reference"}
RANDOM |= {"source": {"kind": "random", "like": "d16"}}


def loaded(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))
    return load.study(path)


def and_random(**changes):
    return [*yaml.safe_load(SMOKE.read_text())["checkpoints"], RANDOM | changes]


def test_a_reference_is_a_name_of_the_catalog_or_settings(tmp_path):
    study = loaded(tmp_path, references=["bm25", {"use": "bm25", "id": "stems", "stemmer": "porter"}])
    assert specs.reference(["fiqa"])(study, "stems") == {
        **{"id": "stems", "tasks": {"fiqa": {}}, "k": 100, "relevant": 1, "metrics": []},
        "system": {"variant": "lucene", "k1": 0.9, "b": 0.4, "stopwords": "english", "stemmer": "porter"},
    }
    assert list(specs.collect(study)["references"]) == ["bm25", "stems"]
    assert [job.label for job in jobs(study) if job.stage == "reference"] == [
        "reference/bm25/small",
        "reference/stems/small",
    ]


def test_other_specs_are_as_they_are_without_references_and_controls(tmp_path):
    before = loaded(tmp_path, references=[])
    after = loaded(
        tmp_path,
        references=["bm25"],
        checkpoints=and_random(),
        recipes=[OWN, UNTUNED | {"checkpoints": ["d16", "fresh"]}],
    )
    assert after.trained == {"own-mini": ["d16", "d24", "d24-long", "e24"], "untuned": ["d16", "fresh"]}
    assert specs.finetune(before, "own-mini") == specs.finetune(after, "own-mini")
    assert not {"references", "untuned"} & specs.collect(before).keys()
    assert specs.collect(after)["recipes"] == ["own-mini"] and specs.collect(after)["untuned"] == ["untuned"]
    untuned = specs.finetune(after, "untuned")
    assert untuned["pairs"] == {} and untuned["recipe"]["prompt"]["query_length"] == 32
    assert untuned["recipe"]["lr"] == 2e-5  # not that of own-mini, which has no effect
    assert "ablation" not in after.figures and {"1a", "1b", "2"} <= set(after.figures)
    reads = {job.label: job.reads for job in jobs(after)}
    assert reads["checkpoint/fresh"] == ["checkpoint/d16/card.json"]
    assert reads["finetune/fresh/untuned"] == ["checkpoint/fresh/card.json"]


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"references": ["bm52"]}, "references.0: unknown reference 'bm52'; did you mean 'bm25'"),
        ({"references": ["bm25", {"use": "bm25", "id": "same"}]}, "references: bm25 and same are the same and would"),
        ({"references": ["bm25", "bm25"]}, "references.1: the id 'bm25' is given twice"),
        ({"references": [{"use": "bm25", "id": "d16"}]}, "references: d16: also the id of a checkpoint or an encoder"),
        ({"references": [{"use": "bm25", "id": "x"}], "encoders": [{"id": "x", "path": "/x"}]}, "references: x: also"),
        ({"references": ["bm25"], "recipes": [OWN | {"id": "reference"}]}, "'reference' stands for systems without a"),
        ({"references": [{"use": "bm25", "id": "x", "stemmer": "portr"}]}, "stemmer: .*did you mean 'porter'"),
        ({"recipes": [UNTUNED, OWN]}, "'untuned' trains nothing, so it cannot be the first"),
        (
            {"recipes": [OWN, UNTUNED | {"lr": 0.1}]},
            "recipes.1.lr: has an effect only with a `tuning` other than `none`",
        ),
        ({"recipes": [OWN, UNTUNED | {"keep": [3]}]}, "recipes.1.keep: has an effect only with a `tuning` other than"),
        ({"checkpoints": and_random()}, "fresh has random weights, and no recipe names it under its `checkpoints`"),
        ({"checkpoints": and_random(role="fit")}, "random weights have seen no text, so they have no FLOPs"),
        ({"checkpoints": and_random(tokens=9)}, "random weights have seen no text, so they have no FLOPs"),
        (
            {"checkpoints": and_random(source={"kind": "random", "like": "d17"})},
            r"checkpoints \(fresh\): source.like: unknown checkpoint to be like 'd17'; did you mean 'd16'",
        ),
        (
            {"checkpoints": [*and_random(), RANDOM | {"id": "again"}]},
            "checkpoints: fresh and again are the same and would count twice",
        ),
    ],
)
def test_what_a_study_may_not_say(tmp_path, changes, reason):
    both = {"recipes": [OWN, UNTUNED | {"checkpoints": ["fresh", "again"]}]} if "again" in reason else {}
    with pytest.raises(UserError, match=reason):
        loaded(tmp_path, **changes | both)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A made-up study, with and without references, collected and fitted: folders by `True` and `False`."""
    folders = {}
    for extended in (False, True):
        root = tmp_path_factory.mktemp("results")
        tasks = {task: TASKS[task] for task in ("alpha", "beta")}
        spec, inputs = write_study(
            root, sizes={"40k": 40_000, "160k": 160_000, "640k": 640_000}, levels=(5, 10), tasks=tasks, queries=12
        )
        if extended:
            spec |= {"references": {"bm25": {}, "far": {"k1": 2}}, "untuned": ["untuned"]}
            rng = np.random.default_rng(5)
            (root / "microbatch").mkdir()
            encoder = write_encoder(root / "finetune/toy-40k-5/untuned", "toy-40k-5", "microbatch", 0.0)
            encoder.write_text(
                encoder.read_text()
                .replace('"id": "microbatch"', '"id": "untuned"')
                .replace('"steps": 45', '"steps": 0')
            )
            encoder.with_name("log.jsonl").write_text("")
            inputs["encoders"].append(encoder)
            for task in tasks:
                for folder, name, recipe, mean in (
                    ("evaluate/toy-40k-5/untuned", "toy-40k-5", "untuned", 0.3),
                    ("reference/bm25", "bm25", "reference", 0.45),
                    ("reference/far", "far", "reference", 0.99),
                ):
                    path = write_evaluation(root / folder, name, recipe, task, mean, 12, rng)
                    if recipe == "reference":
                        unranked = 3 if (name, task) == ("bm25", "beta") else 0
                        path.write_text(json.dumps(json.loads(path.read_text()) | {"unranked": unranked}))
                    inputs["scores"].append(path)
        for stage in ("collect", "fit"):
            (root / stage).mkdir()
        collect(spec, inputs, root / "collect")
        fit({"bootstrap": 200, "seed": 1}, {"collect": root / "collect/collect.json"}, root / "fit")
        folders[extended] = root
    return folders


def test_references_are_in_tables_and_move_no_fit(made):
    scores = read_table(made[True] / "collect/collect.json", "scores")
    rows = scores[scores["recipe"].isin(["reference", "untuned"])]
    assert set(rows["role"]) == {"reference"} and set(scores["role"]) == {"reference", "fit"}
    assert set(rows["checkpoint"]) == {"bm25", "far", "toy-40k-5"}
    facts = read_table(made[True] / "collect/collect.json", "checkpoints").set_index("checkpoint").loc["bm25"]
    assert facts["reason"] == "BM25 (Lucene's), k1 0.9, b 0.4, stop words english, no stemmer"
    assert np.isnan(facts["flops"]) and np.isnan(facts["n_params"]) and facts["role"] == "reference"
    unmoved = ("fits", "parameters", "predictions", "effects", "isoflop_pairs", "ablation", "correlations", "noise")
    for name in unmoved:
        assert (made[True] / f"fit/{name}.csv").read_bytes() == (made[False] / f"fit/{name}.csv").read_bytes(), name
    points = read_table(made[True] / "fit/fit.json", "points")
    assert len(points[points["task"] == "mean"]) == 3 + len(
        read_table(made[False] / "fit/fit.json", "points").query("task == 'mean'")
    )


def test_the_report_and_show_list_them(made):
    results = Results(made[True] / "collect/collect.json", made[True] / "fit/fit.json")
    rows = {row["checkpoint"]: row for row in score_table(results)["rows"]}
    assert rows["toy-40k-5, untuned"]["reason"] == "not fine-tuned" and rows["toy-40k-5"]["role"] == "fit"
    assert rows["bm25"]["reason"].endswith("no stemmer; nothing ranked for 3 of 12 queries of beta")
    assert rows["far"]["reason"].endswith("no stemmer") and all(cell["best"] for cell in rows["far"]["scores"])
    assert "unranked" not in read_table(made[False] / "collect/collect.json", "scores")
    mean = rows["bm25"]["means"][0]
    assert 0 < mean["low"] < mean["y"] < mean["high"] and rows["bm25"]["means"][1] is None
    assert all(cell["y"] for cell in rows["bm25"]["scores"] + rows["toy-40k-5, untuned"]["scores"])
    shown = content(results, "t") | {"used": [], "used_unknown": 0}
    table = [line.split() for line in lines(shown, "text")]
    assert [row[-1] for row in table if "untuned" in row or "bm25" in row][:2] == ["reference", "reference"]
    assert next(row for row in table if "bm25" in row)[1:4] == ["–", "–", "–"]


def test_random_weights_that_are_not_trained_have_one_row_which_says_both():
    checkpoints = pd.DataFrame({"checkpoint": ["fresh"], "source": ["random"], "role": ["reference"], "reason": ["x"]})
    study = SimpleNamespace(recipes=["own"], main_recipe="own")
    points = pd.DataFrame({"checkpoint": ["fresh"], "recipe": ["untuned"]})
    [(row, recipe)] = systems(SimpleNamespace(study=study, checkpoints=checkpoints), points)
    assert (row["reason"], recipe) == ("random weights, not fine-tuned", "untuned")


def test_figures_1a_1b_2_and_zero_shot_draw_and_list_them(made):
    import matplotlib.pyplot as plt

    from retscale.figure import backbones, fig1a, fig1b, fig2, style
    from retscale.figure.config import FigureConfig

    tables, names = Tables(made[True] / "collect/collect.json", made[True] / "fit/fit.json"), ["bm25", "far"]
    names += ["toy-40k-5 untuned"]
    config = FigureConfig()
    with plt.rc_context(style.rc(config)):
        draws = (fig1a.draw, fig1b.draw, fig2.draw, backbones.draw_zero_shot)
        figures = {draw: draw(tables, config) for draw in draws}
    for draw, drawn in figures.items():
        assert set(drawn.marks["recipe"]) == {"paper", "reference", "untuned"}
        assert "3 references in no fit" in drawn.caption and "3 references in no fit" in drawn.alt
        figure, wanted = drawn.figure, 2 if draw is fig2.draw else 1
        across = [line for ax in figure.axes for line in ax.lines if list(line.get_xdata()) == [0, 1]]
        texts = [text.get_text() for ax in figure.axes for text in ax.texts]
        at_edge = [text for text in texts if text.startswith(("↑", "↓"))]
        assert len(across) + len(at_edge) == 3 * wanted
        keys = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
        assert set(names) <= set(keys if draw is fig2.draw else [text.strip("↑↓ ").split(" 0.")[0] for text in texts])
        plt.close(figure)


def test_figures_name_them_at_their_height_or_at_the_edge(made):
    import matplotlib.pyplot as plt

    from retscale.figure.config import FigureConfig

    tables = Tables(made[True] / "collect/collect.json", made[True] / "fit/fit.json")
    assert set(tables.points["recipe"]) == {"paper", "microbatch"}
    rows = references.of(tables, "mean")
    assert rows["label"].tolist() == ["bm25", "far", "toy-40k-5 untuned"] and rows["dashes"].nunique() == 3
    assert rows["dashes"].tolist() == references.of(tables, "alpha")["dashes"].tolist()
    assert "far 0.9" in references.words(rows) and "(BM25 (Lucene's), k1 2, b 0.4" in references.words(rows)
    assert references.words(rows).endswith("(not fine-tuned).") and "0." not in references.words(rows.head(0))
    figure, ax = plt.subplots()
    ax.set_ylim(0.4, 0.5)
    y = dict(zip(rows["label"], (0.45, 0.99, 0.33)))
    references.draw(ax, rows.assign(y=rows["label"].map(y)), FigureConfig())
    assert [line.get_ydata()[0] for line in ax.lines] == [0.33, 0.45]
    assert [text.get_text() for text in ax.texts] == ["toy-40k-5 untuned", "bm25", "↑ far 0.990"]
    low, high = ax.get_ylim()
    assert low < 0.33 and high == 0.5
    limits = ax.get_ylim()
    references.draw(ax, rows.head(0), FigureConfig())
    assert ax.get_ylim() == limits and references.words(rows.head(0)) == "" and references.legend(rows.head(0)) == []
    plt.close(figure)
