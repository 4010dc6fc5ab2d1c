"""A published table, and a folder of mteb, joined to a finished study: what they change, and what they must not."""

import csv
import json

FOLDERS = ("collect", "fit", "evaluate", "finetune", "icl")
ENTRY = """
external:
  - table: published.csv
    source: a table made up for this test
    tasks: {FiQA2018: fiqa}
    columns: {n_params: params, n_tokens: tokens}
  - {results: shared, table: models.csv, source: results made up for this test, tasks: {FiQA2018: fiqa}}
"""
RESULTS = {"FiQA2018": 0.07, "consumer-contracts": 0.21}
TABLE = """model,task,ndcg_at_10,params,tokens
alpha,FiQA2018,0.03,30000,100000
alpha,consumer-contracts,0.2,30000,100000
beta,FiQA2018,0.05,90000,
beta,consumer-contracts,0.3,90000,
gamma,FiQA2018,0.04,50000,200000
"""
COST = {"external": 1, "figure": 4, "report": 1}


def files(clone) -> dict[str, bytes]:
    results = clone.folder / "results/smoke"
    return {
        str(path.relative_to(results)): path.read_bytes()
        for name in FOLDERS
        for path in sorted((results / name).rglob("*"))
        if path.is_file()
    }


def test_it_costs_four_figures_and_the_report_and_moves_no_fit(finished):
    before = files(finished)
    old = {name: (finished.folder / f"results/smoke/figure/{name}.csv").read_bytes() for name in ("1b", "3")}
    (finished.folder / "published.csv").write_text(TABLE)
    (finished.folder / "models.csv").write_text("model,n_params,n_tokens\norg/delta,40000,100000\n")
    shared = finished.folder / "shared/org__delta/rev"
    shared.mkdir(parents=True)
    for task, value in RESULTS.items():
        content = {"task_name": task, "dataset_revision": "r", "scores": {"test": [{"ndcg_at_10": value}]}}
        (shared / f"{task}.json").write_text(json.dumps(content))
    study = finished.folder / "config/smoke.yaml"
    study.write_text(study.read_text() + ENTRY)
    assert finished.plan() == COST
    finished.snakemake()
    assert files(finished) == before
    assert finished.plan() == {}

    figure = finished.folder / "results/smoke/figure"
    assert (figure / "3.csv").read_bytes() == old["3"]
    assert (figure / "1b.csv").read_bytes().startswith(old["1b"].rstrip(b"\n"))
    with (figure / "1b.csv").open(newline="") as rows:
        marks = {row["checkpoint"]: row for row in csv.DictReader(rows)}
    assert {"beta", "gamma"} & marks.keys() == set()  # compute unknown; a task lacks
    assert float(marks["org/delta"]["y"]) == 0.14 and float(marks["org/delta"]["x"]) == 6 * 40000 * 100000
    assert float(marks["alpha"]["y"]) == 0.115 and float(marks["alpha"]["x"]) == 6 * 30000 * 100000
    caption = (figure / "1b.md").read_text()
    assert "a table made up for this test" in caption
    assert "unknown: beta." in caption and "lack a task of the mean: gamma." in caption
    report = (finished.folder / "results/smoke/report.html").read_text()
    assert all(f'<th scope="row">{name}</th>' in report for name in ("alpha", "beta", "gamma", "org/delta"))
    audited = finished.run("retscale", "audit", "results/smoke/figure/1b.png", "--points").stdout
    assert "point     alpha / mean  x=18000000000.0  y=0.115\n          published.csv  sha256" in audited
    (delta,) = (part for part in audited.split("point     ") if part.startswith("org/delta / mean"))
    for file in ("shared/org__delta/rev/FiQA2018.json", "shared/org__delta/rev/consumer-contracts.json", "models.csv"):
        assert f"          {file}  sha256" in delta
    assert "verdict   verified" in audited

    finished.edit("published.csv", "0.03,", "0.04,")
    assert finished.plan() == COST
    audited = finished.run("retscale", "audit", "results/smoke/figure/1b.png", status=1).stdout
    assert (
        "PROBLEM   published.csv: is not the file that results/smoke/external/external.record.json was made from"
        in audited
    )

    finished.edit("published.csv", "0.04,30000,100000", "4.0,30000,100000")
    failed = finished.snakemake(status=1)
    assert "published.csv, line 2: the value 4.0 lies outside 0 to 1" in failed.stdout + failed.stderr
    (finished.folder / "published.csv").unlink()
    failed = finished.run("snakemake", "-n", "--configfile", "config/smoke.yaml", status=1)
    text = failed.stdout + failed.stderr
    assert "external.0.table: there is no file published.csv" in text and "Traceback" not in text
