"""Stages that compute reach no network, in this process and as commands."""

import importlib
import json
import os
import socket
import subprocess
import sys

import pytest
from topics import port

from retscale import cli, job, stages

FETCHING = {"checkpoint", "pairs", "task", "items"}


def called(name: str, tmp_path) -> list[str]:
    """A call of the stage `name` whose inputs nobody reads."""
    stage = stages.STAGES[name]
    spec = {"tasks": {"t": {}}} if stage.batch else {"name": "x"}
    out = tmp_path / stage.products(spec)[0]
    flags = [part for flag in (*stage.inputs, *stage.many) for part in (f"--{flag}", str(tmp_path / "t" / "in"))]
    return [name, "--spec", json.dumps(spec), *flags, "--out", str(out)]


@pytest.mark.parametrize("name", stages.STAGES)
def test_only_stages_that_fetch_reach_a_socket(loopback, name, tmp_path, monkeypatch):
    seen = []

    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def probe(spec, inputs, out, *state):
        seen.append(os.environ.get("HF_HUB_OFFLINE"))
        assert ("HF_TOKEN" in os.environ) == (name in FETCHING)
        try:
            socket.create_connection(("127.0.0.1", loopback.servers[0].server_port), timeout=5).close()
            seen.append("reached")
        except OSError as error:
            seen.append(str(error))
        return []

    monkeypatch.setattr(importlib.import_module(f"retscale.{name}.run"), "run", probe)
    monkeypatch.setattr(cli.specs, "read", lambda text, _: json.loads(text))
    monkeypatch.setattr(job.Job, "verified", lambda self: self)
    cli.main(called(name, tmp_path))
    if name in FETCHING:
        assert seen == [None, "reached"]
    else:
        assert seen[0] == "1" and f"retscale {name} works offline and may not connect to ('127.0.0.1'," in seen[1]
    # Afterwards the process is as it was.
    assert "HF_HUB_OFFLINE" not in os.environ and os.environ["HF_TOKEN"] == "hf_secret"
    socket.create_connection(("127.0.0.1", loopback.servers[0].server_port), timeout=5).close()


PROBE = """
import json, os, sys, urllib.request
import retscale.{stage}.run as stage
from retscale import cli, job, stages

def run(spec, inputs, out, *state):
    from huggingface_hub import HfApi, snapshot_download
    for ask in (
        lambda: HfApi().model_info("some/model"),
        lambda: snapshot_download("some/model"),
        lambda: urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/api/models/some/model"),
    ):
        try:
            ask()
            print("reached")
        except Exception as error:
            print(type(error).__name__)
    sys.exit(0)

stage.run = run
cli.specs.read = lambda text, _: json.loads(text)
job.Job.verified = lambda self: self
cli.main(sys.argv[1:])
"""


def test_the_hubs_libraries_are_offline_in_a_stage_that_computes(loopback, tmp_path):
    loopback.publish("some/model", {"config.json": b"{}"})
    answers = {}
    for stage in ("mine", "task"):
        command = [sys.executable, "-c", PROBE.format(stage=stage), *called(stage, tmp_path)]
        answers[stage] = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout.split()
        if stage == "mine":
            assert not loopback.requests
    assert answers == {
        "mine": ["OfflineModeIsEnabled", "LocalEntryNotFoundError", "URLError"],
        "task": ["reached"] * 3,
    }


PROCESS = """
import sys, torch
from retscale.offline import offline
with offline("finetune"):
    from accelerate import Accelerator
    ours = Accelerator(cpu=True)
    print(ours.num_processes, ours.reduce(torch.tensor(ours.process_index + 1)).item())
"""


@pytest.mark.slow
def test_the_processes_of_a_training_find_each_other_offline():
    world = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port(), "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS],
            env={**os.environ, **world, "ACCELERATE_USE_CPU": "1", "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    assert [process.communicate(timeout=120)[0].split()[-2:] for process in started] == [["2", "3"]] * 2
