"""What one GPU makes of models of catalog sizes: fine-tuning, encoding, in-context scoring, generation, and search.

    python benchmarks/gpu.py [--sizes 160M 1B] [--what finetune encode score generate search] [--compile] [--json]

Models have the shapes of Pythia (GPT-NeoX; `mpt-` those of the paper's ladder) and random weights, made on the GPU, so
that nothing is read; texts have the lengths of MS MARCO's, .53 of 128 tokens on average. `share` is model FLOPs on real
tokens over a bf16 matrix product of 8,192 x 8,192 measured in the same run, and `share_of_peak` over the data sheet's,
which `retscale plan` reckons with. The peer of generation is transformers' own `generate` with batches of 64. Each
figure is one run after a warm-up. `--compile`: with compiled layers, as long trainings have them and no other stage has.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, GPTNeoXConfig, MptConfig

from retscale.evaluate.documents import Documents
from retscale.evaluate.search import top_k
from retscale.finetune import memory
from retscale.finetune.config import NamedRecipe
from retscale.finetune.data import Examples, Order
from retscale.finetune.embed import Embedder
from retscale.finetune.gradient import Gradient
from retscale.finetune.run import BUDGET
from retscale.finetune.train import prepared
from retscale.icl.decoder import Decoder
from retscale.icl.generate import Sampler, _generate_batch, tokens_of_batch
from retscale.icl.score import score
from retscale.model import load
from retscale.model.attention import use_fused
from retscale.model.encode import encode
from retscale.model.layers import compile_layers
from retscale.model.packed import use_packed
from retscale.model.params import count_params
from retscale.plan.sizes import catalog_sizes

DEVICE = torch.device("cuda")
WORDS, LONGEST, NEGATIVES = 50304, 128, 15
# Layers, width, heads.
SIZES = {
    "14M": (6, 128, 4),
    "70M": (6, 512, 8),
    "160M": (12, 768, 12),
    "410M": (24, 1024, 16),
    "1B": (16, 2048, 8),
    "2.8B": (32, 2560, 32),
    "6.9B": (32, 4096, 32),
    "12B": (36, 5120, 40),
    "mpt-125M": (12, 768, 12),
    "mpt-1B": (24, 2048, 16),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--sizes", nargs="+", choices=SIZES, default=["160M", "1B"])
    arguments.add_argument("--what", nargs="+", choices=MEASURED, default=list(MEASURED))
    arguments.add_argument("--compile", action="store_true")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU here; run it where torch.cuda.is_available()")
    load.deterministic(0, 1)
    ceiling = gemm()
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, GEMM {ceiling / 1e12:.0f} TFLOP/s", flush=True)
    peak = catalog_sizes()["gpus"]["h100"]
    for what in options.what:
        for size in options.sizes if what != "search" else ["any"]:
            try:
                result = MEASURED[what](size, options.compile)
            except torch.OutOfMemoryError:
                result = {"out of memory": True}
            if rate := result.pop("flops_per_s", None):
                result |= {"share": round(rate / ceiling, 3), "share_of_peak": round(rate / peak, 3)}
            line = {"what": what, "size": size, "compiled": options.compile, **result}
            print(json.dumps(line) if options.json else "  ".join(f"{k} {v}" for k, v in line.items()), flush=True)
            gc.collect()
            torch.cuda.empty_cache()


def seconds(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def gemm() -> float:
    a, b = (torch.randn(8192, 8192, dtype=torch.bfloat16, device=DEVICE) for _ in range(2))
    a @ b
    return 50 * 2 * 8192**3 / seconds(lambda: [a @ b for _ in range(50)])


def model_of(size: str, dtype: torch.dtype, auto=AutoModel) -> nn.Module:
    """Made on the GPU, and as the stages have it."""
    layers, width, heads = SIZES[size]
    if size.startswith("mpt"):
        config = MptConfig(d_model=width, n_layers=layers, n_heads=heads, vocab_size=WORDS, max_seq_len=2048)
    else:
        config = GPTNeoXConfig(
            hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=4 * width,
            vocab_size=WORDS, rotary_pct=0.25, max_position_embeddings=2048, use_cache=False,
        )  # fmt: skip
    torch.manual_seed(0)
    with DEVICE:
        model = auto.from_config(
            config, dtype=dtype, **({"attn_implementation": "eager"} if size.startswith("mpt") else {})
        )
    use_fused(model)
    return model.eval()


def texts(count: int, seed: int, mean: float = 70) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(np.log(mean), 0.45, count), 4, LONGEST).astype(int)
    return [rng.integers(1, WORDS, n).astype(np.int32) for n in lengths]


def flops_of(model: nn.Module, lengths: list[int]) -> float:
    """Of a forward: 2 a token and weight of a matrix, and causal attention."""
    config = model.config
    attention = sum(2 * config.num_hidden_layers * config.hidden_size * n * (n + 1) for n in lengths)
    return 2.0 * count_params(model)["matmul"] * sum(lengths) + attention


def finetune(size: str, compile: bool, steps: int = 6) -> dict:
    recipe = NamedRecipe(id="bench", n_negatives=NEGATIVES, temperature=0.05)
    batch, pairs = recipe.batch_queries, (steps + 2) * recipe.batch_queries
    group = np.arange(pairs * (1 + NEGATIVES)).reshape(pairs, -1)
    data = Examples(
        sizes=(pairs,), query=np.arange(pairs), group=group, copy_of=np.arange(group.size), positives=group[:, :1],
        query_tokens=texts(pairs, 1, 8), passage_tokens=texts(group.size, 2), n_filled=0,
    )  # fmt: skip
    accelerator = Accelerator(mixed_precision="bf16")
    model = model_of(size, torch.float32)
    embed = Embedder(model, data, 0, "mean", BUDGET["cuda"], DEVICE, needs_mask=False, layout="packed")
    order = Order.make(0, batch, data.sizes, [None], steps + 2)
    micro, predicted, checkpointing = memory.fit(embed, recipe, order, 1, torch.bfloat16, 1)
    use_packed(model)
    if checkpointing:
        model.activation_checkpointing_enable({"use_reentrant": False})
    if compile:
        compile_layers(model)
    torch.cuda.reset_peak_memory_stats()
    model, optimizer = prepared(accelerator, False, model, recipe)
    gradient = Gradient(accelerator, embed.with_model(model), recipe, micro)
    losses, lengths = [], []

    def step(number: int) -> None:
        loss, *_ = gradient(order.rows(number), lambda part: None)
        norm = accelerator.clip_grad_norm_(model.parameters(), 1.0)
        losses.append(torch.stack([loss, norm.float()]).tolist())
        optimizer.step()
        optimizer.zero_grad()

    started = time.perf_counter()
    step(0), step(1)
    warm_up = time.perf_counter() - started
    spent = seconds(lambda: [step(number) for number in range(2, steps + 2)])
    for number in range(2, steps + 2):
        rows = order.rows(number)
        lengths += [len(data.query_tokens[i]) for i in rows] + [len(data.passage_tokens[i]) for i in group[rows].flat]
    return {
        "flops_per_s": 3 * flops_of(model, lengths) / spent,
        "tokens_per_s": round(sum(lengths) / spent),
        "s_a_step": round(spent / steps, 3),
        "micro-batch": micro,
        "checkpointing": checkpointing,
        "GiB predicted": round(predicted / 2**30, 1),
        "GiB measured": round(torch.cuda.max_memory_allocated() / 2**30, 1),
        "loss": [round(loss, 4) for loss, _ in losses[:: steps + 1]],
        "warm_up_s": round(warm_up, 1),
    }


def encoding(size: str, compile: bool) -> dict:
    count = 20_000 if SIZES[size][1] < 2000 else 4_000
    model = model_of(size, torch.bfloat16)
    use_packed(model)
    if compile:
        compile_layers(model)
    ids, first, result = texts(count, 3), texts(count, 4), {}
    lengths = [len(x) for x in ids]
    for budget in (16384, 65536):
        encode(model, first, 0, tokens_per_batch=budget)
        spent = seconds(lambda budget=budget: encode(model, ids, 0, tokens_per_batch=budget))
        result[f"tokens_per_s at {budget}"] = round(sum(lengths) / spent)
    return result | {"flops_per_s": flops_of(model, lengths) / spent}


def scoring(size: str, compile: bool) -> dict:
    """Four choices of 12 tokens each behind questions of some 60."""
    model = model_of(size, torch.bfloat16, AutoModelForCausalLM)
    decoder, rng = Decoder(model, 0), np.random.default_rng(5)
    questions = 1000 if SIZES[size][1] < 2000 else 300
    joined, owners = [], []
    for number, question in enumerate(texts(questions, 5, 60)):
        for _ in range(4):
            joined.append(([*question.tolist(), *rng.integers(1, WORDS, 12).tolist()], 12))
            owners.append(number)
    score(decoder, joined[:400], owners[:400], 65536, "warm up")
    spent = seconds(lambda: score(decoder, joined, owners, 65536, "score"))
    read = sum(len(joined[4 * i][0]) - 13 + 4 * 12 for i in range(questions))
    flops = 2.0 * sum(p.numel() for p in model.parameters()) * read
    return {"questions_per_s": round(questions / spent, 1), "flops_per_s": flops / spent}


def generation(size: str, compile: bool, new: int = 64, prompts: int = 256) -> dict:
    model = model_of(size, torch.bfloat16, AutoModelForCausalLM)
    decoder = Decoder(model, 0)
    given = [x.tolist() for x in texts(prompts, 6, 90)]
    room = tokens_of_batch(decoder, 65536)

    class Words:
        eos_token_id = -1

    def ours(new_tokens: int) -> None:
        prefix, sampler = decoder.empty_prefix(prompts), Sampler(0.0, 0, range(prompts))
        _generate_batch(decoder, Words, given, new_tokens, (), prefix, sampler, 65536)

    def peer() -> None:
        for start in range(0, prompts, 64):
            part = given[start : start + 64]
            longest = max(map(len, part))
            ids = torch.tensor([[0] * (longest - len(x)) + x for x in part], device=DEVICE)
            mask = torch.tensor([[0] * (longest - len(x)) + [1] * len(x) for x in part], device=DEVICE)
            model.generate(
                ids, attention_mask=mask, max_new_tokens=new, min_new_tokens=new, do_sample=False, use_cache=True,
                pad_token_id=0,
            )  # fmt: skip

    ours(2)
    mine = seconds(lambda: ours(new))
    result = {"room_tokens": room, "new_tokens_per_s": round(prompts * new / mine)}
    if not size.startswith("mpt"):
        peer()
        result["peer"] = round(prompts * new / seconds(peer))
    return result


def searching(_: str, compile: bool) -> dict:
    """As BEIR's largest: 1,000 queries, 10 shards of 100,000 documents of 1,024 dimensions, the best 1,000."""
    generator = torch.Generator(DEVICE).manual_seed(0)

    def unit(count: int) -> np.ndarray:
        vectors = torch.randn(count, 1024, device=DEVICE, generator=generator)
        return (vectors / vectors.norm(dim=1, keepdim=True)).cpu().numpy()

    queries, shards = unit(1000), [unit(100_000) for _ in range(10)]
    documents = Documents.make(np.array([f"d{i:07d}" for i in range(1_000_000)], object))
    top_k(queries, shards[:1], Documents.make(documents.ids[:100_000]), 1000, device=DEVICE)
    spent = seconds(lambda: top_k(queries, shards, documents, 1000, device=DEVICE))
    return {"documents_per_s": round(1_000_000 / spent), "seconds": round(spent, 2)}


MEASURED = {
    "finetune": finetune,
    "encode": encoding,
    "score": scoring,
    "generate": generation,
    "search": searching,
}

if __name__ == "__main__":
    main()
