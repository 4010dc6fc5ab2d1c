"""GGUF files of tiny Llamas and mixtures of experts, written by hand."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

# Tensors of a layer: the names of transformers, and of GGUF.
LAYER = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate": "ffn_gate_inp",
    "mlp.experts.gate_proj": "ffn_gate_exps",
    "mlp.experts.up_proj": "ffn_up_exps",
    "mlp.experts.down_proj": "ffn_down_exps",
    "mlp.shared_expert.gate_proj": "ffn_gate_shexp",
    "mlp.shared_expert.up_proj": "ffn_up_shexp",
    "mlp.shared_expert.down_proj": "ffn_down_shexp",
    "mlp.shared_expert_gate": "ffn_gate_inp_shexp",
}


def write(path: Path, model, tokenizer, drop: tuple[str, ...] = (), blocks: int | None = None) -> Path:
    """`model` in float32 without the tensors whose names begin with one of `drop`, its header with `blocks` blocks."""
    gguf = pytest.importorskip("gguf")
    config = model.config
    writer = gguf.GGUFWriter(path, config.model_type.replace("_", ""))
    if config.model_type == "qwen2_moe":
        writer.add_expert_count(config.num_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(blocks or config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokenizer.convert_ids_to_tokens(range(config.vocab_size)))
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_token_types([1] * config.vocab_size)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
    names |= {
        f"model.layers.{i}.{a}": f"blk.{i}.{b}" for i in range(config.num_hidden_layers) for a, b in LAYER.items()
    }
    for name, tensor in separate(model.state_dict()).items():
        if not name.startswith(drop):
            layer, _, kind = name.rpartition(".")
            array = (tensor[0] if layer.endswith("shared_expert_gate") else tensor).numpy()
            if config.model_type == "llama" and layer.endswith(("q_proj", "k_proj")):
                array = interleaved(array, config.num_attention_heads)
            writer.add_tensor(f"{names[layer]}.{kind}", np.ascontiguousarray(array))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def interleaved(array: np.ndarray, heads: int) -> np.ndarray:
    """The rows in the order of GGUF, which interleaves the two halves of rotary pairs."""
    return array.reshape(heads, 2, -1, array.shape[1]).swapaxes(1, 2).reshape(array.shape)


def separate(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights, those of experts one by one as in GGUF."""
    tensors = {}
    for name, tensor in weights.items():
        layer, _, kind = name.rpartition(".")
        if kind == "gate_up_proj":
            tensors |= dict(
                zip((f"{layer}.gate_proj.weight", f"{layer}.up_proj.weight"), tensor.chunk(2, 1), strict=True)
            )
        else:
            tensors[name if kind in ("weight", "bias") else f"{name}.weight"] = tensor
    return tensors
