"""Benchmarks that need hardware run here in small, so that they work where it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import warm
import warm_jobs

ROOT = Path(__file__).resolve().parents[2]


def test_fine_tuning_on_an_accelerator_is_tried_out_on_the_cpu():
    options = ["--device", "cpu", "--sizes", "tiny", "--steps", "4", "--batch", "2", "--length", "16", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    process = warm.Process(
        _on_forks,
        str(warm_jobs.folder() / "python"),
        str(ROOT / "benchmarks/finetune.py"),
        *options,
        environment=environment,
    )
    printed, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    result = json.loads(printed.splitlines()[-1])
    assert {"name", "ours", "peer", "ratio", "share_of_gemm", "machine"} <= set(result)
    tiny = result["sizes"]["tiny"]
    assert (
        0 <= tiny["whole_share_of_gemm"] <= tiny["steady_share_of_gemm"] < 1
        and tiny["tokens_per_s"] > 0
        and tiny["queries_at_once"] == 2
    )
    assert all(tiny["share_of_a_step"][phase] > 0 for phase in ("forward", "backward", "optimizer"))


def _on_forks(python: str, *arguments: str) -> None:
    """A script whose own processes are forks."""
    sys.executable = python
    warm.command(arguments)


def test_planning_counts_the_jobs_of_a_ladder():
    command = [sys.executable, str(ROOT / "benchmarks/planning.py"), "--checkpoints", "3", "--runs", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # 3 checkpoints, each fine-tuned once and evaluated in 6 jobs, with tokens for each of these; 15 tasks; pairs, mine,
    # leakage, collect, fit, 4 figures (one forum of CQADupstack is no mean over all tasks), report.
    assert result["name"] == f"planning {3 * (1 + 2 * 7) + 15 + 10} jobs of ladder (CPU s)"
    assert 0 < result["peer"] <= 1.5 * result["ours"] and 50 < result["peak_mib"]["ours"] < 1000
