"""A thousand checkpoints, hundreds of tasks: what no command line could hold."""

import json
import re

import pytest


@pytest.mark.parametrize(
    "rule, listed", [("collect", "scores"), ("report", None), ("leakage", None), ("finetune", None)]
)
def test_a_job_with_very_many_inputs_starts(clone, dry_run, rule, listed):
    """The rule's own command, with 60,000 files in its list and a spec of 200 kB, comes as far as reading them."""
    command = re.search(rf"^(?:Shell command: | +)(.*\bretscale {rule} .*)$", dry_run("smoke"), re.M)[1]
    assert command.count("'{\"") == 1
    command = command.replace("'{\"", "'{" + " " * 200_000 + '"')
    if listed:
        many = " ".join(f"results/smoke/evaluate/checkpoint-{i}/own-mini/fiqa.json" for i in range(60_000))
        command, count = re.subn(rf"(--{listed} \S+ '%s\\n' )[^)]*", lambda match: match[1] + many, command)
        assert count == 1
    (clone.folder / re.search(r"attempt (logs/\S+);", command)[1]).parent.mkdir(parents=True)
    (clone.folder / "job.sh").write_text(command)
    printed = clone.run("bash", "job.sh", status=1).stderr
    assert "there is no file results/smoke/" in printed and "too long" not in printed


def test_a_study_of_300_in_context_tasks_plans_and_starts(clone):
    (clone.folder / "items").mkdir()
    for i in range(300):
        item = {"query": "q", "choices": ["a", "b"], "gold": 0}
        (clone.folder / f"items/task-{i}.jsonl").write_text(json.dumps(item) + "\n")
    source = "source: {kind: jsonl, folder: items, file: task-%d.jsonl}"
    tasks = "".join(f"  - {{id: task-{i}, type: multiple_choice, {source % i}}}\n" for i in range(300))
    study = clone.folder / "config/smoke.yaml"
    lines = study.read_text().partition("\nicl:")[0].splitlines(keepends=True)
    study.write_text("".join(line for line in lines if not line.startswith(("  - {id: d16,", "  - {id: d24-long,"))))
    with study.open("a") as file:
        file.write(f"\nicl:\n{tasks}")
    clone.pretend("--forceall")
    assert clone.plan() == {}
    (clone.folder / "results/smoke/icl/d24/task-0.json").unlink()
    done = clone.snakemake("results/smoke/icl/d24/task-0.json", status=1)
    log = (clone.folder / "logs/smoke/icl/d24.log").read_text()
    assert "card.json has no provenance record" in log, done.stdout + done.stderr  # its spec was read
    (clone.folder / "items/task-7.jsonl").write_text("{}\n")
    assert clone.plan("--until", "icl") == {"icl": 1}
