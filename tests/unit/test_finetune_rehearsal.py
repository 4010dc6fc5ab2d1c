"""Memory that runs out in a training: a forward of too many tokens raises what CUDA and torch's allocators raise."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import warm
from topics import finished, inputs, log, make, port, spec
from torch._subclasses.fake_tensor import FakeTensor

from retscale.errors import UserError
from retscale.finetune.rehearsal import exhausted, smaller
from retscale.finetune.run import run
from retscale.model import attention

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
HOST = RuntimeError(
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
)
FORWARD = attention._model_forward
ROOM = 250  # tokens: four queries with their passages, not eight


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("study"))


def raising(error: BaseException, when: Callable[[torch.Tensor], bool]):
    """A forward that raises where its token ids are such."""

    def forward(self, input_ids, *arguments, **options):
        if when(input_ids):
            raise error
        return FORWARD(self, input_ids, *arguments, **options)

    return forward


def trained(study: Path, folder: Path, **recipe) -> tuple[dict, bytes]:
    """Notes and weights."""
    out, state = folder / "out", folder / "state"
    for path in (out, state):
        path.mkdir(parents=True, exist_ok=True)
    return run(spec(**recipe), inputs(study), out, state), (out / "model.safetensors").read_bytes()


@pytest.mark.parametrize("error", [CUDA, HOST, MemoryError()], ids=["cuda", "host", "python"])
def test_before_the_first_step_the_micro_batch_is_halved(study, tmp_path, monkeypatch, capfd, error):
    expected = trained(study, tmp_path / "given", microbatch=4)[1]
    capfd.readouterr()
    monkeypatch.setattr(attention, "_model_forward", raising(error, lambda ids: ids.numel() > ROOM))
    notes, weights = trained(study, tmp_path)
    said = [line for line in capfd.readouterr().err.splitlines() if "memory runs out" in line]
    assert said == ["fine-tune tiny: memory runs out with a micro-batch of 8 queries; it is 4 now"]
    assert notes["microbatch"] == 4 and weights == expected


@pytest.mark.parametrize(
    ("recipe", "microbatch"), [({"microbatch": 8}, 8), ({"negatives": "microbatch"}, 8), ({}, 1)], ids=str
)
def test_where_no_smaller_one_helps_it_is_one_line(study, tmp_path, monkeypatch, recipe, microbatch):
    """One that the recipe gives or whose result it is stays; and one query may be too much."""
    monkeypatch.setattr(attention, "_model_forward", raising(CUDA, lambda ids: len(ids) > 1))
    with pytest.raises(UserError) as stopped:
        trained(study, tmp_path, **recipe)
    assert str(stopped.value).startswith(f"memory runs out on this cpu with a micro-batch of {microbatch}; lower")
    assert "\n" not in str(stopped.value)


def test_after_the_first_step_it_is_one_line_and_the_next_try_takes_half(study, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(attention, "_model_forward", raising(CUDA, lambda ids: calls.append(ids) or len(calls) == 8))
    with pytest.raises(UserError) as stopped:
        trained(study, tmp_path)
    assert str(stopped.value) == (
        "memory ran out on this cpu with a micro-batch of 8; run the same command again: it resumes from the newest "
        "state with one of 4"
    )
    assert 0 < len(log(tmp_path / "state")) < 12
    monkeypatch.setattr(attention, "_model_forward", FORWARD)
    assert trained(study, tmp_path)[0]["microbatch"] == 4


def test_other_errors_stay_what_they_are(study, tmp_path, monkeypatch):
    for text in ("mat1 and mat2 shapes cannot be multiplied", "CUDA error: an illegal memory access"):
        assert not exhausted(RuntimeError(text))
    assert not exhausted(ValueError("out of memory"))
    monkeypatch.setattr(attention, "_model_forward", raising(RuntimeError("a bug"), lambda ids: len(ids) > 1))
    with pytest.raises(RuntimeError, match="a bug"):
        trained(study, tmp_path)


def test_a_share_is_divided_without_remainder():
    assert [smaller(24, part) for part in (24, 12, 8, 6, 3, 2, 1)] == [12, 6, 4, 3, 1, 1, 0]


def _second_has_less_room(job: dict, given: dict, out: Path, state: Path) -> None:
    if os.environ["RANK"] == "1":
        attention._model_forward = raising(CUDA, lambda ids: ids.numel() > ROOM / 2)
    run(job, given, out, state)


@pytest.mark.slow
def test_all_processes_take_the_micro_batch_that_fits_each(study, tmp_path):
    out = tmp_path / "out"
    out.mkdir(), (tmp_path / "state").mkdir()
    world = {"ACCELERATE_USE_CPU": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
    started = [
        warm.Process(
            _second_has_less_room, spec(), inputs(study), out, tmp_path / "state",
            environment={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank},
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    finished(started)
    said = started[0].communicate()[1]
    assert "memory runs out with a micro-batch of 4 queries; it is 2 now" in said
    assert len(log(out)) == 12


@pytest.mark.parametrize(("microbatch", "parts"), [(8, 1), (4, 2)])
def test_a_rehearsal_of_several_parts_has_the_gradient_of_those_before(study, tmp_path, monkeypatch, microbatch, parts):
    gradients = []

    def forward(self, input_ids, *arguments, **options):
        if not isinstance(input_ids, FakeTensor):  # of the prediction, which has only shapes
            gradients.append([weight.grad is not None for weight in self.parameters()])
        return FORWARD(self, input_ids, *arguments, **options)

    monkeypatch.setattr(attention, "_model_forward", forward)
    trained(study, tmp_path, microbatch=microbatch)
    assert all(gradients[0]) == any(gradients[0]) == (parts > 1)
