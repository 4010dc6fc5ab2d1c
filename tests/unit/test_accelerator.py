"""A job that was given a GPU does not run on the CPU; here torch sees none."""

import os
import warnings
from types import SimpleNamespace

import pytest
import torch

from retscale.errors import UserError
from retscale.evaluate import run as evaluate
from retscale.finetune import processes
from retscale.icl import run as icl
from retscale.mine import run as mine
from retscale.model import accelerator
from retscale.model import device as devices

NAMES = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_GPUS", "ACCELERATE_USE_CPU")


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(accelerator, "driver", lambda: "535.104.05")
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "")  # set by what is tested, so restored afterwards


@pytest.mark.parametrize(
    ("environment", "source"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0"}, "CUDA_VISIBLE_DEVICES=0"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-12ab,1"}, "CUDA_VISIBLE_DEVICES=GPU-12ab,1"),
        ({"CUDA_VISIBLE_DEVICES": "MIG-12ab"}, "CUDA_VISIBLE_DEVICES=MIG-12ab"),
        ({"SLURM_JOB_GPUS": "0"}, "SLURM_JOB_GPUS=0"),
        ({"SLURM_GPUS": "a100:2"}, "SLURM_GPUS=a100:2"),
        ({"SLURM_GPUS_ON_NODE": "1"}, "SLURM_GPUS_ON_NODE=1"),
        ({"SLURM_GPUS": "0", "SLURM_GPUS_ON_NODE": "0"}, None),
        ({"CUDA_VISIBLE_DEVICES": "", "SLURM_JOB_GPUS": "0"}, None),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, None),
        ({"CUDA_VISIBLE_DEVICES": "-1,0"}, None),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles"}, None),
        ({}, None),
    ],
)
def test_who_gives_a_gpu(environment, source):
    assert accelerator.given(environment, False, None) == source
    assert accelerator.given(environment, False, "13.0") == source


@pytest.mark.parametrize(("wheel", "counts"), [("13.0", True), (None, False)])
def test_a_device_node_alone_counts_for_a_torch_that_is_built_for_cuda(wheel, counts):
    """`make study` installs the torch for CPUs, also on a laptop that has a GPU."""
    assert bool(accelerator.given({}, True, wheel)) is counts
    assert accelerator.given({"CUDA_VISIBLE_DEVICES": ""}, True, wheel) is None


@pytest.mark.parametrize(
    ("wheel", "says"),
    [
        ("13.0", "is built for CUDA 13.0; update the driver, or install a torch for its CUDA, or set"),
        (None, "is built for CPUs only; install a torch for CUDA (make .venv/study.ok TORCH=gpu), or set"),
    ],
)
def test_the_message_has_the_versions_and_torchs_own_words(monkeypatch, wheel, says):
    def unavailable():
        warnings.warn("CUDA initialization: The driver is too old. Please\nupdate it.", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    monkeypatch.setattr(torch.version, "cuda", wheel)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with pytest.raises(UserError) as refused:
        accelerator.ready()
    assert says in str(refused.value) and "\n" not in str(refused.value)
    assert (
        "given a GPU (CUDA_VISIBLE_DEVICES=0), but torch sees none (CUDA initialization: The driver is too old): "
        f"the driver is 535.104.05, torch {torch.__version__} is built" in str(refused.value)
    )


def test_a_gpu_that_is_seen_and_one_that_nobody_gave_are_right(monkeypatch):
    accelerator.ready()
    monkeypatch.setenv("SLURM_JOB_GPUS", "0")
    with pytest.raises(UserError):
        accelerator.ready()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    accelerator.ready()


def test_the_memory_of_a_gpu_is_in_segments_that_grow(monkeypatch):
    monkeypatch.delenv("PYTORCH_ALLOC_CONF")
    accelerator.ready()
    assert os.environ["PYTORCH_ALLOC_CONF"] == "expandable_segments:True"
    monkeypatch.setenv("PYTORCH_ALLOC_CONF", "max_split_size_mb:64")  # the user's own stays
    accelerator.ready()
    assert os.environ["PYTORCH_ALLOC_CONF"] == "max_split_size_mb:64"


@pytest.mark.parametrize(
    "start",
    [
        processes.meet,
        lambda: next(evaluate.run({}, {"encoder": None}, None)),
        lambda: next(icl.run({}, {"card": None}, None)),
        lambda: mine.encoder("guide", Anything(), {"guide": None}),
    ],
    ids=["finetune", "evaluate", "icl", "mine"],
)
def test_every_stage_that_computes_with_a_model_stops_at_its_start(monkeypatch, start):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    for stage in (evaluate, icl):
        monkeypatch.setattr(stage, "Spec", Anything())
    with pytest.raises(UserError, match="torch sees none"):
        start()


class Anything:
    """Has every attribute, and they are all alike."""

    def __getattr__(self, _):
        return self

    def __call__(self, *_):
        return self


def test_a_training_that_is_told_to_use_the_cpu_may(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setattr(processes, "PartialState", lambda cpu, timeout: SimpleNamespace(num_processes=1))
    processes.meet()


def test_the_version_of_the_driver(monkeypatch, tmp_path):
    monkeypatch.undo()
    file = tmp_path / "version"
    file.write_text(
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\nGCC 12\n"
    )
    assert accelerator.driver(file) == "535.104.05"
    smi = tmp_path / "nvidia-smi"
    smi.write_text("#!/bin/sh\necho 550.54.14\necho 550.54.14\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert accelerator.driver(tmp_path / "none") == "550.54.14"
    smi.unlink()
    assert accelerator.driver(tmp_path / "none") == "not found"


def test_bf16_on_a_gpu_that_lacks_it(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: including_emulation)
    assert devices.dtype("auto") == devices.dtype("fp32") == torch.float32
    with pytest.raises(UserError, match="precision bf16 is not supported by this cuda; use `precision: fp32`"):
        devices.dtype("bf16")
