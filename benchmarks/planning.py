"""What planning costs: `snakemake -n` of a study against a bare Snakefile with the same jobs and files.

    python benchmarks/planning.py [--study config/open-ladders.yaml] [--runs 5] [--json]
    python benchmarks/planning.py --checkpoints 1000 [--icl] --runs 1     a ladder of that many, 15 tasks of BEIR

The bare Snakefile has the same rules, wildcards, inputs and outputs, but no study, no specs and no code digests, so the
ratio is what retscale adds to Snakemake. CPU seconds and peak memory are those of the command with all its children.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TASKS = (
    "arguana climate-fever cqadupstack-android dbpedia fever beir-fiqa hotpotqa msmarco nfcorpus nq quora scidocs scifact "
    "touche2020 trec-covid"
).split()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--study", type=Path, default=ROOT / "config/open-ladders.yaml")
    arguments.add_argument("--checkpoints", type=int, help="plan a made-up ladder instead of a study")
    arguments.add_argument("--icl", action="store_true", help="with the 39 tasks of the gauntlet on each of them")
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        study = options.study.resolve()
        if options.checkpoints:
            study = Path(folder, "ladder.yaml")
            study.write_text(ladder(options.checkpoints, options.icl))
        ours = [
            "snakemake",
            "-n",
            "-p",
            "--forceall",
            "--configfile",
            str(study),
            "-s",
            str(ROOT / "Snakefile"),
            "-d",
            folder,
        ]
        jobs = planned(ours)
        bare = Path(folder, "Snakefile")
        bare.write_text(bare_snakefile(jobs))
        peer = ["snakemake", "-n", "--forceall", "-s", str(bare), "-d", folder]
        costs = {"ours": [], "peer": []}
        for _ in range(options.runs):
            for name, command in {"ours": ours, "peer": peer}.items():
                costs[name].append(cost([*command, "--quiet", "rules"]))
    seconds = {name: statistics.median(elapsed for elapsed, _ in runs) for name, runs in costs.items()}
    result = {
        "name": f"planning {len(jobs)} jobs of {study.stem} (CPU s)",
        "ours": round(seconds["ours"], 2),
        "peer": round(seconds["peer"], 2),
        "ratio": round(seconds["ours"] / seconds["peer"], 2),
        "share_of_gemm": None,
        "peak_mib": {name: round(max(peak for _, peak in runs)) for name, runs in costs.items()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    }
    print(json.dumps(result) if options.json else "\n".join(f"{key:14} {value}" for key, value in result.items()))


def ladder(checkpoints: int, icl: bool) -> str:
    """A study of many checkpoints that differ in their tokens, and 15 tasks."""
    rows = [
        f"  - {{use: pythia-160m, id: c{i}, tokens: {10**9 + i}, source: {{revision: r{i}}}}}"
        for i in range(checkpoints)
    ]
    lines = ["name: ladder", "title: many", "description: many", "checkpoints:", *rows, "pairs: msmarco"]
    lines += ["mine: {negatives: 15, top: 200}", "recipes: [portes2025]", f"tasks: [{', '.join(TASKS)}]"]
    return "\n".join([*lines, *(["icl: [gauntlet-v0.3-code]"] if icl else [])]) + "\n"


def planned(command: list[str]) -> list[tuple[str, list[str], list[str]]]:
    """(rule, inputs, outputs) of every job of the study, from Snakemake's own detailed summary."""
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


def cost(command: list[str]) -> tuple[float, float]:
    """User and system seconds of a command with its children, and the peak of the largest in MiB; it must succeed."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


if __name__ == "__main__":
    main()
