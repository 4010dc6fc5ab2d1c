"""Fine-tuning on a GPU: the losses of the CPU, the same bytes each time, a resume, and memory that runs out."""

import pytest
import torch
from accelerate.state import AcceleratorState
from topics import inputs, log, make, spec, start
from transformers import LlamaConfig, LlamaModel, MptConfig, MptModel

from retscale.finetune.run import run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

SHAPES = {
    "mpt": lambda words: MptModel(MptConfig(d_model=64, n_heads=4, n_layers=2, vocab_size=words, max_seq_len=32)),
    "llama": lambda words: LlamaModel(
        LlamaConfig(
            hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=128,
            vocab_size=words, max_position_embeddings=32,
        )
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=SHAPES)
def study(request, tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"), SHAPES[request.param])


def trained(study, folder, precision="bf16", **recipe):
    out, state = folder / "out", folder / "state"
    for path in (out, state):
        path.mkdir(parents=True)
    job = spec(lr=1e-3, **recipe) | {"precision": precision}
    AcceleratorState._reset_state(reset_partial_state=True)  # a process has one precision
    notes = run(job, inputs(study), out, state)
    return notes, log(out), (out / "model.safetensors").read_bytes()


@pytest.mark.parametrize("negatives", ["own", "microbatch", "global"])
def test_losses_on_a_gpu_are_those_of_the_cpu(study, tmp_path, negatives):
    recipe = {"negatives": negatives, "microbatch": 4}
    notes, exact, _ = trained(study, tmp_path / "fp32", "fp32", **recipe)
    assert notes["device"] == "cuda"
    *_, rounded, _ = trained(study, tmp_path / "bf16", **recipe)
    job = spec(lr=1e-3, **recipe)
    (process,) = start(job, inputs(study), tmp_path / "cpu", tmp_path / "cpu-state", CUDA_VISIBLE_DEVICES="")
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    on_cpu = log(tmp_path / "cpu")
    assert [line["loss"] for line in exact] == pytest.approx([line["loss"] for line in on_cpu], abs=1e-4)
    # Rounding moves the cosines of so narrow a model by .001, a fiftieth of the temperature, and then the weights.
    assert rounded[0]["loss"] == pytest.approx(on_cpu[0]["loss"], rel=2e-2)
    assert [line["loss"] for line in rounded] == pytest.approx([line["loss"] for line in on_cpu], rel=0.2)
    assert rounded[0]["padding"] == 0 and on_cpu[0]["padding"] > 0


def test_a_training_repeated_gives_the_same_bytes(study, tmp_path):
    *_, first = trained(study, tmp_path / "first")
    *_, second = trained(study, tmp_path / "second")
    assert first == second


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_a_training_resumed_after_kill_gives_the_same_bytes(study, tmp_path, tuning):
    recipe = {"tuning": tuning} | ({"lora": {"r": 4, "alpha": 8}} if tuning == "lora" else {})
    *_, unbroken = trained(study, tmp_path / "unbroken", **recipe)
    job = spec(lr=1e-3, **recipe) | {"precision": "bf16"}
    out, state = tmp_path / "out", tmp_path / "state"
    on_gpu = {"ACCELERATE_USE_CPU": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    (process,) = start(job, inputs(study), out, state, every=0, term=5, **on_gpu)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 1 and "stopped by SIGTERM" in errors
    (process,) = start(job, inputs(study), out, state, **on_gpu)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == 0 and "resumes after step" in errors, errors
    assert (out / "model.safetensors").read_bytes() == unbroken


def test_when_a_gpu_runs_out_of_memory_the_micro_batch_is_halved(tmp_path, capfd):
    """A limit that torch enforces and does not report stands for what others have taken of the card."""
    wide = lambda words: MptModel(MptConfig(d_model=1024, n_heads=16, n_layers=8, vocab_size=words, max_seq_len=32))
    torch.cuda.memory._set_allocator_settings("expandable_segments:True")  # as jobs have it
    study = make(tmp_path / "study", wide, passages=384)
    recipe = {"batch_queries": 128}
    _, expected, _ = trained(study, tmp_path / "whole", **recipe)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    trained(study, tmp_path / "again", **recipe)
    peak = torch.cuda.max_memory_reserved()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(0.8 * peak / total)
    try:
        notes, halved, _ = trained(study, tmp_path / "halved", **recipe)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert notes["microbatch"] < 128
    assert "memory runs out with a micro-batch of 128 queries" in capfd.readouterr().err
    assert [line["loss"] for line in halved] == pytest.approx([line["loss"] for line in expected], abs=3e-2)
