"""Cuts of a task, added to a finished study: what they cost, that they are vouched for, and that they move no mean."""

import json
import shutil

import pandas as pd

CUTS = """
encoders: [{id: mine, path: mine}]
contrasts:
  - {id: contracts, use: consumer-contracts, max_queries: 100, max_documents: 150}
  - {id: contracts-cut, cut_of: contracts, pool: {bm25: 1, random: 5, encoders: [mine], depth: 1}}
"""
COST = {"encoder": 1, "task": 1, "task_cut": 1, "tokens_small": 6, "tokens_pooled": 6, "evaluate_pooled": 6}
COST |= {
    "evaluate_small": 5,
    "evaluate_small_after_8": 1,
    "leakage": 1,
    "collect": 1,
    "fit": 1,
    "figure": 12,
    "report": 1,
}


def test_a_cut_by_rankings_is_made_after_them_and_vouched_for(finished):
    results = finished.folder / "results/smoke"
    shutil.copytree(results / "finetune/d24/own-mini", finished.folder / "mine")
    before = pd.read_csv(results / "fit/points.csv").query("task == 'mean'")
    study = finished.folder / "config/smoke.yaml"
    study.write_text(study.read_text() + CUTS)
    assert finished.plan() == COST
    finished.snakemake()
    assert finished.plan() == {}

    card = json.loads((results / "task/contracts-cut/task.json").read_text())
    assert card["notes"]["pool"].keys() == {"judged", "bm25", "mine", "random"} and card["queries"] == 100
    after = pd.read_csv(results / "fit/points.csv").query("task == 'mean' and recipe != 'given'")
    pd.testing.assert_frame_equal(after.reset_index(drop=True), before.reset_index(drop=True))
    table = pd.read_csv(results / "fit/cuts.csv").query("recipe == 'own-mini'")
    assert table["task"].tolist() == ["contracts-cut", "mean"] and (table["documents_cut"] == card["documents"]).all()
    assert '<h2 id="cuts">' in (results / "report.html").read_text()
    audited = finished.run("retscale", "audit", "results/smoke/figure/cuts.png").stdout
    assert "verdict   verified" in audited
    assert "contracts-cut" in finished.run("retscale", "show", "config/smoke.yaml").stdout
    finished.run("retscale", "lineage", "results/smoke/figure/cuts.png")
    assert "orphans" not in finished.run("retscale", "check", "config/smoke.yaml").stdout

    record = results / "task/contracts-cut/task.record.json"
    content = json.loads(record.read_text())
    content["inputs"] = [row for row in content["inputs"] if row["name"] != "runs"]
    record.write_text(json.dumps(content))
    told = finished.run("retscale", "audit", "results/smoke/figure/cuts.png", status=1).stdout
    assert "task/contracts-cut/task.record.json" in told
