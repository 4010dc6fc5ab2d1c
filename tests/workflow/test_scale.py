"""A thousand checkpoints: what no command line could hold."""

import re

import pytest


@pytest.mark.parametrize("rule, listed", [("collect", "scores"), ("report", None)])
def test_a_job_with_very_many_inputs_starts(clone, rule, listed):
    """The rule's own command, with 60,000 files in its list and a spec of 200 kB, comes as far as reading them."""
    text = clone.run("snakemake", "-n", "-p", "--configfile", "config/smoke.yaml").stdout
    command = re.search(rf"^Shell command: (retscale {rule} .*)$|^ +(retscale {rule} .*)$", text, re.M)
    command = next(filter(None, command.groups()))
    assert command.count("'{\"") == 1
    command = command.replace("'{\"", "'{" + " " * 200_000 + '"')
    if listed:
        many = " ".join(f"results/smoke/evaluate/checkpoint-{i}/own-mini/fiqa.json" for i in range(60_000))
        command, count = re.subn(rf"(--{listed} \S+ '%s\\n' )[^)]*", lambda found: found[1] + many, command)
        assert count == 1
    (clone.folder / "logs/smoke").mkdir(parents=True)
    (clone.folder / "job.sh").write_text(command)
    clone.run("bash", "job.sh", status=1)
    log = (clone.folder / f"logs/smoke/{rule}.log").read_text()
    assert "there is no file results/smoke/" in log and "too long" not in log
