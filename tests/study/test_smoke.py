"""The smoke study, end to end: what it leaves, what it shows, and what survives a kill."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
import zipfile
from collections import Counter
from pathlib import Path

import browser
import pandas as pd
import pytest
from conftest import Clone
from huggingface_hub import ModelCard
from mteb.cache import ResultCache

from retscale.paths import Results
from retscale.provenance import record

TIMED = ".record.json"  # how a job went is no result, and may differ between two runs


def outputs(clone, part: str = "") -> dict[str, bytes]:
    """Every result file of the smoke study but those that hold times."""
    root = clone.folder / "results/smoke" / part
    return {
        str(p.relative_to(root)): p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and not p.name.endswith(TIMED)
    }


def test_it_says_where_the_report_lies(smoke):
    assert "report   results/smoke/report.html" in smoke.smoke_output


def test_the_report_holds_the_figures_in_order_and_names_every_checkpoint(smoke):
    html = (smoke.folder / "results/smoke/report.html").read_text()
    assert "<script" not in html
    places = [html.index(f'id="figure-{name}"') for name in ("1a", "1b", "2", "3", "ablation", "training")]
    assert places == sorted(places)
    for checkpoint in ("d16", "d24", "d24-long", "e24"):
        assert checkpoint in html
    assert html.index('id="answer"') < html.index('id="figure-1a"') < html.index("How it deviates from the paper")


def test_every_job_says_once_what_it_has_used_and_show_adds_it_up(smoke):
    root = smoke.folder / "results/smoke"
    records = {path: json.loads(path.read_text()) for path in root.rglob("*.record.json")}
    for path, made in records.items():
        if path.parent.name.startswith("step-") and made["stage"] == "finetune":
            assert made["usage"] is None
        else:
            # To link tokens that are there takes less than is counted.
            assert (made["usage"]["cpu_seconds"] > 0 or made["stage"] == "tokens") and made["usage"]["gpus"] == 0
    shown = json.loads(smoke.run("retscale", "show", "config/smoke.yaml", "--json").stdout)
    count = Counter(made["stage"] for made in records.values() if made["usage"])
    for stage in ("leakage", "figure", "report"):  # not behind the fits
        del count[stage]
    assert {row["stage"]: row["results"] for row in shown["used"]} == count | {"total": count.total()}


def test_every_figure_has_its_files(smoke):
    for name in ("1a", "1b", "2", "3", "ablation", "training"):
        for suffix in ("png", "pdf", "svg", "csv", "md", "txt"):
            assert (smoke.folder / f"results/smoke/figure/{name}.{suffix}").stat().st_size > 0


def test_every_output_has_a_record_that_names_its_bytes(smoke):
    root = smoke.folder / "results/smoke"
    listed = set()
    for path in root.rglob("*.record.json"):
        made = json.loads(path.read_text())
        assert made["packages"]["torch"].startswith("2.13.0") and made["machine"]["cpu"]
        listed |= {(path.parent / output["path"]).resolve() for output in made["outputs"]}
    files = {p.resolve() for p in root.rglob("*") if p.is_file() and not p.name.endswith(".record.json")}
    assert files == listed


def test_every_record_names_the_digests_of_those_behind_it(smoke):
    """So those of the figures and of the report, which the report lists, vouch for all of them."""
    root = smoke.folder / "results/smoke"
    records = {path.resolve(): record.parse(path) for path in root.rglob("*.record.json")}
    for path, saved in records.items():
        assert saved["schema"] == 2 and not saved["code_changed"] and saved["run"]["attempt"] == 1, path
        assert saved["machine"]["accelerators"] == [] and saved["run"]["command"][:2] == ["retscale", saved["stage"]]
        for row in saved["inputs"]:
            maker = row["record"] and records[(path.parent / row["record"]).resolve()]
            assert row["digest"] == (maker and record.digest(maker)), (path, row["path"])
    html = (root / "report.html").read_text()
    for figure in (root / "figure").glob("*.record.json"):
        assert record.digest(record.parse(figure)) in html
    code = json.loads((root / "collect/collect.record.json").read_text())["notes"]["code"]
    assert {stage: len(versions) for stage, versions in code.items()}["evaluate"] == 1


def test_scores_are_complete_and_in_range(smoke):
    scores = pd.read_parquet(smoke.folder / "results/smoke/collect/scores.parquet")
    ndcg = scores[scores["metric"] == "ndcg_at_10"]
    assert len(ndcg) == 10 and ndcg["value"].between(0, 1).all()
    per_query = pd.read_parquet(smoke.folder / "results/smoke/collect/per_query.parquet")
    means = per_query.groupby(["checkpoint", "recipe", "task"])["ndcg_at_10"].mean()
    for row in ndcg.itertuples():
        assert means[row.checkpoint, row.recipe, row.task] == pytest.approx(row.value, abs=1e-9)


def test_the_training_table_holds_every_line_of_every_log(smoke):
    root = smoke.folder / "results/smoke"
    table = pd.read_parquet(root / "collect/training.parquet")
    told = set()
    for path in root.glob("finetune/*/*/log.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        told |= {(path.relative_to(root).as_posix(), line["step"], line["loss"]) for line in lines}
    assert (
        len(told) == len(table) == 10
        and set(table[["file", "step", "loss"]].itertuples(index=False, name=None)) == told
    )


def test_collecting_hashes_no_weights(smoke):
    """They may be tens of gigabytes a checkpoint, and only cards and logs are read."""
    made = json.loads((smoke.folder / "results/smoke/collect/collect.record.json").read_text())
    names = {row["name"]: set() for row in made["inputs"]}
    for row in made["inputs"]:
        names[row["name"]].add(row["path"].rsplit("/", 1)[1])
    assert names["cards"] == {"card.json"} and names["encoders"] == {"encoder.json", "log.jsonl"}


def test_other_tools_read_its_encoders_and_scores(smoke, tmp_path):
    smoke.run("retscale", "export", "config/smoke.yaml", "--format", "mteb", "--out", str(tmp_path))
    scores = {
        (model.model_name, result.task_name): result.get_score()
        for model in ResultCache(tmp_path).load_results(include_remote=False)
        for result in model.task_results
    }
    table = pd.read_parquet(smoke.folder / "results/smoke/collect/scores.parquet").query("metric == 'ndcg_at_10'")
    expected = {(f"retscale/{row.checkpoint}-{row.recipe}", row.task): row.value for row in table.itertuples()}
    assert scores == pytest.approx(expected, abs=6e-7) and len(scores) == 10
    card = ModelCard(smoke.run("retscale", "card", "d24/own-mini", "config/smoke.yaml").stdout)
    assert {result.dataset_type for result in card.data.eval_results} == {"fiqa", "consumer-contracts"}
    encoder = smoke.folder / "results/smoke/finetune/d24/own-mini/encoder.json"
    assert record.digest(record.read(encoder)) in card.text and card.data.library_name == "sentence-transformers"
    made = json.loads((smoke.folder / "results/smoke/evaluate/d24/own-mini/fiqa.record.json").read_text())
    read = {Path(row["path"]).name for row in made["inputs"] if row["name"] == "encoder"}
    assert "model.safetensors" in read and not read & {"modules.json", "log.jsonl"}


def test_snakemakes_own_report(finished, tmp_path):
    finished.run("snakemake", "--configfile", "config/smoke.yaml", "--report", str(tmp_path / "report.zip"))
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        assert any(name.endswith("1b.png") for name in archive.namelist())


def test_a_stage_runs_without_snakemake(finished, tmp_path):
    """The command of a job, run by hand elsewhere, gives the same bytes."""
    root = finished.folder / "results/smoke"
    spec = json.loads((root / "mine/boolq/negatives.record.json").read_text())["spec"]
    finished.run(
        "retscale",
        "mine",
        "--spec",
        json.dumps(spec),
        "--pairs",
        "results/smoke/pairs/boolq/pairs.json",
        "--out",
        str(tmp_path / "negatives.parquet"),
    )
    assert (tmp_path / "negatives.parquet").read_bytes() == (root / "mine/boolq/negatives.parquet").read_bytes()


def test_two_training_data_sets_are_read_and_mined_apart(clone):
    """BoolQ in two samples: each with its own counts, negatives and records, each clear of all that is held out."""
    clone.edit(
        "config/smoke.yaml",
        "pairs: {use: boolq, max_pairs: 1000}",
        "pairs: [{use: boolq, max_pairs: 300}, {use: boolq, id: also, max_pairs: 200, seed: 1}]",
    )
    clone.snakemake("--until", "mine")
    root = clone.folder / "results/smoke"
    queries = {}
    for id, size in {"boolq": 300, "also": 200}.items():
        facts = json.loads((root / f"pairs/{id}/pairs.json").read_text())
        assert (facts["id"], facts["pairs"]) == (id, size)
        assert set(facts["overlap"]) == {"boolq-validation", "boolq-test", "fiqa", "consumer-contracts"}
        mined = json.loads((root / f"mine/{id}/negatives.record.json").read_text())
        assert {Path(source["path"]).parent.name for source in mined["inputs"]} == {id}
        queries[id] = set(pd.read_parquet(root / f"mine/{id}/negatives.parquet")["query_id"])
        assert queries[id] == set(pd.read_parquet(root / f"pairs/{id}/pairs.parquet")["query_id"])
    assert queries["boolq"] != queries["also"]


def test_killed_at_work_the_same_command_ends_with_the_same_results(smoke, finished):
    """SIGKILL of the driver and all its jobs in the middle of a pretraining, then of a fine-tuning, then the same command."""
    finished = Clone(finished.folder, cold=True)  # jobs that belong to the driver's process group
    finished.run("bash", "-c", "rm -r results/smoke/{checkpoint,finetune}/d24-long")
    command = ["snakemake", "--profile", "local", "--configfile", "config/smoke.yaml", "--until", "finetune"]
    for stage, at_work in (("checkpoint", "*/.card.json.tmp/log.jsonl"), ("finetune", "*/*/.encoder.json.state")):
        driver = subprocess.Popen(
            command,
            cwd=finished.folder,
            env=finished.environment,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while not list(finished.folder.glob(f"results/smoke/{stage}/{at_work}")):
            assert driver.poll() is None and time.monotonic() < deadline, "no job was ever seen at work"
            time.sleep(0.05)
        os.killpg(driver.pid, signal.SIGKILL)
        driver.wait()
        assert outputs(finished, stage) != outputs(smoke, stage)
    finished.snakemake("--until", "finetune")
    for part in ("text", "checkpoint", "pairs", "mine", "finetune"):
        assert outputs(finished, part) == outputs(smoke, part)
    assert not list(finished.folder.glob("results/**/.*.tmp"))


def test_jobs_that_are_processes_of_their_own_make_what_forks_make(smoke, finished):
    finished = Clone(finished.folder, cold=True)
    parts = ("icl", "collect", "fit")
    finished.run("bash", "-c", "cd results/smoke; rm -r icl/d24 collect fit")
    finished.snakemake("results/smoke/fit/fit.json", "results/smoke/icl/d24/shuffle.json")
    for part in parts:
        assert outputs(finished, part) == outputs(smoke, part) != {}


def test_interrupted_it_says_so_and_leaves_nothing_half_made(finished):
    record = json.loads((finished.folder / "results/smoke/checkpoint/d24-long/card.record.json").read_text())
    spec = record["spec"] | {"id": "x"}
    spec["source"] |= {"tokens": 190_000, "sequences": 1}
    command = [
        "retscale",
        "checkpoint",
        "--spec",
        json.dumps(spec),
        "--text",
        "results/smoke/text/text.json",
        "--out",
        "x/card.json",
    ]
    job = subprocess.Popen(
        command,
        cwd=finished.folder,
        env=Clone(finished.folder, cold=True).environment,  # the signal is for it, and not for what asks a fork
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 300
    while not (finished.folder / "x/.card.json.tmp/log.jsonl").exists():
        assert job.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    job.send_signal(signal.SIGINT)
    assert "stopped by the user" in job.communicate(timeout=120)[1] and job.returncode == 130
    assert list((finished.folder / "x").rglob("*")) == []


def test_wrong_bytes_stop_a_job_in_one_line(finished):
    weights = finished.folder / "results/smoke/finetune/d24/own-mini/model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (finished.folder / "results/smoke/evaluate/d24/own-mini/fiqa.json").unlink()
    done = finished.snakemake("--until", "evaluate_small", status=None)
    assert done.returncode != 0
    message = next(line for line in (done.stdout + done.stderr).splitlines() if "retscale evaluate: error" in line)
    assert "model.safetensors is not the file that was made" in message


def test_a_full_disk_stops_a_job_in_one_line(finished, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        spec = json.loads((finished.folder / "results/smoke/pairs/boolq/pairs.record.json").read_text())["spec"]
        done = finished.run(
            "retscale", "pairs", "--spec", json.dumps(spec), "--out", str(disk / "pairs.json"), status=1
        )
        assert done.stderr.strip().splitlines()[-1].startswith("retscale pairs: error: the disk is full")
        assert "Traceback" not in done.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_wrong_parameter_count_is_an_error(finished):
    finished.edit("config/smoke.yaml", "{id: d16, family", "{id: d16, n_params: 5, family")
    done = finished.snakemake("--until", "checkpoint", status=None)
    assert done.returncode != 0 and "but its entry says 5" in done.stdout + done.stderr


@pytest.mark.skipif(bool(browser.MISSING), reason=browser.MISSING)
def test_the_report_fits_a_phone_and_a_screen_light_and_dark(smoke, tmp_path):
    page = shutil.copy(smoke.folder / "results/smoke/report.html", tmp_path)
    assert browser.problems(Path(page)) == []


def test_two_processes_train_what_one_trains(finished, tmp_path):
    """`own` negatives over two real processes: the same weights to rounding."""
    from safetensors.numpy import load_file

    root = finished.folder / "results/smoke"
    spec = json.dumps(json.loads((root / "finetune/d24/own-mini/encoder.record.json").read_text())["spec"])
    inputs = [
        "--card",
        "results/smoke/checkpoint/d24/card.json",
        "--pairs",
        "results/smoke/pairs/boolq/pairs.json",
        "--negatives",
        "results/smoke/mine/boolq/negatives.parquet",
        "--tokens",
        Results("results/smoke").training_tokens("d24", "own-mini", "boolq"),
    ]
    finished.environment["ACCELERATE_USE_CPU"] = "1"
    launch = ["torchrun", "--standalone", "--nproc-per-node", "2", "-m", "retscale", "finetune"]
    finished.run(*launch, "--spec", spec, *inputs, "--out", str(tmp_path / "two/encoder.json"))
    one, two = (
        load_file(root / "finetune/d24/own-mini/model.safetensors"),
        load_file(tmp_path / "two/model.safetensors"),
    )
    for name in one:
        assert abs(one[name] - two[name]).max() < 2e-4, name
    assert re.fullmatch(r"[0-9a-f]{64}", json.loads((tmp_path / "two/encoder.json").read_text())["weights_sha256"])
