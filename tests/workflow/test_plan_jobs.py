"""`retscale plan` counts the jobs that Snakemake would run: its list of jobs against the rules themselves."""

import re
from pathlib import Path

import pytest

from retscale.plan.jobs import jobs
from retscale.study import load


def planned(clone, study: str) -> set[tuple[str, frozenset, frozenset]]:
    return printed(clone.run("snakemake", "-n", "-p", "--configfile", f"config/{study}.yaml").stdout, study)


def printed(text: str, study: str) -> set[tuple[str, frozenset, frozenset]]:
    """(stage, inputs, outputs) of every job that a dry run prints; files below the study's results."""
    listed = []
    text = re.sub(r"(?m)^    (?= *\[|(?:local)?rule |    )", "", text)  # jobs of a group are indented
    for block in re.split(r"\n(?=(?:local)?rule [\w.-]+:\n)", text)[1:]:
        name = re.match(r"(?:local)?rule ([\w.-]+):", block)[1]
        files = {"input": "", "output": ""} | dict(re.findall(r"^    (input|output): (.*)$", block, re.M))
        sides = [frozenset(re.findall(rf"results/{study}/([^, ]+)", files[side])) for side in ("input", "output")]
        listed.append((re.sub("^(evaluate|tokens|reference|task)_.*", r"\1", name), *sides))
    assert len(listed) == len(set(listed))
    return {job for job in listed if job[0] != "all"}


def ours(clone, study: str, monkeypatch) -> set[tuple[str, frozenset, frozenset]]:
    monkeypatch.chdir(clone.folder)
    listed = jobs(load.study(Path(f"config/{study}.yaml")))
    return {(job.stage, frozenset(job.reads), frozenset(job.makes)) for job in listed}


@pytest.mark.parametrize("study, options", [("smoke", ()), ("mini", ()), ("open-ladders", ("--profile", "slurm"))])
def test_the_jobs_are_those_of_the_rules(clone, dry_run, study, options, monkeypatch):
    assert ours(clone, study, monkeypatch) == printed(dry_run(study, *options), study)


def test_so_they_are_with_several_data_sets_and_shares_of_them(clone, monkeypatch):
    clone.edit("config/smoke.yaml", "pairs: {use: boolq", "pairs: [{use: boolq, id: also}, {use: boolq")
    clone.edit("config/smoke.yaml", "max_pairs: 1000}", "max_pairs: 1000}]")
    clone.edit("config/smoke.yaml", "{use: microbatch-mini,", "{use: microbatch-mini, weights: {boolq: 1},")
    assert ours(clone, "smoke", monkeypatch) == planned(clone, "smoke")


def test_so_they_are_with_encoders_made_elsewhere(clone, monkeypatch):
    study = clone.folder / "config/smoke.yaml"
    study.write_text(
        study.read_text() + "encoders: [{id: mine, path: /models/mine}, {id: other, path: ~/models/other}]\n"
    )
    listed = ours(clone, "smoke", monkeypatch)
    assert listed == planned(clone, "smoke")
    names = ("fiqa", "consumer-contracts", "length-128/fiqa", "length-128/consumer-contracts")
    assert {f"evaluate/mine/given/{name}.json" for name in names} in [job[2] for job in listed]


def test_so_they_are_with_cuts_of_a_task_that_wait_for_rankings_or_do_not(clone, monkeypatch):
    study = clone.folder / "config/smoke.yaml"
    pools = {"waits": "{encoders: [mine], depth: 9}", "does-not": "{random: 9}"}
    cuts = ", ".join(f"{{id: {id}, cut_of: fiqa, pool: {pool}}}" for id, pool in pools.items())
    lone = "{id: lone, cut_of: nfcorpus, pool: {bm25: 9}}"
    study.write_text(f"{study.read_text()}encoders: [{{id: mine, path: /models/mine}}]\ncontrasts: [{cuts}, {lone}]\n")
    listed = ours(clone, "smoke", monkeypatch)
    assert listed == planned(clone, "smoke")
    reads = {name: inputs for stage, inputs, outputs in listed if stage == "task" for name in outputs}
    assert reads["task/waits/task.json"] == {"task/fiqa/task.json", "evaluate/mine/given/fiqa.json"}
    assert reads["task/does-not/task.json"] == {"task/fiqa/task.json"}
    assert reads["task/lone/task.json"] == {"task/nfcorpus/task.json"} and not reads["task/nfcorpus/task.json"]


def test_a_reader_that_leaves_is_no_error(clone):
    done = clone.run("bash", "-c", "set -o pipefail; retscale plan config/smoke.yaml | :")
    assert done.stderr == ""


def test_so_they_are_with_held_out_tests_that_other_jobs_read(clone, monkeypatch):
    clone.edit("config/smoke.yaml", "held_out: [fiqa, ", "held_out: [scifact, gauntlet.squad, piqa.10, fiqa, ")
    clone.edit("config/smoke.yaml", "icl:\n", "icl:\n  - {use: gauntlet.piqa, id: piqa.10, shots: 10}\n")
    jobs = planned(clone, "smoke")
    assert ours(clone, "smoke", monkeypatch) == jobs
    (reads,) = (inputs for stage, inputs, _ in jobs if stage == "pairs")
    assert reads == {"task/scifact/task.json", "items/gauntlet.squad/items.json", "items/piqa.10/items.json"}
    assert len([stage for stage, *_ in jobs if stage == "task"]) == 3
    assert "items/piqa.10/items.json" in set().union(*(inputs for stage, inputs, _ in jobs if stage == "icl"))
