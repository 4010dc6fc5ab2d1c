"""Packed texts and MPT's ALiBi by the kernels of a GPU, in bfloat16."""

import itertools

import numpy as np
import pytest
import torch
from test_attention import DECODERS, OTHERS, ROWS, VARIATION, backbone, texts, variation
from transformers import AutoModelForCausalLM, MptConfig, MptModel

from retscale.icl.decoder import Decoder
from retscale.model import attention, encode
from retscale.model.attention import use_fused
from retscale.model.packed import Segments, pack, packed_attention, use_packed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]

DEVICE = torch.device("cuda")
# Heads of the queries, of keys and values, and dimensions of each.
SHAPES = [(12, 12, 64), (16, 16, 128), (32, 8, 128), (8, 1, 256), (4, 4, 80)]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


def by_text(query, key, value, lengths, causal):
    """(1, tokens, heads, dimensions) in float64, text by text, by the definition."""
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], dim=1) for x in (key, value))
    parts = []
    for start, end in itertools.pairwise(np.cumsum([0, *lengths])):
        q, k, v = (x[:, :, start:end] for x in (query, key, value))
        scores = q @ k.mT * q.shape[-1] ** -0.5
        if causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
        parts.append(scores.softmax(-1) @ v)
    return torch.cat(parts, dim=2).transpose(1, 2)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_kernel_of_rows_is_attention_text_by_text(shape, causal):
    heads, shared, size = shape
    lengths = [1, 128, 7, 300, 64, 2]
    generator = torch.Generator().manual_seed(size)
    inputs = [
        torch.randn(1, n, sum(lengths), size, generator=generator, dtype=torch.float64).bfloat16().double()
        for n in (heads, shared, shared)
    ]
    weights = torch.randn(1, sum(lengths), heads, size, generator=generator, dtype=torch.float64)
    expected = [x.clone().requires_grad_() for x in inputs]
    out = by_text(*expected, lengths, causal)
    (out * weights).sum().backward()
    given = [x.to(DEVICE, torch.bfloat16).requires_grad_() for x in inputs]
    packed = packed_attention(*given, Segments.of(lengths, DEVICE), causal, None)
    (packed * weights.to(DEVICE)).sum().backward()
    assert relative(packed.cpu(), out) < 0.01
    for mine, exact in zip(given, expected):
        assert relative(mine.grad.cpu(), exact.grad) < 0.02


@pytest.mark.parametrize("tokens", [128, 512, 2048])
@torch.no_grad()
def test_alibi_is_exact_by_the_kernel(tokens, monkeypatch):
    """What each key gets of each query: the kernel's own outputs for values that are 1 at one key and 0 elsewhere."""
    torch.manual_seed(0)
    config = MptConfig(d_model=96, n_heads=12, n_layers=1, vocab_size=64, max_seq_len=2048)
    model = MptModel._from_config(config, attn_implementation="eager", dtype=torch.float32).eval()
    ids = torch.randint(0, 64, (1, tokens), generator=torch.Generator().manual_seed(tokens))
    expected = model(input_ids=ids, output_attentions=True).attentions[0]
    use_fused(model)
    rows, plain = [], packed_attention

    def watched(query, key, value, *rest):
        whole = torch.empty(value.shape[1], tokens, tokens)
        for start in range(0, tokens, value.shape[-1]):
            one = torch.zeros_like(value)
            width = min(value.shape[-1], tokens - start)
            one[:, :, start + torch.arange(width), torch.arange(width)] = 1
            seen = plain(query, key, one, *rest)[0, :tokens, :, :width]
            whole[:, :, start : start + width] = seen.permute(1, 0, 2)
        rows.append(whole)
        return plain(query, key, value, *rest)

    monkeypatch.setattr(attention, "packed_attention", watched)
    model.bfloat16().to(DEVICE)(**pack([ids[0].numpy(), np.arange(40) % 64], DEVICE))
    assert variation(rows[0][None], expected) < VARIATION


@pytest.mark.parametrize("name", ROWS)
@torch.no_grad()
def test_vectors_in_bfloat16_are_those_of_the_cpu(name, tmp_path):
    model, ids = backbone(name, tmp_path), texts(40)
    expected = torch.from_numpy(encode.encode(model, ids, 0))
    model = model.bfloat16().to(DEVICE)
    use_packed(model)
    vectors = torch.from_numpy(encode.encode(model, ids, 0))
    assert (1 - (vectors * expected).sum(1)).max() < 2e-3
    assert torch.equal(vectors, torch.from_numpy(encode.encode(model, ids, 0)))


@pytest.mark.parametrize("name", ["gpt-j", "gpt-neo", "gemma-2"])
def test_vectors_of_padded_texts_are_those_of_the_cpu(name):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(OTHERS[name], dtype=torch.float32).base_model.eval()
    ids = texts(40)
    expected, vectors = (torch.from_numpy(encode.encode(model.to(device), ids, 0)) for device in ("cpu", DEVICE))
    torch.testing.assert_close(vectors, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_continues_from_a_cache_on_a_gpu(name):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config((ROWS | OTHERS)[name], dtype=torch.float32).eval().to(DEVICE)
    use_fused(model)
    for dtype in (torch.float32, torch.bfloat16):
        assert Decoder(model.to(dtype), 0).unshareable is None
