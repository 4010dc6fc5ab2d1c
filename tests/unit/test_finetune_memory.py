"""Predicted memory, against what torch keeps and what the process takes."""

import os
import subprocess
import sys

import pytest
import torch
from transformers import LlamaConfig, LlamaModel

from retscale.finetune.memory import Peak, activations, predicted


def llama(width=64, layers=2):
    config = LlamaConfig(
        vocab_size=50, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=4
    )
    return LlamaModel(config)


def test_activations_are_linear_in_tokens_and_grow_with_layers():
    fixed, slope = activations(llama(), torch.float32, 64)
    again = activations(llama(), torch.float32, 32)
    assert slope == pytest.approx(again[1], rel=0.1) and fixed < 32 * slope
    assert activations(llama(layers=4), torch.float32, 64)[1] == pytest.approx(2 * slope, rel=0.2)


def test_a_layer_keeps_what_its_operations_need():
    """By hand, floats a token in a layer of width d and inner width 2d: the two norms' inputs and outputs, q, k and v, the
    attention's output, gate, up and their product, and what rotations and roots keep: between 12d and 30d."""
    _, slope = activations(llama(width=256, layers=8), torch.float32, 64)
    assert 12 * 256 * 4 * 8 < slope < 30 * 256 * 4 * 8


def test_the_sum_by_hand():
    model = llama()
    n = sum(p.numel() for p in model.parameters())
    assert predicted(model, 0, 100, 50, 10, False) == 16 * n + 5000
    assert predicted(model, 7, 100, 50, 10, False, shards=4) == 4 * n + 5007
    assert predicted(model, 0, 100, 50, 10, True) == 16 * n + 4 * 2 * 64 * 50 + 500
    model.requires_grad_(False)
    assert predicted(model, 0, 100, 50, 10, False) == 4 * n + 5000


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
def test_prediction_is_what_a_training_takes():
    """A model of 13M parameters, trained a few steps in a process of its own: within a third."""
    program = """
import torch, sys
from transformers import LlamaConfig, LlamaModel
from retscale.finetune.memory import Peak, activations, predicted
config = LlamaConfig(vocab_size=1000, hidden_size=384, intermediate_size=1536, num_hidden_layers=6, num_attention_heads=6)
peak = Peak(torch.device("cpu"))
model = LlamaModel(config).train()
optimizer = torch.optim.AdamW(model.parameters(), fused=True)
need = predicted(model, *activations(model, torch.float32, 64), 32 * 64, 32 * 64, False)
for step in range(2):
    model(input_ids=torch.randint(1000, (32, 64))).last_hidden_state.square().mean().backward()
    optimizer.step(); optimizer.zero_grad()
print(need, peak.bytes())
"""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}  # each thread has buffers of its own
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    need, took = map(int, done.stdout.split())
    assert need == pytest.approx(took, rel=0.33)
