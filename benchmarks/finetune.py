"""What fine-tuning costs: retscale's engine against the trainer of sentence-transformers, or on an accelerator.

    python benchmarks/finetune.py [--steps 5] [--batch 16] [--length 128] [--sentences 2.5] [--repeats 2] [--json]
    python benchmarks/finetune.py --device cuda [--sizes 125M 350M 1B] [--steps 60] [--batch 64] [--json]

The first form trains a decoder of Llama's shape (4 layers, 256 wide, fresh weights) on the embedded study's questions,
each with its passage and 15 BM25 negatives, once by each engine in turn, on one thread, fp32, a process a training.
Data, weights, batches and their order, loss, optimizer and learning rates are the same; the loss of every step is
compared. No passage stands in two groups, so that both encode every text once. Measured is the CPU time of the steps,
without imports, loading, saving, and the first step, in which memory is touched for the first time; tokenising counts
for both, for ours that of all texts, which comes first. A token is a real one, padding not counted.

`--sentences`: how many of each passage's first sentences are kept, 0 for all; 2.5 keeps two and three in turn. What
padding can be saved hangs on the lengths. Of 128 tokens a text of MS MARCO fills .53 on average (its queries included; a
larger tokenizer), which is what 2.5 comes closest to: two sentences fill .45, three .62, whole passages about .75.

GEMM is the rate of the matrix products of one forward and backward (x W', g W, g' x for each weight) at the size of the
engine's token budget and in its dtype, the best of several rounds, measured in the same run. The share of it counts
model FLOPs on real tokens: 6 a matmul parameter, and causal attention.

The second form trains decoders of MPT's shape in bf16 with `own` negatives, by the stage's own `run`: model FLOPs
utilisation in the steady state (by the log, without its first lines) and end to end (the whole process: imports,
loading, tokenising, saving), and where the time goes: a second, profiled run gives the time of the kernels of a step, the
first one the time of a whole step, and `idle` is what is left, in which the accelerator waits for the host. `--device cpu
--sizes tiny` tries the command out; its figures mean nothing.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SEED, NEGATIVES, VOCABULARY = 1, 15, 32000
# Layers, width, heads. The widths and depths of the MPT ladder of Portes et al. 2025.
SIZES = {
    "tiny": (2, 64, 4),
    "small": (4, 256, 4),
    "125M": (12, 768, 12),
    "350M": (24, 1024, 16),
    "1B": (24, 2048, 16),
}
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAYON_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
PROFILED_STEPS = 3


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--device", choices=["cpu", "cuda"], help="the second form, on this device")
    arguments.add_argument("--sizes", nargs="+", choices=list(SIZES), default=["125M", "350M", "1B"])
    arguments.add_argument("--steps", type=int)
    arguments.add_argument("--batch", type=int, help="queries a step")
    arguments.add_argument("--length", type=int, default=128, help="tokens at which texts are cut")
    arguments.add_argument("--sentences", type=float, default=2.5)
    arguments.add_argument("--repeats", type=int, default=2)
    arguments.add_argument("--json", action="store_true")
    arguments.add_argument("--worker", choices=list(WORKERS), help=argparse.SUPPRESS)
    arguments.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options.folder)))
        return
    with tempfile.TemporaryDirectory() as folder:
        result = accelerated(Path(folder), options) if options.device else compared(Path(folder), options)
    print(json.dumps(result) if options.json else "\n".join(table(result)))


def compared(folder: Path, options: argparse.Namespace) -> dict:
    """Both engines and the GEMM in turn, `repeats` times."""
    steps, batch = options.steps or 5, options.batch or 16
    recipe = {
        "negatives": "microbatch",
        "temperature": 0.05,
        "batch_queries": batch,
        "log_every": 1,
        "lr": 1e-4,
        "prompt": {"query_length": options.length, "passage_length": options.length},
    }
    prepare_data(folder, options.sentences, 2000, steps * batch)
    prepare_model(folder, "small", "llama")
    write_spec(folder, recipe, "fp32", steps)
    runs = {name: [] for name in ("gemm", "ours", "peer")}
    for _ in range(options.repeats):
        for name, measured in runs.items():
            measured.append(work(name, folder, "cpu"))
    ours, peer = runs["ours"], runs["peer"]
    tokens, flops = ours[0]["tokens"], ours[0]["flops"]
    if peer[0]["tokens"] != tokens:
        raise SystemExit(f"the engines read {tokens} and {peer[0]['tokens']} tokens: they do not do the same work")
    apart = max(abs(a - b) for a, b in zip(ours[0]["losses"], peer[0]["losses"], strict=True))
    gemm = statistics.median(run["flops_per_s"] for run in runs["gemm"])
    ours_s, peer_s = (statistics.median(run["seconds"] for run in measured) for measured in (ours, peer))
    ratios = [b["seconds"] / a["seconds"] for a, b in zip(ours, peer)]
    memory = ours[0]["memory"]
    return {
        "name": f"fine-tuning, {steps} steps of {batch} x {2 + NEGATIVES} texts cut at {options.length} tokens"
        + (f", {options.sentences:g} sentences" if options.sentences else "")
        + " (real tokens per CPU s)",
        "ours": round(tokens / ours_s),
        "peer": round(tokens / peer_s),
        "ratio": round(peer_s / ours_s, 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "share_of_gemm": round(flops / ours_s / gemm, 2),
        "peer_share_of_gemm": round(flops / peer_s / gemm, 2),
        "gemm_gflops": round(gemm / 1e9, 1),
        "cpu_s": {
            name: [round(run["seconds"], 2) for run in measured] for name, measured in (("ours", ours), ("peer", peer))
        },
        "of_which_texts_to_tokens_s": round(statistics.median(run["examples"] for run in ours), 2),
        "tokens_a_text": round(tokens / ((steps - 1) * batch * (2 + NEGATIVES)), 1),
        "padding": {"ours": round(ours[0]["padding"], 3), "peer": round(peer[0]["padding"], 3)},
        "largest_difference_of_losses": float(f"{apart:.1e}"),
        "peak_memory_gib": {name: round(memory[name] / 2**30, 2) for name in memory},
        "repeats": options.repeats,
        "machine": machine(),
    }


def accelerated(folder: Path, options: argparse.Namespace) -> dict:
    """Utilisation of each size."""
    steps, batch = options.steps or 60, options.batch or 64
    recipe = {
        "n_negatives": NEGATIVES,
        "temperature": 0.05,
        "batch_queries": batch,
        "log_every": max(1, steps // 10),
        "prompt": {"query_length": options.length, "passage_length": options.length},
    }
    prepare_data(folder, options.sentences, steps * batch)
    by_size = {}
    for size in options.sizes:
        prepare_model(folder, size, "mpt")
        write_spec(folder, recipe, "auto", steps)
        gemm = work("gemm", folder, options.device)["flops_per_s"]
        started = time.perf_counter()
        run = work("ours", folder, options.device)
        whole_s = time.perf_counter() - started
        write_spec(folder, recipe, "auto", min(steps, 2 + PROFILED_STEPS))
        phases = work("profile", folder, options.device)
        lines = run["log"][2:] or run["log"][-1:]
        pace = run["pace"][2:] or run["pace"][-1:]
        rate = statistics.mean(line["tokens_per_s"] for line in pace)
        a_token = run["flops"] / run["tokens"]
        step_s = run["tokens"] / (steps - 1) / rate
        shares = {name: round(seconds / step_s, 3) for name, seconds in phases.items()}
        by_size[size] = {
            "parameters": run["parameters"],
            "dtype": run["dtype"],
            "tokens_per_s": round(rate),
            "steady_share_of_gemm": round(rate * a_token / gemm, 3),
            "whole_share_of_gemm": round(run["all_flops"] / whole_s / gemm, 3),
            "gemm_tflops": round(gemm / 1e12, 3),
            "share_of_a_step": {**shares, "idle": round(max(0.0, 1 - sum(shares.values())), 3)},
            "padding": round(statistics.mean(line["padding"] for line in lines), 3),
            "queries_at_once": run["microbatch"],
            "whole_s": round(whole_s, 1),
            "of_which_training_s": round(run["training_s"], 1),
            "peak_memory_gib": {name: round(bytes / 2**30, 2) for name, bytes in run["memory"].items()},
        }
    return {
        "name": f"fine-tuning on {options.device}, {steps} steps of {batch} x {2 + NEGATIVES} texts cut at "
        f"{options.length} tokens (share of GEMM, real tokens)",
        "ours": {size: facts["steady_share_of_gemm"] for size, facts in by_size.items()},
        "peer": None,
        "ratio": None,
        "share_of_gemm": min(facts["steady_share_of_gemm"] for facts in by_size.values()),
        "sizes": by_size,
        "machine": machine(options.device),
    }


# What both forms train


def prepare_data(folder: Path, sentences: float, most: int, apart: int | None = None) -> None:
    """pairs.parquet, passages.parquet, negatives.parquet and a tokenizer, by the functions of the study's own stages.

    most: pairs that are made; apart: keep this many whose groups share no passage, and only their passages.
    """
    import pandas as pd
    import yaml

    from retscale.mine import run as mine
    from retscale.pairs import run as pairs
    from retscale.text import tokenizer

    catalog = yaml.safe_load((ROOT / "config/catalog/pairs.yaml").read_text(encoding="utf-8"))
    pairs.run({"id": "boolq", "source": catalog["boolq"]["source"], "max_pairs": most, "seed": SEED}, {}, folder)
    passages = pd.read_parquet(folder / "passages.parquet")
    if sentences:
        kept = [int(sentences * (i + 1)) - int(sentences * i) for i in range(len(passages))]
        passages["text"] = [
            " ".join(re.split(r"(?<=[.!?])\s+", text)[:n]) for text, n in zip(passages["text"], kept, strict=True)
        ]
        passages.to_parquet(folder / "passages.parquet", index=False)
    mine.run({"negatives": NEGATIVES, "top": 100}, {"pairs": folder / "pairs.json"}, folder)
    table = pd.read_parquet(folder / "pairs.parquet")
    if apart:
        mined = pd.read_parquet(folder / "negatives.parquet").set_index("query_id")["negatives"]
        taken, rows = set(), []
        for row, (query, passage) in enumerate(zip(table["query_id"], table["passage_id"])):
            group = {passage, *mined[query]}
            if len(rows) < apart and not group & taken:
                taken |= group
                rows.append(row)
        if len(rows) < apart:
            raise SystemExit(
                f"only {len(rows)} questions share no passage, {apart} are wanted: lower --steps or --batch"
            )
        table.iloc[rows].to_parquet(folder / "pairs.parquet", index=False)
        # The peer reads no other texts. A study's collection is tokenized once for all its checkpoints.
        used = passages[passages["passage_id"].isin(taken)]
        used.to_parquet(folder / "passages.parquet", index=False)
    elif len(table) < most:
        raise SystemExit(f"there are {len(table)} pairs, {most} are wanted: lower --steps or --batch")
    tokenizer.save(tokenizer.train(passages["text"].tolist(), VOCABULARY), folder / "model")


def prepare_model(folder: Path, size: str, family: str) -> None:
    """card.json and, beside the tokenizer in model/, a decoder with fresh weights."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaModel, MptConfig, MptModel

    from retscale.checkpoint.card import Card
    from retscale.model.params import count_params

    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(folder / "model")
    layers, width, heads = SIZES[size]
    torch.manual_seed(SEED)
    if family == "llama":
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=round(width * 8 / 3 / 16) * 16,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=512,
            use_cache=False,
            pad_token_id=tokenizer.pad_token_id,
        )
        model = LlamaModel(config)
    else:
        model = MptModel(
            MptConfig(vocab_size=VOCABULARY, d_model=width, n_layers=layers, n_heads=heads, max_seq_len=512)
        )
    model.save_pretrained(folder / "model")
    unknown = dict.fromkeys(("revision", "n_tokens", "flops", "tokens_per_param", "max_length", "loss"))
    source = {"kind": "local", "path": str(folder / "model")}
    card = {"id": size, "source": source, "n_params": count_params(model), "schedule_finished": True, "model": "model"}
    Card.write(folder / "card.json", {**card, **unknown, "files": {}})


def write_spec(folder: Path, recipe: dict, precision: str, steps: int) -> None:
    recipe = {"id": "bench", "n_negatives": NEGATIVES, "max_pairs": steps * recipe["batch_queries"], **recipe}
    spec = {"recipe": recipe, "pairs": {"boolq": None}, "precision": precision, "seed": SEED}
    (folder / "spec.json").write_text(json.dumps(spec))


# What a process does: each prints one line of JSON


def work(name: str, folder: Path, device: str) -> dict:
    """What a worker found in a process of its own; on a CPU it has one thread."""
    paths = [str(ROOT / "workflow"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    if device == "cpu":
        environment |= {**ONE_THREAD, "ACCELERATE_USE_CPU": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, __file__, "--worker", name, "--folder", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def ours(folder: Path, watch=iter) -> dict:
    """A training by the stage's `run`. `seconds`: CPU time of reading and tokenising all examples, and of the steps after
    the first without saving; `tokens` and `flops` of these steps; `all_flops` and `training_s`, wall time, of all steps.
    watch: stands between the loop and its steps."""
    import numpy as np

    from retscale.finetune import run as stage
    from retscale.finetune import train as loop
    from retscale.finetune.config import Spec
    from retscale.finetune.data import Order
    from retscale.model.params import count_params
    from retscale.tokens import run as tokens
    from retscale.tokens import store

    spent, returned = {}, {}

    def clocked(name: str):
        function = getattr(stage, name)

        def call(*args, **kwargs):
            cpu, wall = time.process_time(), time.perf_counter()
            returned[name] = function(*args, **kwargs)
            spent[name] = time.process_time() - cpu, time.perf_counter() - wall
            return returned[name]

        return call

    for name in ("load_backbone", "examples", "write", "train"):
        setattr(stage, name, clocked(name))
    marks = []

    def steps(items, *_, **__):
        for step in watch(items):
            if step == 1:
                marks.append(time.process_time())
            yield step
        marks.append(time.process_time())

    loop.progress = steps
    spec = json.loads((folder / "spec.json").read_text())
    inputs = {
        "card": folder / "card.json",
        "pairs": [folder / "pairs.json"],
        "negatives": [folder / "negatives.parquet"],
    }
    with tempfile.TemporaryDirectory(dir=folder) as work:
        out, state = Path(work, "out"), Path(work, "state")
        for made_here in (out, state, read := Path(work, "tokens")):
            made_here.mkdir()
        store.STATE = Path(work, "shared")  # so that no repetition finds the texts tokenized
        prompt = Spec.model_validate(spec).recipe.prompt.model_dump()
        texts = {"card": inputs["card"], "pairs": inputs["pairs"]}
        before = time.process_time()
        list(tokens.run({"prompt": prompt, "tasks": dict.fromkeys(spec["pairs"], {})}, texts, read))
        tokens_s = time.process_time() - before
        notes = stage.run(spec, {**inputs, "tokens": [read / "boolq.json"]}, out, state)
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    data, model = returned["examples"], returned["load_backbone"]
    # A passage that several groups of a step share is read once there, but counted for each, as a peer reads it: only
    # where groups are kept apart is the count exact.
    batch, counts = spec["recipe"]["batch_queries"], count_params(model)
    order = Order.make(SEED, batch, data.sizes, [None], len(data) // batch)
    rows = [order.rows(step) for step in range(len(data) // batch)]
    every, later = (
        [len(data.query_tokens[i]) for i in data.query[seen]]
        + [len(data.passage_tokens[i]) for i in data.group[seen].flat]
        for seen in (np.concatenate(rows), np.concatenate(rows[1:]))
    )
    return {
        "seconds": tokens_s + spent["examples"][0] + marks[1] - marks[0] - spent["write"][0],
        "examples": tokens_s + spent["examples"][0],
        "tokens": sum(later),
        "flops": flops(later, counts["matmul"], model.config),
        "all_flops": flops(every, counts["matmul"], model.config),
        "training_s": spent["train"][1] - spent["write"][1],
        "parameters": counts["total"],
        "losses": [line["loss"] for line in lines],
        "padding": statistics.mean(line["padding"] for line in lines),
        "log": lines,
        "pace": notes["pace"],
        "memory": notes["peak_memory"],
        "microbatch": notes["microbatch"],
        "dtype": notes["dtype"],
    }


def flops(lengths: list[int], matmul: int, config) -> float:
    """Model FLOPs of a forward and its backward, twice the forward's: 2 a token and weight, and in each layer causal
    attention, where the n-th token's query meets n keys and n values."""
    attention = sum(2 * config.num_hidden_layers * config.hidden_size * n * (n + 1) for n in lengths)
    return 3.0 * (2 * matmul * sum(lengths) + attention)


def peer(folder: Path) -> dict:
    """The same training by sentence-transformers: its trainer, collator, loss; the optimizer it would make itself, but
    with our groups and learning rates, so that the losses can be compared; its batches in our order."""
    import pandas as pd
    import torch
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.base.sampler import DefaultBatchSampler
    from sentence_transformers.sentence_transformer import modules
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
    from transformers import TrainerCallback

    from retscale.finetune.config import Recipe
    from retscale.finetune.data import Order
    from retscale.finetune.schedule import learning_rate

    spec = json.loads((folder / "spec.json").read_text())
    recipe = Recipe.model_validate({key: value for key, value in spec["recipe"].items() if key != "id"})
    pairs = pd.read_parquet(folder / "pairs.parquet")
    texts = pd.read_parquet(folder / "passages.parquet").set_index("passage_id")["text"]
    mined = pd.read_parquet(folder / "negatives.parquet").set_index("query_id")["negatives"]
    steps = len(pairs) // recipe.batch_queries
    order = Order.make(SEED, recipe.batch_queries, (len(pairs),), [None], steps)
    pairs = pairs.iloc[[row for step in range(steps) for row in order.rows(step)]]
    groups = [[p, *mined[q]] for q, p in zip(pairs["query_id"], pairs["passage_id"])]
    columns = {f"passage{i}": [texts[group[i]] for group in groups] for i in range(1 + NEGATIVES)}
    data = Dataset.from_dict({"anchor": pairs["query"].tolist(), **columns})

    transformer = modules.Transformer(str(folder / "model"), max_seq_length=recipe.prompt.passage_length)
    width = transformer.get_embedding_dimension()
    model = SentenceTransformer(
        modules=[transformer, modules.Pooling(width, "mean"), modules.Normalize()], device="cpu"
    )
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in weights if p.dim() >= 2], "weight_decay": recipe.weight_decay},
            {"params": [p for p in weights if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=1.0,
        betas=recipe.betas,
        fused=True,
    )
    rates = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: learning_rate(min(step, steps - 1), steps, recipe.lr, recipe.warmup, recipe.floor)
    )
    sizes, marks = [], []  # of each forward: tokens, and padding included; after each step: forwards so far, CPU time

    def count(_, given) -> None:
        mask = given[0]["attention_mask"]
        sizes.append((int(mask.sum()), mask.numel()))

    class Clock(TrainerCallback):
        def on_step_end(self, *_, **__):
            marks.append((len(sizes), time.process_time()))

    model.register_forward_pre_hook(count)
    with tempfile.TemporaryDirectory(dir=folder) as out:
        trainer = SentenceTransformerTrainer(
            model=model,
            args=SentenceTransformerTrainingArguments(
                output_dir=out,
                num_train_epochs=1,
                per_device_train_batch_size=recipe.batch_queries,
                max_grad_norm=recipe.clip,
                use_cpu=True,
                bf16=False,
                fp16=False,
                report_to="none",
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                dataloader_drop_last=True,
                dataloader_pin_memory=False,
                seed=SEED,
                batch_sampler=lambda dataset, **kw: DefaultBatchSampler(
                    torch.utils.data.SequentialSampler(dataset), **kw
                ),
            ),
            train_dataset=data,
            loss=MultipleNegativesRankingLoss(model, scale=1 / recipe.temperature),
            optimizers=(optimizer, rates),
            callbacks=[Clock()],
        )
        trainer.train()
    real, padded = (sum(x) for x in zip(*sizes[marks[0][0] :]))
    return {
        "seconds": marks[-1][1] - marks[0][1],
        "tokens": real,
        "padding": 1 - real / padded,
        "losses": [float(line["loss"]) for line in trainer.state.log_history if "loss" in line],
    }


def gemm(folder: Path) -> dict:
    """FLOPs a second of the products that the model's matrices take part in."""
    import torch

    from retscale.finetune.run import BUDGET
    from retscale.model import device as devices
    from retscale.model.load import load_backbone

    device = devices.device()
    dtype = devices.dtype(json.loads((folder / "spec.json").read_text())["precision"])
    model = load_backbone(folder / "model", torch.float32)
    tables = {m.weight for m in model.modules() if isinstance(m, torch.nn.Embedding)}
    shapes = [tuple(p.shape) for p in model.parameters() if p.dim() == 2 and p not in tables]
    tokens = BUDGET[device.type]

    def now() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def rate() -> float:
        seconds = flops = 0
        for wide, narrow in shapes:
            x, w, g = (
                torch.randn(s, device=device, dtype=dtype) for s in ((tokens, narrow), (wide, narrow), (tokens, wide))
            )
            start = now()
            x @ w.T, g @ w, g.T @ x
            seconds, flops = seconds + now() - start, flops + 6 * tokens * wide * narrow
        return flops / seconds

    return {"flops_per_s": max(rate() for _ in range(5))}


def profile(folder: Path) -> dict:
    """Seconds a step that the device computes, by phase, over the last steps of a short training.

    On an accelerator the time of its kernels; on a CPU that of torch's operators.
    """
    import torch
    from torch.profiler import ProfilerActivity

    cuda = torch.cuda.is_available()
    profiler = torch.profiler.profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])])

    def watch(steps):
        for step in steps:
            if step == len(steps) - PROFILED_STEPS:
                profiler.start()
            yield step
        if cuda:
            torch.cuda.synchronize()
        profiler.stop()

    ours(folder, watch)
    spent = dict.fromkeys(("forward", "backward", "optimizer", "copies"), 0.0)
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CPU:
            if not cuda:
                spent[phase(event)] += event.self_cpu_time_total
            for kernel in event.kernels:
                spent["copies" if "HtoD" in kernel.name else phase(event)] += kernel.duration
    return {name: microseconds / 1e6 / PROFILED_STEPS for name, microseconds in spent.items()}


def phase(event) -> str:
    while event is not None:
        if event.name.startswith("autograd::engine"):
            return "backward"
        if event.name.startswith("Optimizer.") or "_foreach_" in event.name:  # the latter: clipping
            return "optimizer"
        event = event.cpu_parent
    return "forward"


WORKERS = {"ours": ours, "peer": peer, "gemm": gemm, "profile": profile}


def machine(device: str = "cpu") -> str:
    import torch

    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{platform.machine()}, {os.cpu_count()} cores, one thread used, torch {torch.__version__}"


def table(result: dict, indent: str = "") -> list[str]:
    lines = []
    for key, value in result.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *table(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key:30} {value}")
    return lines


if __name__ == "__main__":
    main()
