"""Benchmarks that need hardware run here in small, so that they work where it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_fine_tuning_on_an_accelerator_is_tried_out_on_the_cpu():
    options = ["--device", "cpu", "--sizes", "tiny", "--steps", "4", "--batch", "2", "--length", "16", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    command = [sys.executable, str(ROOT / "benchmarks/finetune.py"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert {"name", "ours", "peer", "ratio", "share_of_gemm", "machine"} <= set(result)
    tiny = result["sizes"]["tiny"]
    assert (
        0 <= tiny["whole_share_of_gemm"] <= tiny["steady_share_of_gemm"] < 1
        and tiny["tokens_per_s"] > 0
        and tiny["queries_at_once"] == 2
    )
    assert all(tiny["share_of_a_step"][phase] > 0 for phase in ("forward", "backward", "optimizer"))


def test_planning_counts_the_jobs_of_a_ladder():
    command = [sys.executable, str(ROOT / "benchmarks/planning.py"), "--checkpoints", "3", "--runs", "1", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "workflow")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    # 3 checkpoints, each fine-tuned once and evaluated in 6 jobs, with tokens for each of these; 15 tasks; pairs, mine,
    # leakage, collect, fit, 3 figures (one forum of CQADupstack is no mean over all tasks), report.
    assert result["name"] == f"planning {3 * (1 + 2 * 7) + 15 + 9} jobs of ladder (CPU s)"
    assert 0 < result["peer"] <= 1.5 * result["ours"] and 50 < result["peak_mib"]["ours"] < 1000
