"""`retscale plan` of a study that has run: what it takes for done is what Snakemake would not run again."""

import re
from collections import Counter

import pytest


def to_do(clone) -> dict[str, int]:
    """Jobs that `retscale plan` counts as not done, by stage."""
    text = clone.run("retscale", "plan", "config/smoke.yaml").stdout
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) ", text, re.M)
    return {stage: left for stage, jobs, done in rows if (left := int(jobs) - int(done)) and stage != "total"}


@pytest.mark.parametrize(
    "file, old, new",
    [
        ("config/smoke.yaml", "name: smoke", "name: smoke"),
        ("config/smoke.yaml", "{use: microbatch-mini,", "{use: microbatch-mini, temperature: 0.1,"),
        ("config/smoke.yaml", "tasks: [fiqa,", "tasks: [privacy-policy, fiqa,"),
        ("workflow/retscale/fit/trend.py", "DECADES = 1.0", "DECADES = 2.0 / 2"),
        ("workflow/retscale/fit/trend.py", "DECADES = 1.0", "DECADES = 1.0  # words, and"),
    ],
)
def test_what_is_to_do_is_what_snakemake_would_run(finished, file, old, new):
    finished.edit(file, old, new)
    snakemake = Counter()
    for rule, count in finished.plan().items():
        snakemake[re.sub("^(evaluate|tokens)_.*", r"\1", rule)] += count
    assert to_do(finished) == snakemake
