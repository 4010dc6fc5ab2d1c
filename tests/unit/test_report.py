"""The report: complete, self-contained, repeatable, and verdicts that follow their rules."""

import json
import re

import artifacts
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from page_checks import Page, problems
from test_collect_synthetic import collected, write_study

from retscale.collect.run import run as collect
from retscale.common.files import sha256
from retscale.figure.run import FIGURES
from retscale.figure.run import run as draw
from retscale.fit.run import run as fit
from retscale.report import show
from retscale.report.results import Results
from retscale.report.run import run

pytestmark = pytest.mark.usefixtures("svg_only")

SPEC = {
    "title": "A toy <study>",
    "description": "Made up.",
    "deviations": ["The models are small."],
    "machine": "two cores",
    "pairs": {"forum": {"licence": "CC0", "origin": "made up"}},
    "mixtures": {"own": {"forum": None}},
    "text": {"speeches": {"licence": "public domain", "origin": "made up"}},
    "tasks": {"alpha": {"licence": "MIT", "origin": "invented here"}},
}


def write(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def made(root, **options):
    """The inputs of a report."""
    return drawn(root, collected(root, **options))


def drawn(root, source):
    """The inputs of a report on the tables of `source` (collect.json)."""
    (root / "fit").mkdir()
    fit({"bootstrap": 200}, {"collect": source}, root / "fit")
    inputs = {"collect": source, "fit": root / "fit" / "fit.json"}
    (root / "figure").mkdir()
    for name in FIGURES:
        draw({"name": name, "dpi": 72}, inputs, root / "figure")
    task = {"id": "alpha", "queries": 60, "documents": 1234, "judgements": 70, "judged_only": True}
    task["notes"] = {"dropped": {"query without judgment": 4}, "kept": {"empty document": 2, "empty query": 1}}
    pairs = {"id": "forum", "pairs": 900, "passages": 800, "rows": 1000, "excluded": {"passage in boolq": 100}}
    pairs |= {"held_out": {"alpha": 90}, "overlap": {"alpha": 7}}
    leaks = [
        {
            "part": "queries",
            "texts": 60,
            "exact": {"queries": 2, "positives": 0},
            "run": {"queries": 1, "positives": 4},
        },
        {
            "part": "documents",
            "texts": 1234,
            "exact": {"queries": 0, "positives": 3},
            "run": {"queries": 5, "positives": 1000},
        },
    ]
    leaks = [row | {"pairs": "forum"} for row in leaks]
    source = {"name": "speeches", "wheel": "w", "documents": 3, "tokens": 9999}
    mined = {"queries": 890, "negatives": 4, "passed": 12, "short": 5, "missing": 6}
    negatives = root / "mine" / "forum" / "negatives.parquet"
    negatives.parent.mkdir(parents=True)
    pq.write_table(pa.table({"query_id": ["q"]}).replace_schema_metadata({"facts": json.dumps(mined)}), negatives)
    return inputs | {
        "negatives": [negatives],
        "figures": [root / "figure" / f"{name}.png" for name in FIGURES],
        "tasks": [write(root / "task" / "alpha" / "task.json", artifacts.task(**task))],
        "pairs": [write(root / "pairs" / "forum" / "pairs.json", artifacts.pairs(**pairs))],
        "leakage": [write(root / "leakage" / "alpha.json", artifacts.leakage(task="alpha", overlap=leaks))],
        "text": write(root / "text" / "text.json", artifacts.text(sources=[source])),
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return made(tmp_path_factory.mktemp("study"))


def page(inputs, out, spec=SPEC):
    out.mkdir()
    run(spec, inputs, out)
    return (out / "report.html").read_text()


# Of what the made-up study lacks: pairs at equal compute, cuts, and most dimensions.
ABSENT = {"pairs", "beyond", "cuts", "in-domain", "lengths", "instructions", "multi-task"}


def test_the_text_stands_alone(inputs, tmp_path):
    text = page(inputs, tmp_path / "out")
    assert problems(text) == []
    images = [attributes for tag, attributes, _ in Page(text).elements if tag == "img"]
    drawn = [path.stem for path in inputs["figures"] if len(path.with_suffix(".csv").read_text().splitlines()) > 1]
    assert len(images) == len(drawn) and set(FIGURES) - set(drawn) == ABSENT
    for image in images:
        assert image["src"].startswith("data:image/svg+xml;base64,")
        assert len(image["alt"]) > 30


def test_it_mentions_orphans_only_where_there_are_some(inputs, tmp_path, monkeypatch):
    monkeypatch.setattr("retscale.report.run.unused", lambda inputs: {"files": 0, "bytes": 0})
    without = page(inputs, tmp_path / "without").splitlines()
    monkeypatch.setattr("retscale.report.run.unused", lambda inputs: {"files": 1, "bytes": 5000})
    more = [line for line in page(inputs, tmp_path / "with").splitlines() if line not in without]
    assert len(more) == 1 and "Nothing on this page was made from 1 file (5 kB)" in more[0]
    assert not any("Nothing on this page" in line for line in without)


def test_it_tells_what_was_odd_in_a_task(inputs, tmp_path):
    text = page(inputs, tmp_path / "out")
    assert "kept: empty document 2, empty query 1; dropped: query without judgment 4; equal scores" in text
    assert "equal scores in the rankings of up to 5 queries" in text


def test_it_opens_with_the_answer_then_the_figures_then_the_claims(inputs, tmp_path):
    text = page(inputs, tmp_path / "out")
    assert "A toy &lt;study&gt;" in text
    opening = text[text.index("</h1>") : text.index('id="run"')]
    assert opening.count("<li>") == 6 and "ten times as much of it changes the score by" in opening
    assert " claims of Luo et al. 2024 about models " in opening
    words = [
        'id="answer"',
        "12 checkpoints, that is pretrained language models, of 4 sizes",
        "two cores",
        "<figure",
        "The papers’ claims",
        'id="scores"',
        'id="trends"',
        'id="forecasts"',
        'id="ceilings"',
        'id="entropy"',
        'id="equal-compute"',
        'id="correlations"',
        'id="noise"',
        "The models are small.",
        'id="leakage"',
        'id="checklist"',
        'id="provenance"',
    ]
    places = [text.index(word) for word in words]
    assert places == sorted(places)


def test_data_and_licences_are_listed(inputs, tmp_path):
    text = page(inputs, tmp_path / "out")
    for word in (
        "invented here",
        "judged only",
        "1\u202f234",
        "passage in boolq",
        "public domain",
        "CC0",
        "retscale audit",
    ):
        assert word in text, word


def test_leakage_is_listed_for_each_task_and_side(inputs, tmp_path):
    text = page(inputs, tmp_path / "out")
    rows = [re.sub(r"\|+", "|", re.sub("<[^>]*>", "|", row)).strip("|") for row in re.findall("<tr>(.*?)</tr>", text)]
    assert "alpha|queries|60|forum|2|0|1|4" in rows
    assert "alpha|documents|1\u202f234|forum|0|3|5|1\u202f000" in rows


def test_each_training_data_set_is_listed(inputs, tmp_path):
    faq = {"id": "faq", "pairs": 30, "passages": 20, "rows": 61, "excluded": {"query in alpha": 29, "empty": 2}}
    faq |= {"held_out": {"alpha": 90}, "overlap": {"alpha": 31}}
    both = [*inputs["pairs"], write(tmp_path / "pairs" / "faq" / "pairs.json", artifacts.pairs(**faq))]
    spec = SPEC | {
        "pairs": SPEC["pairs"] | {"faq": {"licence": "MIT", "origin": "our own questions"}},
        "mixtures": {"own": {"faq": 0.25, "forum": 0.75}, "wide": {"faq": None, "forum": None}, "narrow": {"faq": 1}},
    }
    text = page({**inputs, "pairs": both}, tmp_path / "out", spec)
    assert "930 training pairs of forum, faq." in text
    rows = [re.sub("<[^>]*>", "|", row).strip("|") for row in re.findall("<tr>(.*?)</tr>", text)]
    rows = [re.sub(r"\|+", "|", row) for row in rows]
    for row in (
        "forum|900|800|1\u202f000|CC0|made up",
        "faq|30|20|61|MIT|our own questions",
        "forum|890|4|12|5|6",
        "forum|passage in boolq|100",
        "faq|query in alpha|29",
        "faq|empty|2",
        "forum|alpha|90|7",
        "faq|alpha|90|31",
        "own|weight 0.75|weight 0.25",
        "wide|by its pairs|by its pairs",
        "narrow|–|weight 1",
    ):
        assert row in rows, row
    assert f"faq/pairs.json|{sha256(both[1])}" in "\n".join(rows)


def test_a_reason_beside_an_estimate_is_not_a_status(inputs, tmp_path):
    """`ok: too few sizes for an interval` would contradict itself."""
    text = page(inputs, tmp_path / "out")
    assert "too few sizes for an interval" in text and "ok: " not in text


def test_single_in_context_tasks_and_other_forms_are_folded(inputs, tmp_path):
    text = page(inputs, tmp_path / "out")
    folded = re.findall("<details>(.*?)</details>", text, re.DOTALL)
    assert any("Single in-context tasks" in part for part in folded)
    assert any("log-linear-ratio" in part and "ΔAICc" in part for part in folded)
    trends = text[text.index('id="trends"') : text.index("Growth of the mean along")]
    assert trends.count('<th scope="row">mean</th>') == 2  # of each recipe one, in the form that is drawn
    table = text[text.index('id="correlations"') : text.index("Single in-context tasks")]
    assert "high values are expected, since both grow with compute" in table


def test_bits_per_byte_stand_beside_scores_with_what_predicts_and_signal_to_noise(inputs, tmp_path):
    results = Results(inputs["collect"], inputs["fit"])
    text = page(inputs, tmp_path / "out")
    section = text[text.index('id="in-context"') : text.index('id="trends"')]
    bits = results.table("icl_bits").set_index(["checkpoint", "task"])["bits_per_byte"]
    name = results.checkpoints["checkpoint"].iloc[0]
    row = next(line for line in section.splitlines() if f">{name}<" in line and f">{bits[name, 'mean']:.3f}<" in line)
    assert f">{bits[name, 'piqa']:.3f}<" in row and row.count("<td") == 9
    ratios = results.table("signal").set_index(["measure", "task"])["ratio"]
    row = next(line for line in section.splitlines() if '<th scope="row">piqa</th>' in line)
    assert all(f">{ratios[measure, 'piqa']:.1f}<" in row for measure in ("score", "bits per byte"))
    table = results.table("predictors").set_index("predictor")
    best = table.index[table["best"]].item()
    (row,) = [line for line in text.splitlines() if f'<th scope="row">{best}</th>' in line and "best" in line]
    assert f"{table.loc[best, 'rmse']:.4f}" in row
    shown = show.content(results, "t") | {"used": [], "used_unknown": 0}
    lines = list(show.lines(shown, "text"))
    stderr = results.table("icl_bits").set_index(["checkpoint", "task"])["stderr"][name, "mean"]
    assert any(name in line and f" {bits[name, 'mean']:.3f} ± {stderr:.3f}" in line for line in lines)
    assert any(line.split()[:4] == ["bits", "per", "byte", "12"] for line in lines)


def test_same_inputs_same_bytes(inputs, tmp_path):
    assert page(inputs, tmp_path / "a") == page(inputs, tmp_path / "b")


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [{"a": 40_000}, {"a": 40_000, "b": 160_000}])
def test_a_study_of_few_checkpoints_makes_no_claim(tmp_path, sizes):
    inputs = made(tmp_path, sizes=sizes, levels=(5,), tasks={"alpha": 0.1}, queries=10, ablation=0)
    text = page({k: v for k, v in inputs.items() if k != "text"}, tmp_path / "out", {})
    claims = text[text.index('id="claims"') : text.index("The rule behind each verdict")]
    assert claims.count(">cannot tell<") == 11  # with how many queries are needed
    assert ">supported<" not in text and ">not supported<" not in text
    assert problems(text) == []


@pytest.mark.slow
@pytest.mark.parametrize("references", [1, 4])
def test_unknown_compute_is_in_no_fit_and_the_table_says_why(tmp_path, references):
    """One checkpoint of a ladder whose tokens nobody knows; and a study of nothing but references."""
    root = tmp_path / "study"
    spec, inputs = write_study(root, sizes={"a": 40_000, "b": 160_000}, levels=(5, 10), queries=10, ablation=0)
    path = inputs["cards"][0]
    path.write_text(json.dumps(json.loads(path.read_text()) | dict.fromkeys(("n_tokens", "flops", "tokens_per_param"))))
    for card in inputs["cards"][:references]:
        spec["checkpoints"][card.parent.name]["role"] = "reference"
    (root / "collect").mkdir()
    collect(spec, inputs, root / "collect")
    files = drawn(root, root / "collect" / "collect.json")
    named = {"checkpoints": {path.parent.name: {"licence": "x", "tokens": "memory"}}}
    text = page({k: v for k, v in files.items() if k != "text"}, tmp_path / "out", named)
    table = text[text.index('id="scores"') : text.index("<p>The mean is over")]
    assert table.count("reference: in no fit, for its pretraining tokens are unknown and so are its FLOPs") == 1
    assert "<td>memory</td>" in text and not re.search(r"\bnan\b", text)
    assert problems(text) == []
    if references == 4:
        assert "Whether retrieval improves" in text and 'id="trends"' not in text and 'id="forecasts"' not in text
