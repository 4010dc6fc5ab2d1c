"""Layers that torch compiles in a training; here by a backend that generates no code, on the CPU."""

import pytest
import torch
from topics import inputs, log, make, spec

from retscale.errors import UserError
from retscale.finetune import run as stage
from retscale.model import layers
from retscale.model.layers import STEPS_WORTH_COMPILING, worth_compiling

GPU, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


def trained(study, folder):
    out, state = folder / "out", folder / "state"
    for path in (out, state):
        path.mkdir(parents=True)
    notes = stage.run(spec(), inputs(study), out, state)
    return notes, [line["loss"] for line in log(out)], (out / "model.safetensors").read_bytes()


def test_a_compiled_training_is_the_same(study, tmp_path, monkeypatch):
    plain, losses, weights = trained(study, tmp_path / "plain")
    monkeypatch.setattr(stage, "worth_compiling", lambda *_: True)
    monkeypatch.setattr(layers, "BACKEND", "eager")
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled, same_losses, same_weights = trained(study, tmp_path / "compiled")
    assert (plain["compiled"], compiled["compiled"]) == (False, True)
    assert same_losses == losses and same_weights == weights
    counters = torch._dynamo.utils.counters
    # One for the rehearsal's shape and one for every other.
    assert 1 <= counters["stats"]["unique_graphs"] <= 2 and not counters["graph_break"]


def test_where_torch_cannot_compile_it_is_one_line(study, tmp_path, monkeypatch):
    def broken(graph, example_inputs):
        raise OSError("no C compiler\nand more")

    monkeypatch.setattr(stage, "worth_compiling", lambda *_: True)
    monkeypatch.setattr(layers, "BACKEND", broken)
    torch._dynamo.reset()
    with pytest.raises(UserError) as stopped:
        trained(study, tmp_path)
    assert "torch cannot compile" in str(stopped.value) and "TORCH_COMPILE_DISABLE=1" in str(stopped.value)
    assert "no C compiler" in str(stopped.value) and "\n" not in str(stopped.value)


def test_only_long_trainings_of_packed_texts_on_one_gpu_are_compiled(monkeypatch):
    steps = STEPS_WORTH_COMPILING
    assert worth_compiling(GPU, "packed", False, steps)
    assert not worth_compiling(CPU, "packed", False, steps)
    assert not worth_compiling(GPU, "bucketed", False, steps)
    assert not worth_compiling(GPU, "packed", True, steps)
    assert not worth_compiling(GPU, "packed", False, steps - 1)
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "1")
    assert not worth_compiling(GPU, "packed", False, steps)
