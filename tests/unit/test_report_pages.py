"""The page of studies that have little to show, what checks of a page find, and how a study that has run is asked."""

import json
import re
import subprocess
import sys
from pathlib import Path

import browser
import pytest
import shapes
from page_checks import problems
from records import record_of

from retscale import cli
from retscale.collect.run import run as collect
from retscale.common.tables import read_table
from retscale.figure.run import run as draw
from retscale.fit.run import run as fit
from retscale.report.run import run as report
from retscale.study import load, source_files, specs

ROOT = Path(__file__).resolve().parents[2]
STYLE = """:root { --ink: #000000; --paper: #ffffff; --wash: #ffffff }
@media (prefers-color-scheme: dark) { :root { --ink: #ffffff; --paper: #000000; --wash: #000000 } }
body { overflow-wrap: break-word } .wide { overflow-x: auto } pre { overflow-x: auto }
figure img { width: 100%; background: #ffffff }"""
TABLE = '<table><caption>c</caption><tr><th scope="row">x</th></tr></table>'
GOOD = f'<html><style>{STYLE}</style><h1>a</h1><h2>b</h2><img alt="c"><div class="wide">{TABLE}</div></html>'


def test_a_good_page_has_no_problem():
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("part", "broken", "found"),
    [
        ("<h1>a</h1>", "<h1>a</h1><h1>a</h1>", "not one h1"),
        ("<h2>b</h2>", "<h3>b</h3>", "h1 is followed by h3"),
        (' alt="c"', "", "without alt"),
        ("<caption>c</caption>", "", "no caption"),
        (' scope="row"', "", "without scope"),
        ("<h2>b", "<script></script><h2>b", "<script>"),
        ("<h2>b", "<p style='width: 50em'></p><h2>b", "of its own"),
        ("<h2>b", '<h2 onclick="x">b', "handler"),
        ("<h2>b", '<p class="n">1</p><h2>b', "does not wrap"),
        ("<h2>b</h2>", "<p><h2>b</h2>", "closes something else"),
        ('<div class="wide">', "<div>", "outside a box that scrolls"),
        (".wide { overflow-x: auto }", "", "scroll"),
        ("pre {", "pre { min-width: 30em;", "pre is 30em wide"),
        ("overflow-wrap: break-word", "", "long words"),
        ("--ink: #ffffff", "--ink: #707070", "ink #707070 on paper #000000"),
        ("--ink: #000000", "--ink: #909090", "ink #909090 on paper #ffffff"),
        ("pre {", "pre { color: #333;", "outside the schemes"),
        ("; background: #ffffff", "", "no white ground"),
    ],
)
def test_the_checks_find_what_they_are_for(part, broken, found):
    assert part in GOOD
    assert any(found in problem for problem in problems(GOOD.replace(part, broken, 1)))


def made(folder: Path, given: dict, spec: dict, figures: list[dict]) -> str:
    """The page on a study of `collect` alone; `spec` of the report, `figures`: the specs of those that it has."""
    for stage in ("fit", "figure", "report"):
        (folder / stage).mkdir(parents=True)
    fit({"bootstrap": 200}, given, folder / "fit")
    given = given | {"fit": folder / "fit" / "fit.json"}
    for figure in figures:
        draw(figure, given, folder / "figure")
    given |= {"figures": [folder / "figure" / f"{figure['name']}.png" for figure in figures]}
    report(spec, given, folder / "report")
    return (folder / "report" / "report.html").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("svg_only")
def test_three_checkpoints_make_a_whole_page(tmp_path):
    given = {"collect": shapes.write_collected(shapes.SHAPES["three"], tmp_path / "collect")}
    text = made(tmp_path, given, {}, [{"name": "1b", "dpi": 72}])
    assert problems(text) == [] and not re.search(r"\b(nan|None)\b", text)
    assert "of sizes that were held out" not in text and "no size could be held out" in text
    for absent in ("data", "leakage", "deviations", "external"):
        assert f'id="{absent}"' not in text


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A folder in which config/published.yaml has run, with few replicates: its page, and its study file."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("clone")
        (root / "config").symlink_to(ROOT / "config")
        patch.chdir(root)
        file = Path("config/published.yaml")
        study = load.study(file)
        models, *scores = source_files.published(study)
        folder = root / "results" / "published"
        (folder / "collect").mkdir(parents=True)
        collect(specs.collect(study), {"models": models, "published": scores}, folder / "collect")
        given = {"collect": folder / "collect" / "collect.json"}
        figures = [specs.figure(study, name) for name in ("1b", "forms")]
        yield root, file, made(folder, given, specs.report(study), figures)


@pytest.mark.slow
def test_published_results_make_a_page_without_what_nobody_knows(published):
    root, _, text = published
    assert problems(text) == [] and not re.search(r"\b(nan|None)\b", text)
    assert "<strong>Yes</strong>, retrieval improves" in text and "in the average of the 6 families" in text
    assert "counted from its configuration; tokens from the card of GPT-Neo" in text  # the evidence
    assert "the scores of single queries are unknown" in text and "github.com/embeddings-benchmark/results" in text
    assert "Vertical bars" not in text and ">loss<" not in text and ">non-embedding<" not in text
    for absent in ("tasks", "leakage", "in-context", "noise", "entropy"):
        assert f'id="{absent}"' not in text
    for item in ("Which loss is minimised?", "From where does it start?", "How uncertain are the results?"):
        assert item in text
    assert "published means over queries; the queries are unknown" in text


@pytest.mark.slow
@pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)
def test_the_page_fits_a_phone_and_a_screen_light_and_dark(published):
    root, _, text = published
    page = root / "results/published/report/report.html"
    assert page.read_text() == text and browser.problems(page) == []


@pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)
@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('<p style="width: 500px">x</p>', "at 400 pixels the page is"),
        ('<img alt="" src="data:image/png;base64,x">', "at 1280 pixels 1 of 1 images are broken"),
        ("<script>console.error(1)</script>", "CONSOLE"),
        ("", "light and dark look alike"),
    ],
)
def test_a_browser_finds_what_it_is_asked_for(content, problem, tmp_path):
    (tmp_path / "page.html").write_text(f"<!doctype html><title>x</title>{content}")
    assert any(problem in line for line in browser.problems(tmp_path / "page.html"))


@pytest.mark.slow
def test_show_prints_scores_fits_and_claims(published, monkeypatch, capsys):
    root, file, _ = published
    monkeypatch.chdir(root)
    assert cli.main(["show", str(file)]) == 0
    text = capsys.readouterr().out
    assert re.search(r"SGPT-125M +125M +300B +2\.3 × 10²⁰ +published +0\.377 +fit\n", text)
    assert re.search(r"log-linear +21 +0\.05\d \[0\.0\d\d, 0\.0\d\d\] ", text)
    assert "supported  Retrieval quality grows with pretraining FLOPs: 0.05" in text
    assert cli.main(["show", str(file), "--format", "latex"]) == 0
    latex = capsys.readouterr().out
    assert r"SGPT-125M & 125M & 300B & 2.3 $\times 10^{20}$ & published & 0.377 & fit \\" in latex
    assert (
        latex.count(r"\toprule") == 4 and "\nsupported & Retrieval quality grows with pretraining FLOPs & 0.05" in latex
    )
    assert cli.main(["show", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    points = read_table(root / "results/published/fit/fit.json", "points").query("task == 'mean'")
    means = {row["checkpoint"]: row["means"][0]["y"] for row in shown["checkpoints"]}
    assert means == dict(zip(points["checkpoint"], points["y"], strict=True))
    assert shown["checkpoints"][0]["means"][0]["low"] is None
    assert {claim["claim"]: claim["verdict"] for claim in shown["claims"]}["grows"] == "supported"
    assert (shown["used"], shown["used_unknown"]) == ([], 1)
    usage = {"seconds": 3600.0, "cpu_seconds": 7200.0, "peak_bytes": 1, "gpus": 0, "joules": None}
    fit_record = root / "results/published/fit/fit.record.json"
    fit_record.write_text(json.dumps(record_of("fit", usage=usage)))
    assert cli.main(["show", str(file)]) == 0
    assert re.search(r"fit +1 +1 +2 +- +-\ntotal +1 +1 +2 +- +-\n", capsys.readouterr().out)
    fit_record.unlink()  # figures name the records of what they are made from


@pytest.mark.slow
def test_a_figure_drawn_alone_is_the_same(published, monkeypatch, capsys, tmp_path):
    root, file, _ = published
    monkeypatch.chdir(root)
    assert cli.main(["figure", "1b", str(file), "--out", str(tmp_path / "paper")]) == 0
    files = [Path(line) for line in capsys.readouterr().out.split()]
    assert {path.suffix for path in files} >= {".svg", ".csv", ".md", ".txt"}
    for path in files:
        if path.suffix in (".svg", ".csv", ".md", ".txt"):
            assert path.read_bytes() == (root / "results/published/figure" / path.name).read_bytes()
    assert sorted((tmp_path / "paper").iterdir()) == sorted(files)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["show", "published.yaml"], "results/published/collect/collect.json is missing; run the study first"),
        (["figure", "1b", "published.yaml"], "results/published/collect/collect.json is missing; run the study first"),
        (["figure", "1c", "published.yaml"], "unknown figure '1c'; the nearest of"),
        (["figure", "3", "published.yaml"], "published has no figure 3: no in-context task has a score"),
    ],
)
def test_what_cannot_be_shown_is_one_line(command, message, monkeypatch, tmp_path, capsys):
    (tmp_path / "config").symlink_to(ROOT / "config")
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command[:-1], f"config/{command[-1]}"]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["--help"], ["NAME study", "--spec SPEC --collect", "palette_from"]),
        (["1b"], ["required: study"]),
        (["--out", "paper"], ["required: NAME, study"]),
        (["--spec", "{}"], ["required: --collect, --fit, --out"]),
        (["--spec={}", "--fit", "x"], ["required: --collect, --out"]),
    ],
)
def test_figure_is_a_question_of_a_study_or_with_a_spec_a_job(arguments, asked, capsys):
    with pytest.raises(SystemExit):
        cli.main(["figure", *arguments])
    printed = "".join(capsys.readouterr())
    assert all(words in printed for words in asked)


def test_the_analysis_loads_neither_torch_nor_mteb():
    code = (
        "import sys, retscale.fit.run, retscale.figure.run, retscale.report.run, retscale.report.show, "
        "retscale.figure.redraw; sys.exit(bool({'torch', 'mteb', 'transformers', 'datasets'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
