"""BM25 and the controls, added to a finished study: what they cost, that they move no fit, and that an audit reads them."""

import csv
import json

FILES = ("fits", "predictions", "correlations", "effects", "isoflop_pairs", "ablation")
COST = {"checkpoint": 1, "finetune": 2, "tokens_small": 2, "evaluate_small": 2, "icl": 1, "reference_small": 1}
COST |= {"collect": 1, "fit": 1, "figure": 11, "report": 1}
FIGURES = ("1a", "1b", "2")


def test_references_are_scored_drawn_and_audited_and_enter_no_fit(finished):
    results = finished.folder / "results/smoke"
    before = {name: (results / f"fit/{name}.csv").read_bytes() for name in FILES}
    finished.edit(
        "config/smoke.yaml",
        "pairs: {use: boolq",
        "  - {id: fresh, family: mpt-mini, size: 0.06M, role: reference, source: {kind: random, like: d24}}\n"
        "references: [bm25]\npairs: {use: boolq",
    )
    untuned = "  - {use: own-mini, id: untuned, tuning: none, checkpoints: [d24, fresh]}\n"
    finished.edit("config/smoke.yaml", "\ntasks: [fiqa", f"\n{untuned}tasks: [fiqa")
    assert finished.plan() == COST
    finished.keep_figures(*FIGURES)
    finished.snakemake()
    assert finished.plan() == {}

    result = json.loads((results / "reference/bm25/fiqa.json").read_text())
    assert (result["checkpoint"], result["recipe"]) == ("bm25", "reference") and result["metrics"]["ndcg_at_10"] > 0.4
    assert {name: (results / f"fit/{name}.csv").read_bytes() for name in FILES} == before
    for figure in FIGURES:
        with (results / f"figure/{figure}.csv").open(newline="") as rows:
            drawn = {(row["checkpoint"], row["recipe"]) for row in csv.DictReader(rows)}
        assert {("bm25", "reference"), ("d24", "untuned"), ("fresh", "untuned")} <= drawn
        words = (results / f"figure/{figure}.md").read_text()
        assert "3 references in no fit" in words and "stop words english, no stemmer)" in words
        assert "(random weights, not fine-tuned)" in words
    shown = finished.run("retscale", "show", "config/smoke.yaml").stdout
    assert [line.split()[0] for line in shown.splitlines() if line.endswith("reference")] == [
        "d24",
        "e24",
        "bm25",
        "fresh",
    ]

    audited = finished.run(
        "retscale", "audit", "results/smoke/figure/1b.png", "--points", "--spot-check", "0", "--replay", "reference"
    ).stdout
    assert "results/smoke/reference/bm25/fiqa.json  sha256" in audited and "verdict   verified" in audited
    assert "reference  bm25/reference/" in audited and " equal" in audited
    forged = results / "reference/bm25/fiqa.json"
    forged.write_text(forged.read_text().replace('"n_queries": ', '"n_queries": 1'))
    told = finished.run("retscale", "audit", "results/smoke/figure/1b.png", status=1).stdout
    assert "results/smoke/reference/bm25/fiqa.json: is not the file that its record lists" in told
    runs = [
        f"results/smoke/{place}/consumer-contracts.parquet" for place in ("reference/bm25", "evaluate/d24/own-mini")
    ]
    assert "A - B  +0." in finished.run("retscale", "compare", *runs).stdout
    assert finished.run("retscale", "trec", runs[0]).stdout.count(" Q0 ") > 1000
