"""A training that is stopped or killed goes on to the same bits."""

import json
import re
import resource
import signal
import time

import pytest
from conftest import retscale
from topics import finished, inputs, log, make, recorded, spec, start

from retscale.errors import UserError
from retscale.finetune.log import Log, Watch
from retscale.finetune.run import run
from retscale.finetune.state import State

pytestmark = pytest.mark.slow

LORA = {"tuning": "lora", "lora": {"r": 4, "alpha": 8, "dropout": 0.2}}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


def sha(out):
    return json.loads((out / "encoder.json").read_text())["weights_sha256"]


def states(folder):
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def wait_for(folder, step, processes):
    end = time.monotonic() + 120
    while not states(folder) or states(folder)[-1] < step:
        assert time.monotonic() < end, f"no state after step {step}"
        assert all(process.poll() is None for process in processes), processes[0].communicate()[1]
        time.sleep(0.002)


@pytest.mark.parametrize(
    "signal_number, processes, recipe",
    [
        (signal.SIGKILL, 1, {}),
        (signal.SIGKILL, 1, LORA),
        (signal.SIGTERM, 1, {"negatives": "global", "microbatch": 4, "log_every": 7}),
        (signal.SIGTERM, 2, {}),
    ],
    ids=["killed", "killed with adapters", "gets SIGTERM", "one of two gets SIGTERM"],
)
def test_a_resumed_training_gives_the_bits_of_an_unbroken_one(study, tmp_path, signal_number, processes, recipe):
    job = spec(
        epochs=20 if signal_number == signal.SIGKILL else 6, keep=[3], log_every=recipe.pop("log_every", 3), **recipe
    )
    finished(start(job, inputs(study), tmp_path / "whole", tmp_path / "whole.state", processes))
    out, state = tmp_path / "out", tmp_path / "state"
    for step in (5, 30, 60):
        if signal_number == signal.SIGKILL:
            started = start(job, inputs(study), out, state, every=0)
            wait_for(state, step, started)
            started[0].kill()
            started[0].wait()
        else:
            started = start(job, inputs(study), out, state, processes, term=step)
            errors = [process.communicate(timeout=120)[1] for process in started]
            assert f"stopped by SIGTERM after step {step + 3} of" in errors[0], errors
            assert "run the same command again" in errors[0] and all(process.returncode for process in started)
            assert states(state) == [step + 3]  # the request goes out with step + 2, and is read a step later
        assert not (out / "encoder.json").exists() and states(state)
    finished(start(job, inputs(study), out, state, processes))
    assert sha(out) == sha(tmp_path / "whole")
    assert json.loads((out / "step-3/encoder.json").read_text()) == json.loads(
        (tmp_path / "whole/step-3/encoder.json").read_text()
    )
    assert log(out) == log(tmp_path / "whole")


def test_a_second_sigterm_does_not_cut_off_the_end_that_the_first_has_begun(tmp_path):
    before, received = signal.getsignal(signal.SIGTERM), []
    try:
        signal.signal(signal.SIGTERM, lambda *_: received.append(1))
        with State(tmp_path, None, None, None):
            pass
        signal.raise_signal(signal.SIGTERM)
        assert received == [1]  # an undisturbed training leaves no trace
        with State(tmp_path, None, None, None):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert received == [1]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_damaged_state_is_named(study, tmp_path):
    out, state = tmp_path / "out", tmp_path / "state"
    job = spec(epochs=400)
    (process,) = start(job, inputs(study), out, state, every=0)
    wait_for(state, 3, [process])
    process.kill()
    process.wait()
    newest = state / f"step-{states(state)[-1]}"
    shard = next(newest.glob("*.distcp"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(UserError, match=f"the state {newest} is damaged .*; delete it and run again"):
        run(job, inputs(study), out, state)


def test_a_full_disk_is_one_line_and_loses_nothing(study, tmp_path, monkeypatch):
    """No file may grow to the size of the second state: what torch then writes fails as on a full disk."""
    monkeypatch.setattr("retscale.finetune.state.SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("retscale.finetune.state.SAVE_SHARE", 1e9)
    unlimited, logged = resource.getrlimit(resource.RLIMIT_FSIZE), Log.step
    for name in ("whole", "whole.state", "out", "state"):
        (tmp_path / name).mkdir()
    run(spec(), inputs(study), tmp_path / "whole", tmp_path / "whole.state")

    def full_at_three(self, number, *rest):
        logged(self, number, *rest)
        if number == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (16384, unlimited[1]))

    monkeypatch.setattr(Log, "step", full_at_three)
    try:
        with pytest.raises(UserError) as stopped:
            run(spec(), inputs(study), tmp_path / "out", tmp_path / "state")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    monkeypatch.setattr(Log, "step", logged)
    assert "Traceback" not in str(stopped.value) and "\n" not in str(stopped.value)
    assert re.match(
        "the state after step 4 cannot be written to .*/state, whose disk has .* GiB left .*: make room and run",
        str(stopped.value),
    )
    assert [path.name for path in (tmp_path / "state").iterdir() if path.is_dir()] == ["step-2"]
    run(spec(), inputs(study), tmp_path / "out", tmp_path / "state")
    assert sha(tmp_path / "out") == sha(tmp_path / "whole")


def test_the_log_is_cut_back_to_the_state(tmp_path):
    import torch

    for name in ("log.jsonl", "pace.jsonl"):
        lines = "".join(json.dumps({"step": step}) + "\n" for step in (2, 4, 6))
        (tmp_path / name).write_text(lines + '{"step": 8, "lo')
    resumed = Log(tmp_path / "log.jsonl", 2, torch.device("cpu"))
    resumed.resume(5, [1.0, 2.0, 30.0, 10.0])
    resumed.step(6, False, 0.1, loss=3.0, norm=4.0, n_tokens=10.0, n_padding=0.0, ended=resumed.since + 2)
    lines = log(tmp_path)
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert (lines[2]["loss"], lines[2]["grad_norm"], lines[2]["padding"]) == (2.0, 3.0, 0.2)
    assert [line["step"] for line in resumed.pace()] == [2, 4, 6] and resumed.pace()[2]["tokens_per_s"] == 5


def test_the_watch_waits_for_the_warm_up_and_forgives_a_bad_start():
    watch = Watch(1000, 0.1)
    for step in range(1, 101):
        watch.step(step, 50.0, 1.0)  # while the rate rises
    for step in range(101, 300):
        watch.step(step, 5.0, 1.0)
    with pytest.raises(UserError, match="4 above that of chance .1. for 200 steps up to step 300"):
        watch.step(300, 5.0, 1.0)
    forgiven = Watch(1000, 0.1)
    for step in range(1, 1001):
        forgiven.step(step, 5.0 if step < 110 else 0.5, 1.0)


def test_the_command_keeps_its_state_for_the_same_job_only(tmp_path):
    """Through `retscale finetune`: SIGTERM keeps the state, another spec throws it away, success removes it."""
    study = recorded(make(tmp_path / "study"))
    out, state = tmp_path / "out", tmp_path / "out/.encoder.json.state"

    def command(**recipe):
        given = [
            x
            for name, path in inputs(study).items()
            for x in (f"--{name}", str(path[0] if isinstance(path, list) else path))
        ]
        return retscale(
            "finetune",
            "--spec",
            json.dumps(spec(**recipe)),
            *given,
            "--out",
            str(out / "encoder.json"),
            ACCELERATE_USE_CPU="1",
        )

    def lines():
        return len((state / "log.jsonl").read_text().splitlines()) if (state / "log.jsonl").exists() else 0

    def stop(process):
        end, before = time.monotonic() + 120, lines()
        while lines() <= before:
            assert time.monotonic() < end and process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        return process.communicate(timeout=120)

    long = stop(command(epochs=400))
    assert long[1].strip().splitlines()[-1].startswith("retscale finetune: error: stopped by SIGTERM after step")
    assert len(states(state)) == 1 and not (out / "encoder.json").exists()
    again = stop(command(epochs=400))
    assert "resumes after step" in again[1]
    other = command(epochs=1)
    printed = other.communicate(timeout=120)
    assert other.returncode == 0 and "its spec, code or inputs have changed; starting over" in printed[1], printed
    assert (out / "encoder.json").exists() and not state.exists()
