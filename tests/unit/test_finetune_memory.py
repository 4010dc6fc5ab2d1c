"""Predicted memory, against what torch keeps and what the process takes."""

import os
import time

import pytest
import torch
import warm
from catalog_models import CONFIGS
from transformers import AutoModel, LlamaConfig, LlamaModel

from retscale.finetune.footprint import Footprint
from retscale.finetune.memory import Peak, footprint, on, per_token
from retscale.model.attention import use_fused


def llama(width=64, layers=2):
    config = LlamaConfig(
        vocab_size=50, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=4
    )
    return LlamaModel(config)


def test_activations_are_linear_in_tokens_and_grow_with_layers():
    slope = per_token(llama(), torch.float32, 64)
    assert slope == pytest.approx(per_token(llama(), torch.float32, 32), rel=0.1)
    assert per_token(llama(layers=4), torch.float32, 64) == pytest.approx(2 * slope, rel=0.2)


def test_a_layer_keeps_what_its_operations_need():
    """By hand, floats a token in a layer of width d and inner width 2d: the two norms' inputs and outputs, q, k and v, the
    attention's output, gate, up and their product, and what rotations and roots keep: between 12d and 30d."""
    slope = per_token(llama(width=256, layers=8), torch.float32, 64)
    assert 12 * 256 * 4 * 8 < slope < 30 * 256 * 4 * 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_shapes_alone_say_what_a_forward_keeps(dtype):
    """The same as the tensors that a true forward saves."""
    model, weights, kept = llama(), set(), []
    for tokens in (16, 64):
        weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
        sizes = {}

        def pack(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
        with hooks, torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            hidden = model(input_ids=torch.zeros(1, tokens, dtype=torch.long)).last_hidden_state
        pack(hidden)
        kept.append(sum(sizes.values()))
    assert per_token(model, dtype, 64) == pytest.approx((kept[1] - kept[0]) / 48, rel=0.02)


def test_a_model_of_7b_is_probed_in_moments_and_without_its_weights():
    """Of its real shape, in bfloat16, on the meta device; the CPU would compute for minutes."""
    with torch.device("meta"):
        model = AutoModel.from_config(CONFIGS["mpt-7b"], attn_implementation="eager")
    use_fused(model)
    start = time.process_time()
    needed = footprint(model.train(), torch.bfloat16, 128)
    assert time.process_time() - start < 8  # on a quiet machine 1
    assert needed.weights == 4 * needed.total == 4 * 6649286656
    assert needed.cast == 6649286656 - needed.embeddings - (2 * 32 + 1) * 4096  # all but tables and norms
    assert 30 < needed.per_token / (32 * 4096) < 60  # bytes a token, layer and component of the width


def needed(**changes) -> Footprint:
    model = {"total": 1000, "weights": 4000, "trained": 1000, "cast": 0, "compute": 4, "layers": 2, "width": 10}
    return Footprint(**model | {"embeddings": 200, "per_token": 50} | changes)


def test_the_sum_by_hand():
    assert needed().peak(100, 100, False) == 16 * 1000 + 50 * 100
    assert needed(cast=900, compute=2).peak(100, 100, False) == 16 * 1000 + 2 * 900 + 50 * 100
    assert needed(trained=0).peak(100, 100, False) == 4 * 1000 + 50 * 100
    assert needed().peak(100, 10, True) == 16 * 1000 + 4 * 2 * 10 * 100 + 50 * 10 / 2
    layer, embeddings = 400, 200
    gathered = layer * (2 * 2 + 2 + 4) + 4 * embeddings  # two layers, one's gradients and those in float32
    sharded = needed(cast=900, compute=2).peak(100, 100, False, shards=4)
    assert sharded == 16 * 1000 / 4 + gathered + 50 * 100


def test_a_cpu_has_holes_and_a_gpu_has_none():
    assert on(torch.device("cuda"), needed(), False) == needed()
    assert on(torch.device("cpu"), needed(), True).per_token == pytest.approx(70)
    assert on(torch.device("cpu"), needed(), False).per_token == pytest.approx(85)


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="this system forgets no high-water mark of a process"
)
def test_the_peak_of_this_process():
    peak = Peak(torch.device("cpu"))
    block = torch.ones(2**24)  # 64 MiB
    del block
    assert 0.9 * 2**26 < peak.bytes() < 1.5 * 2**26
    fresh = Peak(torch.device("cpu"))
    assert fresh.bytes() < 2**24  # a former peak does not count


@pytest.mark.slow
@pytest.mark.parametrize("layers, width, texts, parts", [(6, 384, 16, 1), (8, 256, 16, 2), (12, 512, 4, 2)])
def test_prediction_is_what_a_training_takes(layers, width, texts, parts):
    """Models of 9 to 51M parameters, trained two steps in processes of their own: within 15%."""
    process = warm.Process(_train, layers, width, texts, parts, environment=dict(os.environ))
    printed, error = process.communicate()
    assert process.returncode == 0, error
    need, took = map(int, printed.split())
    assert need == pytest.approx(took, rel=0.15)


def _train(layers: int, width: int, texts: int, parts: int) -> None:
    """Print the bytes that are predicted, and those that were taken."""
    torch.set_num_threads(1)  # each thread has buffers of its own
    torch.ones(64, 64) @ torch.ones(64, 64)
    config = LlamaConfig(
        vocab_size=1000, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=4
    )
    cpu = torch.device("cpu")
    peak = Peak(cpu)
    model = LlamaModel(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    tokens = texts * 64
    need = on(cpu, footprint(model, torch.float32, 64), parts == 1).peak(tokens, tokens, False)
    for _ in range(2):
        for _ in range(parts):
            model(input_ids=torch.randint(1000, (texts, 64))).last_hidden_state.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    print(need, peak.bytes())
