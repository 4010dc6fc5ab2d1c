"""What planning costs: `snakemake -n` of a study against a bare Snakefile with the same jobs and files.

    python benchmarks/planning.py [--study config/open-ladders.yaml] [--runs 5] [--json]

The bare Snakefile has the same rules, wildcards, inputs and outputs, but no study, no specs and no code digests, so the
ratio is what retscale adds to Snakemake.
"""

import argparse
import json
import os
import platform
import re
import resource
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--study", default="config/open-ladders.yaml")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()

    ours = [
        "snakemake",
        "-n",
        "--forceall",
        "--quiet",
        "rules",
        "--configfile",
        str(ROOT / options.study),
        "-s",
        str(ROOT / "Snakefile"),
        "-d",
    ]
    with tempfile.TemporaryDirectory() as folder:
        jobs = planned(folder, options.study)
        bare = Path(folder, "Snakefile")
        bare.write_text(bare_snakefile(jobs))
        peer = ["snakemake", "-n", "--forceall", "--quiet", "rules", "-s", str(bare), "-d"]
        times = {"ours": [], "peer": []}
        for _ in range(options.runs):
            times["ours"].append(cpu_seconds([*ours, folder]))
            times["peer"].append(cpu_seconds([*peer, folder]))
    ours_s, peer_s = (statistics.median(times[name]) for name in ("ours", "peer"))
    result = {
        "name": f"planning {len(jobs)} jobs of {options.study} (CPU s)",
        "ours": round(ours_s, 2),
        "peer": round(peer_s, 2),
        "ratio": round(ours_s / peer_s, 2),
        "share_of_gemm": None,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(result) if options.json else "\n".join(f"{key:14} {value}" for key, value in result.items()))


def planned(folder: str, study: str) -> list[tuple[str, list[str], list[str]]]:
    """(rule, inputs, outputs) of every job of the study, from Snakemake's own detailed summary."""
    command = [
        "snakemake",
        "-n",
        "--forceall",
        "-s",
        str(ROOT / "Snakefile"),
        "--configfile",
        str(ROOT / study),
        "-d",
        folder,
    ]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    jobs = []
    for block in re.split(r"\n(?=(?:local)?rule [\w.-]+:\n)", text)[1:]:
        name = re.match(r"(?:local)?rule ([\w.-]+):", block)[1]
        fields = dict(re.findall(r"^    (input|output): (.*)$", block, re.M))
        if "output" in fields:
            jobs.append(
                (
                    name,
                    *(
                        re.sub(r" \([^)]*\)", "", fields.get(key, "")).split(", ") if fields.get(key) else []
                        for key in ("input", "output")
                    ),
                )
            )
    return jobs


def bare_snakefile(jobs: list) -> str:
    """The same graph with a wildcard rule a kind of job and inputs looked up in a dictionary."""
    kinds = defaultdict(list)
    for name, inputs, outputs in jobs:
        kinds[name].append((inputs, outputs))
    place = {
        file: f"{name}/{number}.{part}"
        for name, members in kinds.items()
        for number, (_, outputs) in enumerate(members)
        for part, file in enumerate(outputs)
    }
    inputs = {
        f"{name}/{number}": [place[file] for file in files]
        for name, members in kinds.items()
        for number, (files, _) in enumerate(members)
    }
    lines = [f"INPUTS = {inputs!r}", "rule all:", f"    input: {sorted(place.values())!r}"]
    for name, members in kinds.items():
        outputs = [f"{name}/{{k}}.{part}" for part in range(len(members[0][1]))]
        lines += [
            "rule:",
            f"    name: {name!r}",
            f"    input: lambda w: INPUTS['{name}/' + w.k]",
            f"    output: {outputs!r}",
            "    shell: 'true'",
        ]
    return "\n".join(lines) + "\n"


def cpu_seconds(command: list[str]) -> float:
    """User and system time of a command; it must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
