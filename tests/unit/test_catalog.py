"""The catalog of checkpoints: its rules for steps, its arithmetic, and what every fact rests on."""

import re
from math import ceil
from pathlib import Path

import pytest
import torch
import transformers
import yaml
from catalog_models import ETTIN

from retscale.checkpoint.config import Checkpoint
from retscale.common.flops import flops
from retscale.errors import UserError
from retscale.model.load import max_length
from retscale.model.params import count_params
from retscale.study import catalog, families, load

CONFIG = Path(__file__).resolve().parents[2] / "config"


def entry(name: str) -> Checkpoint:
    return Checkpoint.model_validate(catalog.resolve("checkpoint", name, "study.yaml", "checkpoints.0")[1])


# As the families' makers and cards have them: parameters, tokens in billions, tokens a parameter, 6 N D. Written down
# beside the catalog, not from it: a slip of the pen in either shows.
PRINTED = {
    "cerebras-gpt-111m": (111_050_496, 2.221, 20.0, 1.480e18),
    "cerebras-gpt-256m": (255_977_024, 5.119, 20.0, 7.862e18),
    "cerebras-gpt-590m": (590_310_912, 11.806, 20.0, 4.182e19),
    "cerebras-gpt-1.3b": (1_315_723_264, 26.313, 20.0, 2.077e20),
    "cerebras-gpt-2.7b": (2_651_553_280, 53.030, 20.0, 8.437e20),
    "cerebras-gpt-6.7b": (6_658_404_352, 133.167, 20.0, 5.320e21),
    "cerebras-gpt-13b": (12_853_386_240, 257.067, 20.0, 1.983e22),
    "pythia-14m": (14_067_712, 299.893, 21317.8, 2.531e19),
    "pythia-31m": (30_494_720, 299.893, 9834.3, 5.487e19),
    "pythia-70m": (70_426_624, 299.893, 4258.2, 1.267e20),
    "pythia-160m": (162_322_944, 299.893, 1847.5, 2.921e20),
    "pythia-410m": (405_334_016, 299.893, 739.9, 7.293e20),
    "pythia-1b": (1_011_781_632, 299.893, 296.4, 1.821e21),
    "pythia-1.4b": (1_414_647_808, 299.893, 212.0, 2.545e21),
    "pythia-2.8b": (2_775_208_960, 299.893, 108.1, 4.994e21),
    "pythia-6.9b": (6_857_302_016, 299.893, 43.7, 1.234e22),
    "pythia-12b": (11_846_072_320, 299.893, 25.3, 2.132e22),
    "datadecide-4m": (6_964_288, 0.375, 53.9, 1.568e16),
    "datadecide-6m": (10_839_648, 0.602, 55.5, 3.914e16),
    "datadecide-8m": (14_977_152, 0.855, 57.1, 7.679e16),
    "datadecide-10m": (17_144_208, 0.991, 57.8, 1.019e17),
    "datadecide-14m": (24_038_592, 1.439, 59.9, 2.075e17),
    "datadecide-16m": (26_467_792, 1.601, 60.5, 2.543e17),
    "datadecide-20m": (28_760_256, 1.912, 66.5, 3.299e17),
    "datadecide-60m": (76_394_880, 5.710, 74.7, 2.617e18),
    "datadecide-90m": (124_507_152, 9.798, 78.7, 7.319e18),
    "datadecide-150m": (190_532_352, 15.004, 78.7, 1.715e19),
    "datadecide-300m": (371_491_840, 30.007, 80.8, 6.688e19),
    "datadecide-530m": (597_683_520, 53.019, 88.7, 1.901e20),
    "datadecide-750m": (758_564_352, 75.013, 98.9, 3.414e20),
    "datadecide-1b": (1_279_854_592, 100.016, 78.1, 7.680e20),
    "olmo-2-1b": (1_484_916_736, 4000.022, 2693.8, 3.564e22),
    "olmo-2-7b": (7_298_617_344, 3895.024, 533.7, 1.706e23),
    "olmo-2-13b": (13_716_198_400, 5000.089, 364.5, 4.115e23),
    "olmo-2-32b": (32_234_279_936, 6055.745, 187.9, 1.171e24),
    "smollm2-135m": (134_515_008, 2097.152, 15590.5, 1.693e21),
    "smollm2-360m": (361_821_120, 4089.446, 11302.4, 8.878e21),
    "smollm2-1.7b": (1_711_376_384, 10989.076, 6421.2, 1.128e23),
    "tinyllama-1.1b": (1_100_048_384, 3000.000, 2727.2, 1.980e22),
    "mpt-1b-redpajama-200b": (1_311_442_944, 200.000, 152.5, 1.574e21),
    "mpt-7b": (6_649_286_656, 1000.000, 150.4, 3.990e22),
    "mpt-7b-8k": (6_649_286_656, 1500.000, 225.6, 5.984e22),
    "mpt-30b": (29_957_200_896, 1050.000, 35.1, 1.887e23),
    "llama-2-7b": (6_738_415_616, 2000.000, 296.8, 8.086e22),
    "llama-2-13b": (13_015_864_320, 2000.000, 153.7, 1.562e23),
    "llama-3-8b": (8_030_261_248, 15000.000, 1867.9, 7.227e23),
    "llama-3.2-1b": (1_235_814_400, 9000.000, 7282.6, 6.673e22),
    "llama-3.2-3b": (3_212_749_824, 9000.000, 2801.3, 1.735e23),
    "qwen3-0.6b": (596_049_920, 36000.000, 60397.6, 1.287e23),
    "qwen3-1.7b": (1_720_574_976, 36000.000, 20923.2, 3.716e23),
    "qwen3-4b": (4_022_468_096, 36000.000, 8949.7, 8.689e23),
    "qwen3-8b": (8_190_735_360, 36000.000, 4395.2, 1.769e24),
    "qwen3-14b": (14_768_307_200, 36000.000, 2437.7, 3.190e24),
    "qwen1.5-0.5b": (463_987_712, 2400.000, 5172.6, 6.681e21),
    "qwen1.5-1.8b": (1_836_828_672, 2400.000, 1306.6, 2.645e22),
    "qwen1.5-4b": (3_950_369_280, 2400.000, 607.5, 5.689e22),
    "qwen1.5-7b": (7_721_324_544, 4000.000, 518.0, 1.853e23),
    "qwen1.5-14b": (14_167_290_880, 4000.000, 282.3, 3.400e23),
    "gpt-neo-125m": (125_198_592, 300.000, 2396.2, 2.254e20),
    "gpt-neo-1.3b": (1_315_575_808, 380.000, 288.8, 3.000e21),
    "gpt-neo-2.7b": (2_651_307_520, 420.000, 158.4, 6.681e21),
    "gpt-j-6b": (6_050_882_784, 402.000, 66.4, 1.459e22),
    "opt-125m": (125_239_296, 300.000, 2395.4, 2.254e20),
    "opt-350m": (331_196_416, 300.000, 905.8, 5.962e20),
    "opt-1.3b": (1_315_758_080, 300.000, 228.0, 2.368e21),
    "opt-2.7b": (2_651_596_800, 300.000, 113.1, 4.773e21),
    "opt-6.7b": (6_658_473_984, 300.000, 45.1, 1.199e22),
    "opt-13b": (12_853_473_280, 300.000, 23.3, 2.314e22),
    "phi-1.5": (1_418_270_720, 150.000, 105.8, 1.276e21),
    "phi-2": (2_779_683_840, 1400.000, 503.7, 2.335e22),
}


@pytest.mark.parametrize("name", PRINTED)
def test_parameters_tokens_and_flops_are_those_printed(name):
    n_params, billions, per_param, compute = PRINTED[name]
    checkpoint = entry(name)
    assert checkpoint.n_params == n_params
    assert checkpoint.tokens / 1e9 == pytest.approx(billions, abs=5.1e-4)
    assert checkpoint.tokens / checkpoint.n_params == pytest.approx(per_param, abs=0.0501)
    assert flops(checkpoint.n_params, checkpoint.tokens) == pytest.approx(compute, rel=5.1e-4)


LENGTH = "max_position_embeddings"


# Width, layers, heads and what else a shape takes, from memory: that the count agrees says that they are right.
def llama(d, layers, heads, kv, inner, vocab, tied=False, kind="Llama", **more):
    sizes = {"hidden_size": d, "num_hidden_layers": layers, "num_attention_heads": heads, "num_key_value_heads": kv}
    return kind, {**sizes, "intermediate_size": inner, "vocab_size": vocab, "tie_word_embeddings": tied, **more}


def gpt2(d, layers, heads):
    return "GPT2", {"n_embd": d, "n_layer": layers, "n_head": heads, "n_positions": 2048}


def neox(d, layers, heads, vocab=50304):
    sizes = {"hidden_size": d, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 4 * d}
    return "GPTNeoX", {**sizes, "vocab_size": vocab}


def mpt(d, layers, heads, length=2048):
    sizes = {"d_model": d, "n_layers": layers, "n_heads": heads, "vocab_size": 50432, "max_seq_len": length}
    return "Mpt", {**sizes, "no_bias": True, "learned_pos_emb": False}


def neo(d, layers, heads):
    sizes = {"hidden_size": d, "num_layers": layers, "num_heads": heads}
    return "GPTNeo", {**sizes, "attention_types": [[["global", "local"], layers // 2]]}


def opt(d, layers, heads, **more):
    sizes = {"hidden_size": d, "num_hidden_layers": layers, "num_attention_heads": heads, "ffn_dim": 4 * d}
    return "OPT", {**sizes, "word_embed_proj_dim": d, **more}


def phi(d, layers):
    sizes = {"hidden_size": d, "num_hidden_layers": layers, "num_attention_heads": 32, "intermediate_size": 4 * d}
    return "Phi", sizes


def t5(d, inner, layers, heads, **more):
    return "T5", {"d_model": d, "d_ff": inner, "num_layers": layers, "num_heads": heads, **more}


def ettin(objective):
    kind = "ModernBertDecoder" if objective.startswith("decoder") else "ModernBert"
    sizes = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
    return {
        f"ettin-{objective}-{size}": (kind, dict(zip(sizes, shape)) | {"vocab_size": 50368, LENGTH: 7999})
        for size, shape in ETTIN.items()
    }


GATED = {"feed_forward_proj": "gated-gelu"}
SHAPES = {
    "mpt-7b": mpt(4096, 32, 32),
    "mpt-7b-8k": mpt(4096, 32, 32, 8192),
    "mpt-30b": mpt(7168, 48, 64, 8192),
    "cerebras-gpt-111m": gpt2(768, 10, 12),
    "cerebras-gpt-256m": gpt2(1088, 14, 17),
    "cerebras-gpt-590m": gpt2(1536, 18, 12),
    "cerebras-gpt-1.3b": gpt2(2048, 24, 16),
    "cerebras-gpt-2.7b": gpt2(2560, 32, 32),
    "cerebras-gpt-6.7b": gpt2(4096, 32, 32),
    "cerebras-gpt-13b": gpt2(5120, 40, 40),
    "pythia-14m": neox(128, 6, 4),
    "pythia-31m": neox(256, 6, 8),
    "pythia-70m": neox(512, 6, 8),
    "pythia-160m": neox(768, 12, 12),
    "pythia-410m": neox(1024, 24, 16),
    "pythia-1b": neox(2048, 16, 8),
    "pythia-1.4b": neox(2048, 24, 16),
    "pythia-2.8b": neox(2560, 32, 32),
    "pythia-6.9b": neox(4096, 32, 32, 50432),
    "pythia-12b": neox(5120, 36, 40, 50688),
    "olmo-2-1b": llama(2048, 16, 16, 16, 8192, 100352, kind="Olmo2", **{LENGTH: 4096}),
    "olmo-2-7b": llama(4096, 32, 32, 32, 11008, 100352, kind="Olmo2", **{LENGTH: 4096}),
    "olmo-2-13b": llama(5120, 40, 40, 40, 13824, 100352, kind="Olmo2", **{LENGTH: 4096}),
    "olmo-2-32b": llama(5120, 64, 40, 8, 27648, 100352, kind="Olmo2", **{LENGTH: 4096}),
    "smollm2-135m": llama(576, 30, 9, 3, 1536, 49152, True, **{LENGTH: 8192}),
    "smollm2-360m": llama(960, 32, 15, 5, 2560, 49152, True, **{LENGTH: 8192}),
    "smollm2-1.7b": llama(2048, 24, 32, 32, 8192, 49152, True, **{LENGTH: 8192}),
    "tinyllama-1.1b": llama(2048, 22, 32, 4, 5632, 32000),
    "gpt-neo-125m": neo(768, 12, 12),
    "gpt-neo-1.3b": neo(2048, 24, 16),
    "gpt-neo-2.7b": neo(2560, 32, 20),
    "gpt-j-6b": ("GPTJ", {}),
    "opt-125m": opt(768, 12, 12),
    "opt-350m": opt(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": opt(2048, 24, 32),
    "opt-2.7b": opt(2560, 32, 32),
    "opt-6.7b": opt(4096, 32, 32),
    "opt-13b": opt(5120, 40, 40),
    "llama-2-7b": llama(4096, 32, 32, 32, 11008, 32000, **{LENGTH: 4096}),
    "llama-2-13b": llama(5120, 40, 40, 40, 13824, 32000, **{LENGTH: 4096}),
    "llama-3-8b": llama(4096, 32, 32, 8, 14336, 128256, **{LENGTH: 8192}),
    "llama-3.2-1b": llama(2048, 16, 32, 8, 8192, 128256, True, **{LENGTH: 131072}),
    "llama-3.2-3b": llama(3072, 28, 24, 8, 8192, 128256, True, **{LENGTH: 131072}),
    "mistral-7b": llama(4096, 32, 32, 8, 14336, 32000, kind="Mistral", **{LENGTH: 32768}),
    "qwen1.5-0.5b": llama(1024, 24, 16, 16, 2816, 151936, True, kind="Qwen2"),
    "qwen1.5-1.8b": llama(2048, 24, 16, 16, 5504, 151936, kind="Qwen2"),
    "qwen1.5-4b": llama(2560, 40, 20, 20, 6912, 151936, kind="Qwen2"),
    "qwen1.5-7b": llama(4096, 32, 32, 32, 11008, 151936, kind="Qwen2"),
    "qwen1.5-14b": llama(5120, 40, 40, 40, 13696, 152064, kind="Qwen2"),
    "qwen1.5-32b": llama(5120, 64, 40, 8, 27392, 152064, kind="Qwen2"),
    "qwen3-0.6b": llama(1024, 28, 16, 8, 3072, 151936, True, kind="Qwen3"),
    "qwen3-1.7b": llama(2048, 28, 16, 8, 6144, 151936, True, kind="Qwen3"),
    "qwen3-4b": llama(2560, 36, 32, 8, 9728, 151936, True, kind="Qwen3"),
    "qwen3-8b": llama(4096, 36, 32, 8, 12288, 151936, kind="Qwen3"),
    "qwen3-14b": llama(5120, 40, 40, 8, 17408, 151936, kind="Qwen3"),
    "gemma-2b": llama(2048, 18, 8, 1, 16384, 256000, True, kind="Gemma", head_dim=256),
    "gemma-7b": llama(3072, 28, 16, 16, 24576, 256000, True, kind="Gemma", head_dim=256),
    "gemma-2-2b": llama(2304, 26, 8, 4, 9216, 256000, True, kind="Gemma2", head_dim=256),
    "phi-1.5": phi(2048, 24),
    "phi-2": phi(2560, 32),
    "bert-base": ("Bert", {}),
    "bert-large": (
        "Bert",
        {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
    ),
    "modernbert-base": ("ModernBert", {}),
    "modernbert-large": (
        "ModernBert",
        {"hidden_size": 1024, "num_hidden_layers": 28, "num_attention_heads": 16, "intermediate_size": 2624},
    ),
    **ettin("encoder"),
    **ettin("decoder"),
    **ettin("encoder-from-decoder"),
    **ettin("decoder-from-encoder"),
    "t5-base": t5(768, 3072, 12, 12),
    "t5-large": t5(1024, 4096, 24, 16),
    "t5-3b": t5(1024, 16384, 24, 32, d_kv=128),
    "t5-11b": t5(1024, 65536, 24, 128, d_kv=128),
    "t5-v1.1-base": t5(768, 2048, 12, 12, **GATED),
    "t5-v1.1-large": t5(1024, 2816, 24, 16, **GATED),
    "t5-v1.1-xl": t5(2048, 5120, 24, 32, **GATED),
    "t5-v1.1-xxl": t5(4096, 10240, 24, 64, **GATED),
}


def test_every_entry_that_can_be_loaded_has_its_shape_here_or_shares_one():
    """Slots of the paper's ladder have no class in transformers; docs/portes2025.md and its test count them."""
    loadable = {
        name
        for name in catalog.entries("checkpoint")
        if entry(name).source.kind == "hub" and not entry(name).unsupported
    }
    tuned = re.compile("(olmo-2-.+|llama-2-.+|qwen1.5-.+)-(final|sft|dpo|instruct|chat)")
    shared = {name: match[1] for name in loadable if (match := tuned.fullmatch(name))}
    shared |= {name: "tinyllama-1.1b" for name in loadable if name.startswith("tinyllama-1.1b-")}
    shared["llama-3.1-8b"] = "llama-3-8b"
    assert loadable - shared.keys() == set(SHAPES) and len(shared) == 25
    for name, base in shared.items():
        assert (entry(name).n_params, entry(name).model_type) == (entry(base).n_params, entry(base).model_type)


@pytest.mark.parametrize("name", SHAPES)
def test_a_model_of_that_shape_has_as_many_parameters_and_tokens(name):
    kind, sizes = SHAPES[name]
    config = getattr(transformers, f"{kind}Config")(**sizes)
    encoders = {"Bert": {"add_pooling_layer": False}, "ModernBert": {}, "T5": {}}
    with torch.device("meta"):
        if kind in encoders:
            model = getattr(transformers, "T5EncoderModel" if kind == "T5" else f"{kind}Model")(
                config, **encoders[kind]
            )
        else:
            model = transformers.AutoModelForCausalLM.from_config(config)
    model.tie_weights()
    checkpoint = entry(name)
    assert (config.model_type, count_params(model)["total"]) == (checkpoint.model_type, checkpoint.n_params)
    assert model.get_input_embeddings().num_embeddings == checkpoint.vocab_size
    if checkpoint.max_length is None or LENGTH in sizes or "max_seq_len" in sizes:
        assert max_length(config) == checkpoint.max_length


def test_tokens_of_a_step_are_batch_times_length():
    datadecide = [32, 32, 32, 32, 32, 32, 64, 96, 160, 192, 320, 448, 576, 704]
    expected = {
        "pythia": [1024 * 2048] * 10,
        "olmo-2": [512 * 4096, 1024 * 4096, 2048 * 4096, 2048 * 4096],
        "datadecide-dolma1.7": [batch * 2048 for batch in datadecide],
        "smollm2": [512 * 2048, 768 * 2048, 1024 * 2048],
    }
    tokens = {}
    for member in catalog.members().values():
        if member.get("steps"):
            tokens.setdefault(member["family"], []).append(member["steps"]["tokens"])
    assert tokens == expected


def test_every_fact_says_how_it_is_known():
    for name in catalog.entries("checkpoint"):
        checkpoint = entry(name)
        stated = {
            key for key in ("tokens", "n_params", "vocab_size", "max_length") if getattr(checkpoint, key) is not None
        }
        stated |= {"tokenizer"} if checkpoint.tokenizer != Checkpoint.model_fields["tokenizer"].default else set()
        stated |= {"revision", "gated"} if checkpoint.source.kind == "hub" else set()
        assert stated | {"licence"} <= set(checkpoint.evidence), name
        assert checkpoint.licence and checkpoint.origin, name


def test_parameters_count_as_computed_only_where_the_dimensions_were_read():
    """Those of the others agree with what the hub is remembered to show, and are compared with the loaded model."""
    read = {"cerebras-gpt", "pythia", "olmo-2", "datadecide-dolma1.7", "smollm2", "bert", "modernbert", "t5", "t5-v1.1"}
    read |= {f"olmo-2-{stage}" for stage in ("final", "sft", "dpo", "instruct")}
    read |= {"ettin-encoder", "ettin-decoder", "ettin-encoder-from-decoder", "ettin-decoder-from-encoder"}
    computed = {
        (entry(name).family, name)
        for name in catalog.entries("checkpoint")
        if entry(name).evidence["n_params"] == "computed"
    }
    assert {family for family, _ in computed} == read | {"mpt"}
    assert {name for family, name in computed if family == "mpt"} == {"mpt-1b-redpajama-200b", "mpt-7b", "mpt-7b-8k"}


def test_pythias_revisions_and_tokens_follow_from_its_rule():
    every = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, *range(1000, 143001, 1000)]
    steps = families.Steps.model_validate(catalog.members()["pythia-1b"]["steps"])
    assert steps.available() == every and len(every) == 153  # 154 with step 0, which has seen nothing
    checkpoint = entry("pythia-160m-step39000")
    assert (checkpoint.source.repo, checkpoint.source.revision) == ("EleutherAI/pythia-160m", "step39000")
    assert (checkpoint.tokens, checkpoint.schedule_finished, checkpoint.note) == (39000 * 2**21, False, "")
    assert entry("pythia-14m-step512").note == "inside the warm-up of the learning rate, which ends at step 1430"
    end = entry("pythia-160m")
    assert entry("pythia-160m-step143000") == end and end.source.revision == "step143000" and end.schedule_finished


@pytest.mark.parametrize(
    ("name", "repo", "revision"),
    [
        ("olmo-2-1b", "OLMo-2-0425-1B", "stage1-step1907359-tokens4001B"),
        ("olmo-2-1b-step10000", "OLMo-2-0425-1B", "stage1-step10000-tokens21B"),
        ("olmo-2-1b-step1420000", "OLMo-2-0425-1B", "stage1-step1420000-tokens2978B"),
        ("olmo-2-7b", "OLMo-2-1124-7B", "stage1-step928646-tokens3896B"),
        ("olmo-2-7b-step35000", "OLMo-2-1124-7B", "stage1-step35000-tokens147B"),
        ("olmo-2-7b-step870000", "OLMo-2-1124-7B", "stage1-step870000-tokens3650B"),
        ("olmo-2-7b-step150", "OLMo-2-1124-7B", "step150-tokens1B"),
        ("olmo-2-7b-step850", "OLMo-2-1124-7B", "step850-tokens4B"),
        ("olmo-2-7b-step2000", "OLMo-2-1124-7B", "step2000-tokens9B"),
        ("olmo-2-7b-step2150", "OLMo-2-1124-7B", "step2150-tokens10B"),
        ("olmo-2-13b", "OLMo-2-1124-13B", "stage1-step596057-tokens5001B"),
        ("olmo-2-13b-step409000", "OLMo-2-1124-13B", "stage1-step409000-tokens3431B"),
        ("olmo-2-32b", "OLMo-2-0325-32B", "stage1-step721901-tokens6056B"),
        ("olmo-2-32b-step384000", "OLMo-2-0325-32B", "stage1-step384000-tokens3222B"),
    ],
)
def test_olmos_branches_are_named_as_they_are(name, repo, revision):
    checkpoint = entry(name)
    assert (checkpoint.source.repo, checkpoint.source.revision) == (f"allenai/{repo}", revision)
    assert not checkpoint.schedule_finished


def test_intermediates_may_lie_in_another_repository():
    checkpoint = entry("smollm2-360m-step320000")
    assert checkpoint.source.repo == "HuggingFaceTB/SmolLM2-360M-intermediate-checkpoints"
    assert (checkpoint.source.revision, checkpoint.tokens) == ("step-320000", 320000 * 1_572_864)
    assert entry("smollm2-360m").source.revision == "main" and entry("smollm2-360m").schedule_finished


@pytest.mark.parametrize(
    ("name", "revision", "billions"),
    [
        ("ettin-encoder-150m", "main", 2000),
        ("ettin-encoder-150m-step23984", "step23984", 8 * 8.5),
        ("ettin-decoder-150m-step599525", "step599525", 1700),
        ("ettin-encoder-150m-ext10373", "ext10373", 1700 + 6 * 8.5),
        ("ettin-decoder-1b-ext50854", "ext50854", 1950),
        ("ettin-decoder-1b-decay6978", "decay6978", 1950 + 5 * 8.5),
    ],
)
def test_ettins_phases_follow_each_other(name, revision, billions):
    """Its makers saved every 8.5B tokens: what the numbers of the steps are is a whole number of these."""
    checkpoint = entry(name)
    assert checkpoint.source.revision == revision and checkpoint.schedule_finished == (revision == "main")
    assert checkpoint.tokens / 1e9 == pytest.approx(billions, rel=2e-4)


def test_datadecides_ends_follow_from_its_rule():
    checkpoint = entry("datadecide-1b")
    assert (checkpoint.source.repo, checkpoint.source.revision) == (
        "allenai/DataDecide-dolma1_7-1B",
        "step69369-seed-default",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pythia-1b-step1500", "pythia-1b has no checkpoint at step 1500; the nearest: 1000 and 2000"),
        ("pythia-1b-step0", "pythia-1b has no checkpoint at step 0; the nearest: 1"),
        ("pythia-1b-step144000", "pythia-1b has no checkpoint at step 144000; the nearest: 143000"),
        (
            "ettin-decoder-17m-step24000",
            "ettin-decoder-17m has no checkpoint at step 24000; the nearest: 23984 and 101918",
        ),
        ("ettin-decoder-17m-decay8210", "ettin-decoder-17m has no checkpoint at decay 8210; the nearest: 6978"),
        ("ettin-decoder-17m-exta5", "unknown checkpoint 'ettin-decoder-17m-exta5'; did you mean 'ettin-decoder-17m'?"),
        ("olmo-2-7b-step174000", "olmo-2-7b has no checkpoint at step 174000; the nearest: 173000 and 175000"),
        ("olmo-2-7b-step1000", "olmo-2-7b has no checkpoint at step 1000; the nearest: 900 and 2000"),
        ("olmo-2-1b-step35000", "olmo-2-1b has no checkpoint at step 35000; the nearest: 30000 and 40000"),
        ("smollm2-135m-step1999999", "has no checkpoint at step 1999999; the nearest: 1920000 and 2000000"),
        ("gpt-j-6b-step5", "unknown checkpoint 'gpt-j-6b-step5'; did you mean 'gpt-j-6b'?"),
    ],
)
def test_a_step_that_does_not_exist_names_the_nearest(tmp_path, name, message):
    with pytest.raises(UserError, match=f"checkpoints.1: .*{re.escape(message)}$"):
        load.study(written(tmp_path, [{"use": "pythia-14m"}, name]))


# Tokens a parameter and the step of each size that comes nearest, as a published table would have it.
NEAREST = {
    "pythia-14m": {20: 128, 50: 256, 100: 512, 250: 2000, 500: 3000, 1000: 7000, 5000: 34000, 10000: 67000},
    "pythia-31m": {20: 256, 50: 512, 100: 1000, 250: 4000, 500: 7000, 1000: 15000, 5000: 73000},
    "pythia-70m": {20: 512, 50: 2000, 100: 3000, 250: 8000, 500: 17000, 1000: 34000},
    "pythia-160m": {20: 2000, 50: 4000, 100: 8000, 250: 19000, 500: 39000, 1000: 77000},
    "pythia-410m": {20: 4000, 50: 10000, 100: 19000, 250: 48000, 500: 97000},
    "pythia-1b": {20: 10000, 50: 24000, 100: 48000, 250: 121000},
    "pythia-1.4b": {20: 13000, 50: 34000, 100: 67000},
    "pythia-2.8b": {20: 26000, 50: 66000, 100: 132000},
    "pythia-6.9b": {20: 65000},
    "pythia-12b": {20: 113000},
    "olmo-2-1b": {20: 10000, 50: 40000, 100: 70000, 250: 180000, 500: 350000, 1000: 710000, 2000: 1420000},
    "olmo-2-7b": {20: 35000, 50: 87000, 100: 173000, 250: 435000, 500: 870000},
    "olmo-2-13b": {20: 33000, 50: 82000, 100: 164000, 250: 409000},
    "olmo-2-32b": {20: 77000, 50: 192000, 100: 384000},
    "smollm2-135m": {5000: 720000, 10000: 1200000},
    "smollm2-360m": {5000: 1120000, 10000: 2240000},
    "smollm2-1.7b": {250: 250000, 500: 375000, 1000: 875000, 5000: 4125000},
}


@pytest.mark.parametrize("name", NEAREST)
def test_the_open_ladders_name_the_steps_nearest_to_a_grid(name):
    study = load.study(CONFIG / "open-ladders.yaml")
    named = [f"{name}-step{step}" for step in NEAREST[name].values()]
    assert [id for id in study.checkpoints if id.startswith(f"{name}-step")] == named and name in study.checkpoints
    steps = families.Steps.model_validate(catalog.members()[name]["steps"])
    ratio = steps.tokens / entry(name).n_params
    for per_param, step in NEAREST[name].items():
        best = min(abs(s * ratio - per_param) for s in steps.available() if s != steps.last)
        # Where two are as near, to within 2%, either will do.
        assert abs(step * ratio - per_param) - best <= 0.02 * per_param


def test_the_private_cells_are_slots_with_the_papers_tokens():
    cells = {id: c for id, c in load.study(CONFIG / "portes2025.yaml").checkpoints.items() if c.role == "fit"}
    assert len(cells) == 27 and all(c.source.path == f"models/{id}" for id, c in cells.items())
    assert cells["mpt-350m-tpr250"].tokens == 73_400_000_000 and cells["mpt-7b-tpr285"].tokens == 2 * 10**12


def test_what_cannot_be_loaded_is_refused_with_the_reason(tmp_path):
    with pytest.raises(UserError, match="'datadecide-4m' cannot be loaded: .*hf_olmo needs the package ai2-olmo"):
        load.study(written(tmp_path, ["pythia-14m", "datadecide-4m"]))
    with pytest.raises(UserError, match="mosaic_gpt .*never run here; remove it$"):
        load.study(written(tmp_path, ["mpt-1b-redpajama-200b"]))
    load.study(written(tmp_path, ["pythia-14m", "datadecide-4m"], only=["pythia-14m"]))


def test_unknown_tokens_are_a_reference_and_never_fitted(tmp_path):
    assert load.study(written(tmp_path, ["mistral-7b", "pythia-14m"])).checkpoints["mistral-7b"].tokens is None
    with pytest.raises(UserError, match="tokens is required to compute FLOPs .*role: reference"):
        load.study(written(tmp_path, [{"use": "mistral-7b", "role": "fit"}]))


def test_only_must_name_checkpoints_of_the_study(tmp_path):
    with pytest.raises(UserError, match="only: unknown checkpoint 'pythia-14'; did you mean 'pythia-14m'?"):
        load.study(written(tmp_path, ["pythia-14m", "pythia-31m"], only=["pythia-14"]))
    study = load.study(written(tmp_path, ["pythia-14m", "pythia-31m"], only=["pythia-31m"]))
    assert list(study.checkpoints) == ["pythia-31m"] and study.trained == {"portes2025": ["pythia-31m"]}
    with pytest.raises(UserError, match="only: none of the recipes is for any of these"):
        recipe = {"use": "portes2025", "checkpoints": ["pythia-14m"]}
        load.study(written(tmp_path, ["pythia-14m", "pythia-31m"], only=["pythia-31m"], recipes=[recipe]))


def test_a_checkpoint_in_two_families_is_a_mistake_of_the_catalog():
    one = {"members": {"a": {}}}
    with pytest.raises(ValueError, match="a is listed in two families"):
        families.members({"x": one, "y": one}, catalog.merge)


def test_billions_are_rounded_up():
    steps = families.Steps(tokens=2 * 10**9, last=9, branches=[{"revision": "{step}-{billions}", "at": [3]}])
    assert steps.revision(3) == "3-6" and steps.revision(4) is None and steps.revision(9) == "9-18"
    assert entry("olmo-2-7b-step175000").source.revision.endswith(f"tokens{ceil(175000 * 4194304 / 1e9)}B")


def written(tmp_path: Path, checkpoints: list, **more) -> Path:
    data = dict.fromkeys(("name", "title", "description"), "x")
    data |= {"checkpoints": checkpoints, "pairs": "msmarco", "mine": {"negatives": 15, "top": 200}}
    data |= {"recipes": ["portes2025"], "tasks": ["nfcorpus"]} | more
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(data))
    return path
