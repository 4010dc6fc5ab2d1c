"""Encoders made elsewhere, added to a finished study: what they cost, and that they move no fit."""

import csv
import json
import shutil

import pandas as pd

FILES = ("fits", "predictions", "correlations", "effects", "isoflop_pairs", "ablation", "icl_points")
COST = {"encoder": 1, "tokens_small": 1, "evaluate_small": 1, "collect": 1, "fit": 1, "figure": 11, "report": 1}
FIGURES = ("1a", "1b", "2")


def test_a_copy_scores_as_the_original_enters_no_fit_and_is_watched(finished):
    results = finished.folder / "results/smoke"
    mine = shutil.copytree(results / "finetune/d24/own-mini", finished.folder / "else where")
    before = {name: (results / f"fit/{name}.csv").read_bytes() for name in FILES}
    study = finished.folder / "config/smoke.yaml"
    study.write_text(study.read_text() + "encoders: [{id: mine, path: else where, licence: mine alone}]\n")
    assert finished.plan() == COST
    finished.keep_figures(*FIGURES)
    finished.snakemake()
    assert finished.plan() == {}

    for task in ("fiqa", "consumer-contracts"):
        one, other = (results / f"evaluate/{name}/{task}" for name in ("mine/given", "d24/own-mini"))
        copied, original = (json.loads(path.with_suffix(".json").read_text()) for path in (one, other))
        assert copied == original | {"checkpoint": "mine", "recipe": "given"}
        pd.testing.assert_frame_equal(*(pd.read_parquet(path.with_suffix(".parquet")) for path in (one, other)))
    assert {name: (results / f"fit/{name}.csv").read_bytes() for name in FILES} == before

    with (results / "figure/1b.csv").open(newline="") as rows:
        marks = {row["checkpoint"]: row for row in csv.DictReader(rows)}
    assert marks["mine"]["y"] == marks["d24"]["y"] and marks["mine"]["x"] == ""
    assert "1 reference in no fit, each a dashed line" in (results / "figure/1b.md").read_text()
    for name in FIGURES:
        assert "(made elsewhere)." in (results / f"figure/{name}.md").read_text()
    report = (results / "report.html").read_text()
    assert report.count('<th scope="row">mine</th>') == 4  # facts and mean; each task; dimensions; licence
    assert "reference: made elsewhere, by no recipe of this study" in report and "mine alone" in report
    audited = finished.run("retscale", "audit", "results/smoke/figure/1b.png", "--points").stdout
    assert "results/smoke/encoder/mine/encoder.json  sha256" in audited and "verdict   verified" in audited
    planned = finished.run("retscale", "plan", "config/smoke.yaml").stdout
    assert "encoders made elsewhere, of any size: mine" in planned
    assert "encoders     1 made elsewhere: mine" in finished.run("retscale", "check", "config/smoke.yaml").stdout

    facts = json.loads((mine / "encoder.json").read_text())
    (mine / "encoder.json").write_text(json.dumps(facts | {"pooling": "last"}))
    told = finished.run("retscale", "audit", "results/smoke/figure/1b.png", status=1).stdout
    assert (
        "else where/encoder.json: is not the file that results/smoke/encoder/mine/encoder.record.json was made from"
        in told
    )
    assert finished.plan() == COST | {"figure": len(FIGURES)}
    finished.snakemake("results/smoke/evaluate/mine/given/fiqa.json")
    copied, original = (
        json.loads((results / f"evaluate/{name}/fiqa.json").read_text()) for name in ("mine/given", "d24/own-mini")
    )
    assert copied["metrics"] != original["metrics"]

    with (mine / "model.safetensors").open("ab") as file:
        file.write(b" ")
    failed = finished.snakemake("results/smoke/evaluate/mine/given/fiqa.json", status=1)
    log = (finished.folder / "logs/smoke/encoder/mine.log").read_text()
    assert "else where/model.safetensors is not the file that encoder.json beside it lists" in log, failed.stderr
