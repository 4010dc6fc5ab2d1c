"""Checkpoints whose weights are in fp16."""

from pathlib import Path

import pytest
import safetensors.torch
import torch
from topics import make
from transformers import MptConfig, MptForCausalLM

from retscale.checkpoint import run as stage
from retscale.errors import UserError
from retscale.model.load import load_backbone

NAME = "transformer.blocks.0.norm_1.weight"


def checkpoint(folder: Path, value: float) -> dict:
    """The spec of a decoder in fp16 with such a weight."""

    def model(words: int) -> MptForCausalLM:
        decoder = MptForCausalLM(MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=words, max_seq_len=32)).half()
        with torch.no_grad():
            decoder.get_parameter(NAME)[0] = value
        return decoder

    make(folder, model)
    stored = safetensors.torch.load_file(folder / "model" / "model.safetensors")[NAME]
    assert stored.dtype == torch.float16 and not (stored[1:] - 1).any()
    source = {"kind": "local", "path": str(folder / "model")}
    return {"id": "half", "source": source, "tokens": 10, "tokenizer": {"pad": "eos"}}


@pytest.mark.parametrize("value", [65504, 1 + 2**-10], ids=["the largest", "one that bf16 would round"])
def test_fp16_is_loaded_as_it_is_into_fp32(tmp_path, value):
    """bf16 reaches further but has three bits less: trained are float32 weights, which round nothing."""
    out = tmp_path / "out"
    out.mkdir()
    stage.run(checkpoint(tmp_path, value), {}, out)
    weight = load_backbone(tmp_path / "model", torch.float32).get_parameter(NAME.removeprefix("transformer."))
    assert weight.dtype == torch.float32 and weight[0].item() == value


@pytest.mark.parametrize("value", [float("inf"), float("nan")], ids=str)
def test_a_weight_that_is_no_number_is_named(tmp_path, value):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match=f"the weight {NAME} of the checkpoint 'half' holds infinite values or NaN"):
        stage.run(checkpoint(tmp_path, value), {}, out)
    assert not (out / "card.json").exists()
