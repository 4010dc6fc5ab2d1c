"""Several processes of one training, started as the rule starts them; on several nodes by a stand-in for srun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import warm
from conftest import retscale
from safetensors.torch import load_file
from topics import finished, inputs, log, make, port, recorded, spec
from transformers import LlamaConfig, LlamaModel

from retscale.cluster.launch import command
from retscale.finetune import launch

pytestmark = pytest.mark.slow

SRUN = """#!/bin/bash
# The command on each of two nodes of this machine; its options come first.
while [[ $1 == --* ]]; do shift; done
for node in 0 1; do SLURM_NODEID=$node "$@" & done
status=0
trap : TERM
for job in $(jobs -p); do
  while kill -0 $job 2> /dev/null; do wait $job; done
  wait $job || status=1
done
exit $status
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return recorded(make(tmp_path_factory.mktemp("study")))


def arguments(study: Path, out: Path, **recipe) -> list[str]:
    files = [
        x for name in ("card", "pairs", "negatives", "tokens") for x in (f"--{name}", str(_file(inputs(study)[name])))
    ]
    return ["finetune", "--spec", json.dumps(spec(**recipe)), *files, "--out", str(out / "encoder.json")]


def _file(path: Path | list[Path]) -> Path:
    return path[0] if isinstance(path, list) else path


def launched(nodes: int, processes: int, study: Path, out: Path, **recipe) -> subprocess.Popen:
    """The rule's command in a process group of its own, printing to out.log."""
    (out.parent / "bin").mkdir(exist_ok=True)
    (out.parent / "bin" / "srun").write_text(SRUN)
    (out.parent / "bin" / "srun").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{out.parent}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(os.getpid()),
        "PYTHONPATH": str(Path(launch.__file__).parents[2]),
    }
    line = f"trap '' TERM; {command(nodes, processes, False, False)} -m retscale \"$@\""
    with out.with_suffix(".log").open("a") as printed:
        return subprocess.Popen(
            ["bash", "-c", line, "bash", *arguments(study, out, **recipe)],
            env=environment, stdout=printed, stderr=printed, start_new_session=True,
        )  # fmt: skip


def printed(out: Path) -> str:
    return out.with_suffix(".log").read_text()


def wait_for_a_step(process: subprocess.Popen, out: Path) -> None:
    written = out / ".encoder.json.state" / "log.jsonl"
    before = written.stat().st_size if written.exists() else 0
    end = time.monotonic() + 120
    while not written.exists() or written.stat().st_size <= before:
        assert time.monotonic() < end and process.poll() is None, printed(out)
        time.sleep(0.01)


def weights(out: Path) -> bytes:
    return (out / "model.safetensors").read_bytes()


LONG = {"epochs": 20, "lr": 1e-3}


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory) -> Path:
    """An undisturbed training of two processes on one node."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert launched(1, 2, study, out, **LONG).wait(180) == 0, printed(out)
    return out


def test_a_preempted_training_of_two_processes_resumes_to_the_same_bits(study, whole, tmp_path):
    """Stopped with two on a node, then with one on each of two nodes, and ended there."""
    out = tmp_path / "out"
    for nodes, processes in ((1, 2), (2, 1)):
        stopped = launched(nodes, processes, study, out, **LONG)
        wait_for_a_step(stopped, out)
        if nodes == 1:  # to the launcher alone, which passes it on
            started = [stopped.pid, *map(int, _descendants(stopped.pid))]
            (launcher,) = (pid for pid in started if _arguments(pid)[1:3] == [b"-m", b"retscale.finetune.launch"])
            os.kill(launcher, signal.SIGTERM)
        else:
            os.killpg(stopped.pid, signal.SIGTERM)
        assert stopped.wait(180) == 1, printed(out)
        assert "stopped by SIGTERM after step" in printed(out).splitlines()[-1] and "Traceback" not in printed(out)
        assert len(list((out / ".encoder.json.state").glob("step-*"))) == 1 and not (out / "encoder.json").exists()
    assert launched(2, 1, study, out, **LONG).wait(180) == 0, printed(out)
    assert printed(out).count("resumes after step") == 2
    assert weights(out) == weights(whole)
    assert [p.name for p in out.glob(".*")] == []


def test_two_processes_train_as_one(study, whole, tmp_path):
    out = tmp_path / "out"
    alone = retscale(*arguments(study, out, **LONG))
    assert alone.wait(180) == 0, alone.communicate()
    one, two = (load_file(folder / "model.safetensors") for folder in (out, whole))
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-4
    notes = json.loads((whole / "encoder.record.json").read_text())["notes"]
    assert notes["processes"] == 2 and notes["threads"] == 1


def test_when_one_process_is_killed_the_other_ends_and_the_last_line_says_so(study, tmp_path):
    out = tmp_path / "out"
    training = launched(1, 2, study, out, **LONG)
    wait_for_a_step(training, out)
    second = next(pid for pid in map(int, _descendants(training.pid)) if b"RANK=1\0" in _environment(pid))
    os.kill(second, signal.SIGKILL)
    assert training.wait(120) == 128 + signal.SIGKILL
    assert printed(out).splitlines()[-1] == (
        "retscale finetune: error: process 1 of the training was ended by SIGKILL; perhaps the memory was exhausted; "
        "run it again to resume"
    )
    assert "Traceback" not in printed(out)


def _descendants(pid: int) -> list[str]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [x for child in children for x in (child, *_descendants(int(child)))]


def _arguments(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


def test_an_error_of_all_is_said_and_ends_all(study, tmp_path):
    out = tmp_path / "out"
    assert launched(1, 2, study, out, batch_queries=9).wait(120) == 1
    assert set(printed(out).splitlines()) == {
        "retscale finetune: error: batch_queries (9) must be a multiple of the 2 processes"
    }


@pytest.mark.parametrize("promise", ["RETSCALE_PROCESSES", "WORLD_SIZE"])
def test_processes_that_each_believe_to_be_alone_write_nothing(study, tmp_path, promise):
    """Two at once; with WORLD_SIZE as a launcher for GPUs starts them where there is none."""
    out = tmp_path / "out"
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
    torchrun = [{"RANK": rank, "LOCAL_RANK": rank, **meeting} for rank in ("0", "1")]
    ranks = torchrun if promise == "WORLD_SIZE" else [{}, {}]
    started = [retscale(*arguments(study, out), **{promise: "2"}, **rank) for rank in ranks]
    for process in started:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 1 and len(error.splitlines()) == 1
        assert f"this training was started as 2 processes ({promise}), but here one believes to be alone" in error
    assert not out.exists()


def test_processes_that_do_not_meet_say_where(study, tmp_path):
    out = tmp_path / "out"
    alone = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "no port"}
    process = retscale(*arguments(study, out), ACCELERATE_USE_CPU="1", **alone)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 1 and not out.exists()
    assert error.startswith(
        "retscale finetune: error: the processes of this training do not meet at 127.0.0.1:no port ("
    )
    assert len(error.splitlines()) == 1


def _unequal(job: dict, given: dict, out: Path, state: Path) -> None:
    from retscale.finetune import run

    run.BUDGET = {"cpu": 64}
    run.run(job, given, out, state)


def test_processes_may_make_different_numbers_of_forwards(tmp_path):
    """Of a model with buffers, which copies of a model send each other in each forward by default: then this hangs."""
    config = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    study = make(tmp_path / "study", lambda words: LlamaModel(LlamaConfig(vocab_size=words, **config)))
    (tmp_path / "out").mkdir(), (tmp_path / "state").mkdir()
    world = {"ACCELERATE_USE_CPU": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
    finished(
        [
            warm.Process(
                _unequal, spec(lr=1e-3), inputs(study), tmp_path / "out", tmp_path / "state",
                environment={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank},
            )
            for rank in ("0", "1")
        ]
    )  # fmt: skip
    assert len(log(tmp_path / "out")) == 12


@pytest.mark.parametrize("first", [3, launch.LOST_ANOTHER, -signal.SIGSEGV])
def test_the_launcher_ends_what_does_not_end(monkeypatch, capfd, first):
    """The second ignores that the first has failed, and is killed."""
    monkeypatch.setattr(launch, "PATIENCE_S", 0.0)
    fails = f"import os; os.kill(os.getpid(), {-first})" if first < 0 else f"raise SystemExit({first})"
    processes = {
        rank: subprocess.Popen([sys.executable, "-c", program])
        for rank, program in enumerate([fails, "import time; time.sleep(600)"])
    }
    status, error = launch.wait(processes), capfd.readouterr().err
    assert processes[1].returncode == -signal.SIGKILL
    if first == 3:
        assert (status, error) == (3, "")  # it has said why itself
    elif first < 0:
        assert status == 128 + signal.SIGSEGV and "process 0 of the training was ended by SIGSEGV; run it" in error
    else:
        assert status == first and "on another node has ended" in error


def test_the_command_for_every_size():
    assert command(1, 1, False, True) == ("RETSCALE_PROCESSES=1 PYTORCH_ALLOC_CONF=expandable_segments:True python")
    assert command(1, 8, True, True) == (
        "RETSCALE_PROCESSES=8 PYTORCH_ALLOC_CONF=expandable_segments:True RETSCALE_SHARDED=true "
        "python -m retscale.finetune.launch --processes 8"
    )
    assert command(1, 2, False, False) == (
        "RETSCALE_PROCESSES=2 ACCELERATE_USE_CPU=true python -m retscale.finetune.launch --processes 2"
    )
    assert command(2, 4, False, True) == (
        "RETSCALE_PROCESSES=8 PYTORCH_ALLOC_CONF=expandable_segments:True "
        "srun --nodes=2 --ntasks=2 --ntasks-per-node=1 --cpu-bind=none --kill-on-bad-exit=1 "
        'python -m retscale.finetune.launch --processes 4 --nodes 2 --address "$(hostname)" '
        "--port $((20000 + SLURM_JOB_ID % 12000))"
    )
