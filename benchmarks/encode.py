"""Encoding with a small decoder: ours against sentence-transformers, as real tokens per CPU second.

    python benchmarks/encode.py [--runs 3] [--json]
    python benchmarks/encode.py --accelerator [--width 1024 --layers 24]     needs a GPU

Both get the same texts, weights and tokenizer, one thread, fp32; texts have 5 to 128 tokens, log-normal around 40.
`share_of_gemm` is the time of the model's matrix products alone, all tokens in one piece, over our time: padding,
attention, norms, tokenising and Python are the rest. On an accelerator in bf16, packed and without a peer.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import AutoModel, LlamaConfig, PreTrainedTokenizerFast, set_seed

from retscale.model.encode import encode
from retscale.model.load import load_backbone, load_tokenizer
from retscale.model.packed import use_packed
from retscale.model.prompt import Prompt
from retscale.model.tokenize import token_ids

TEXTS, LONGEST, VOCABULARY = 4000, 128, 4096
BUDGET = {"cpu": 512, "cuda": 2**17}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--width", type=int, default=256)
    arguments.add_argument("--layers", type=int, default=4)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--accelerator", action="store_true")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    if options.accelerator and not torch.cuda.is_available():
        raise SystemExit("there is no accelerator here; run it where torch.cuda.is_available()")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), options.width, options.layers)
        result = on_gpu(Path(folder), options) if options.accelerator else on_cpu(Path(folder), options)
    print(json.dumps(result) if options.json else "\n".join(f"{key:24} {value}" for key, value in result.items()))


def build(folder: Path, width: int, layers: int) -> None:
    set_seed(0)
    heads = max(1, width // 64)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=LONGEST,
    )
    AutoModel.from_config(config).save_pretrained(folder)
    tokens = Tokenizer(models.WordLevel({f"w{i}": i for i in range(VOCABULARY)}, unk_token="w0"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="w0", pad_token="w0").save_pretrained(folder)


def texts(count: int = TEXTS) -> list[str]:
    """All different: equal ones would be encoded once."""
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(40), 0.6, count).astype(int), 5, LONGEST)
    return [" ".join(f"w{i}" for i in rng.integers(1, VOCABULARY, n)) for n in lengths]


def on_cpu(folder: Path, options) -> dict:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    model, tokenizer = load_backbone(folder, torch.float32), load_tokenizer(folder)
    # sentence-transformers asks for bf16 by itself where the files say so; these are fp32.
    transformer = Transformer(str(folder), max_seq_length=LONGEST)
    peer = SentenceTransformer(modules=[transformer, Pooling(options.width, "mean"), Normalize()], device="cpu")
    passages, prompt = texts(), Prompt(passage_length=LONGEST)
    real = sum(map(len, token_ids(tokenizer, passages, prompt, "passage").ids))

    def ours():
        ids = token_ids(tokenizer, passages, prompt, "passage").ids
        return encode(model, ids, tokenizer.pad_token_id, tokens_per_batch=BUDGET["cpu"])

    times = {"ours": [], "peer": [], "gemm": []}
    for _ in range(options.runs):
        for name, run in (("ours", ours), ("peer", lambda: peer.encode(passages, batch_size=32)), ("gemm", None)):
            started = time.process_time()
            if name == "gemm":
                times[name].append(products(model, real))
                continue
            vectors = run()
            times[name].append(time.process_time() - started)
            if name == "ours":
                mine = vectors
            else:
                assert np.abs(mine - vectors).max() < 1e-5, "not the same vectors"
    best = {name: statistics.median(values) for name, values in times.items()}
    return {
        "name": f"encode, {options.layers} x {options.width} decoder, {real} real tokens (tokens per CPU s)",
        "ours": round(real / best["ours"]),
        "peer": round(real / best["peer"]),
        "ratio": round(best["peer"] / best["ours"], 2),
        "share_of_gemm": round(best["gemm"] / best["ours"], 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }


@torch.inference_mode()
def products(model: nn.Module, tokens: int) -> float:
    """CPU seconds of every matrix product of `tokens` tokens with the model's weights, in pieces of the same budget."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    inputs = {layer.in_features: torch.randn(BUDGET["cpu"], layer.in_features) for layer in layers}
    started = time.process_time()
    for _ in range(tokens // BUDGET["cpu"]):
        for layer in layers:
            layer(inputs[layer.in_features])
    return (time.process_time() - started) * tokens / (tokens // BUDGET["cpu"] * BUDGET["cpu"])


def on_gpu(folder: Path, options) -> dict:
    """Model FLOPs on real tokens over the bf16 GEMM ceiling measured in the same run."""
    model = load_backbone(folder, torch.bfloat16).cuda()
    use_packed(model)
    tokenizer = load_tokenizer(folder)
    ids = token_ids(tokenizer, texts(8 * TEXTS), Prompt(passage_length=LONGEST), "passage").ids
    weights = sum(m.weight.numel() for m in model.modules() if isinstance(m, nn.Linear))
    # Causal: half of 4 x length x width a token and layer.
    attention = 2 * options.layers * options.width * sum(len(x) ** 2 for x in ids)
    encode(model, ids, tokenizer.pad_token_id, tokens_per_batch=BUDGET["cuda"])
    started = time.perf_counter()
    encode(model, ids, tokenizer.pad_token_id, tokens_per_batch=BUDGET["cuda"])
    seconds = time.perf_counter() - started
    tokens = sum(map(len, ids))
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device="cuda") for _ in range(2))
    a @ b
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(50):
        a @ b
    torch.cuda.synchronize()
    ceiling = 50 * 2 * 8192**3 / (time.perf_counter() - started)
    return {
        "name": f"encode, {options.layers} x {options.width} decoder, bf16 (tokens per s)",
        "ours": round(tokens / seconds),
        "peer": None,
        "ratio": None,
        "share_of_gemm": round((2 * weights * tokens + attention) / seconds / ceiling, 2),
        "machine": f"{torch.cuda.get_device_name()}, torch {torch.__version__}",
    }


if __name__ == "__main__":
    main()
