"""The shape of each size in the catalog as a configuration of transformers, from which models can be made without files.

None of it was read from a repository; the catalog's own counts of parameters tell whether it is right.
"""

from transformers import (
    BertConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    ModernBertConfig,
    ModernBertDecoderConfig,
    MptConfig,
    Olmo2Config,
    OPTConfig,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
    T5Config,
)


def _llama(vocab: int, width: int, inner: int, layers: int, heads: int, kv: int, tied: bool, kind=LlamaConfig, **more):
    return kind(
        vocab_size=vocab, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, num_key_value_heads=kv, tie_word_embeddings=tied, **more,
    )  # fmt: skip


def _pythia(width: int, layers: int, heads: int, vocab: int = 50304):
    return GPTNeoXConfig(
        vocab_size=vocab, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=heads, tie_word_embeddings=False,
    )  # fmt: skip


def _cerebras(width: int, layers: int, heads: int):
    return GPT2Config(vocab_size=50257, n_positions=2048, n_embd=width, n_layer=layers, n_head=heads)


def _neo(width: int, layers: int, heads: int):
    return GPTNeoConfig(
        hidden_size=width, num_layers=layers, num_heads=heads, attention_types=[[["global", "local"], layers // 2]]
    )


def _opt(width: int, layers: int, heads: int, **more):
    return OPTConfig(
        hidden_size=width, ffn_dim=4 * width, num_hidden_layers=layers, num_attention_heads=heads,
        **{"word_embed_proj_dim": width} | more,
    )  # fmt: skip


def _t5(width: int, inner: int, layers: int, heads: int, head: int, kind: str):
    return T5Config(
        vocab_size=32128, d_model=width, d_ff=inner, num_layers=layers, num_heads=heads, d_kv=head,
        feed_forward_proj=kind, tie_word_embeddings=kind == "relu",
    )  # fmt: skip


def _mpt(width: int, layers: int, heads: int):
    return MptConfig(vocab_size=50432, d_model=width, n_layers=layers, n_heads=heads, no_bias=True)


def _qwen2(vocab: int, width: int, inner: int, layers: int, heads: int, kv: int, tied: bool):
    return _llama(vocab, width, inner, layers, heads, kv, tied, Qwen2Config)


def _qwen3(width: int, inner: int, layers: int, heads: int, tied: bool):
    return _llama(151936, width, inner, layers, heads, 8, tied, Qwen3Config, head_dim=128)


def _olmo2(width: int, inner: int, layers: int, heads: int, kv: int):
    return _llama(100352, width, inner, layers, heads, kv, False, Olmo2Config)


def _ettin(width: int, inner: int, layers: int, heads: int, kind: type = ModernBertConfig):
    sizes = {"hidden_size": width, "intermediate_size": inner, "num_hidden_layers": layers}
    return kind(vocab_size=50368, num_attention_heads=heads, **sizes)


ETTIN = {
    "17m": (256, 384, 7, 4),
    "32m": (384, 576, 10, 6),
    "68m": (512, 768, 19, 8),
    "150m": (768, 1152, 22, 12),
    "400m": (1024, 2624, 28, 16),
    "1b": (1792, 3840, 28, 28),
}

CONFIGS: dict[str, PreTrainedConfig] = {
    "mpt-7b": _mpt(4096, 32, 32),
    "mpt-30b": _mpt(7168, 48, 64),
    "cerebras-gpt-111m": _cerebras(768, 10, 12),
    "cerebras-gpt-256m": _cerebras(1088, 14, 17),
    "cerebras-gpt-590m": _cerebras(1536, 18, 12),
    "cerebras-gpt-1.3b": _cerebras(2048, 24, 16),
    "cerebras-gpt-2.7b": _cerebras(2560, 32, 32),
    "cerebras-gpt-6.7b": _cerebras(4096, 32, 32),
    "cerebras-gpt-13b": _cerebras(5120, 40, 40),
    "pythia-14m": _pythia(128, 6, 4),
    "pythia-31m": _pythia(256, 6, 8),
    "pythia-70m": _pythia(512, 6, 8),
    "pythia-160m": _pythia(768, 12, 12),
    "pythia-410m": _pythia(1024, 24, 16),
    "pythia-1b": _pythia(2048, 16, 8),
    "pythia-1.4b": _pythia(2048, 24, 16),
    "pythia-2.8b": _pythia(2560, 32, 32),
    "pythia-6.9b": _pythia(4096, 32, 32, 50432),
    "pythia-12b": _pythia(5120, 36, 40, 50688),
    "olmo-2-1b": _olmo2(2048, 8192, 16, 16, 16),
    "olmo-2-7b": _olmo2(4096, 11008, 32, 32, 32),
    "olmo-2-13b": _olmo2(5120, 13824, 40, 40, 40),
    "olmo-2-32b": _olmo2(5120, 27648, 64, 40, 8),
    "smollm2-135m": _llama(49152, 576, 1536, 30, 9, 3, True),
    "smollm2-360m": _llama(49152, 960, 2560, 32, 15, 5, True),
    "smollm2-1.7b": _llama(49152, 2048, 8192, 24, 32, 32, True),
    "tinyllama-1.1b": _llama(32000, 2048, 5632, 22, 32, 4, False),
    "gpt-neo-125m": _neo(768, 12, 12),
    "gpt-neo-1.3b": _neo(2048, 24, 16),
    "gpt-neo-2.7b": _neo(2560, 32, 20),
    "gpt-j-6b": GPTJConfig(tie_word_embeddings=False),
    "opt-125m": _opt(768, 12, 12),
    "opt-350m": _opt(1024, 24, 16, word_embed_proj_dim=512, do_layer_norm_before=False),
    "opt-1.3b": _opt(2048, 24, 32),
    "opt-2.7b": _opt(2560, 32, 32),
    "opt-6.7b": _opt(4096, 32, 32),
    "opt-13b": _opt(5120, 40, 40),
    "llama-2-7b": _llama(32000, 4096, 11008, 32, 32, 32, False),
    "llama-2-13b": _llama(32000, 5120, 13824, 40, 40, 40, False),
    "llama-3-8b": _llama(128256, 4096, 14336, 32, 32, 8, False),
    "llama-3.2-1b": _llama(128256, 2048, 8192, 16, 32, 8, True),
    "llama-3.2-3b": _llama(128256, 3072, 8192, 28, 24, 8, True),
    "mistral-7b": _llama(32000, 4096, 14336, 32, 32, 8, False, MistralConfig),
    "qwen1.5-0.5b": _qwen2(151936, 1024, 2816, 24, 16, 16, True),
    "qwen1.5-1.8b": _qwen2(151936, 2048, 5504, 24, 16, 16, False),
    "qwen1.5-4b": _qwen2(151936, 2560, 6912, 40, 20, 20, False),
    "qwen1.5-7b": _qwen2(151936, 4096, 11008, 32, 32, 32, False),
    "qwen1.5-14b": _qwen2(152064, 5120, 13696, 40, 40, 40, False),
    "qwen1.5-32b": _qwen2(152064, 5120, 27392, 64, 40, 8, False),
    "qwen3-0.6b": _qwen3(1024, 3072, 28, 16, True),
    "qwen3-1.7b": _qwen3(2048, 6144, 28, 16, True),
    "qwen3-4b": _qwen3(2560, 9728, 36, 32, True),
    "qwen3-8b": _qwen3(4096, 12288, 36, 32, False),
    "qwen3-14b": _qwen3(5120, 17408, 40, 40, False),
    "gemma-2b": _llama(256000, 2048, 16384, 18, 8, 1, True, GemmaConfig, head_dim=256),
    "gemma-7b": _llama(256000, 3072, 24576, 28, 16, 16, True, GemmaConfig, head_dim=256),
    "gemma-2-2b": _llama(256000, 2304, 9216, 26, 8, 4, True, Gemma2Config, head_dim=256),
    "phi-1.5": _llama(51200, 2048, 8192, 24, 32, 32, False, PhiConfig),
    "phi-2": _llama(51200, 2560, 10240, 32, 32, 32, False, PhiConfig),
    "bert-base": BertConfig(),
    "bert-large": BertConfig(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16),
    "modernbert-base": ModernBertConfig(),
    "modernbert-large": ModernBertConfig(
        hidden_size=1024, intermediate_size=2624, num_hidden_layers=28, num_attention_heads=16
    ),
    **{f"ettin-encoder-{size}": _ettin(*shape) for size, shape in ETTIN.items()},
    **{f"ettin-decoder-{size}": _ettin(*shape, ModernBertDecoderConfig) for size, shape in ETTIN.items()},
    "t5-base": _t5(768, 3072, 12, 12, 64, "relu"),
    "t5-large": _t5(1024, 4096, 24, 16, 64, "relu"),
    "t5-3b": _t5(1024, 16384, 24, 32, 128, "relu"),
    "t5-11b": _t5(1024, 65536, 24, 128, 128, "relu"),
    "t5-v1.1-base": _t5(768, 2048, 12, 12, 64, "gated-gelu"),
    "t5-v1.1-large": _t5(1024, 2816, 24, 16, 64, "gated-gelu"),
    "t5-v1.1-xl": _t5(2048, 5120, 24, 32, 64, "gated-gelu"),
    "t5-v1.1-xxl": _t5(4096, 10240, 24, 64, 64, "gated-gelu"),
}
