"""In-context scoring against lm-evaluation-harness: the same tasks, prompts and model in one run, on one thread.

    python benchmarks/icl.py [--items 16] [--folder GAUNTLET/local_data] [--json]

SmolLM2-135M from its wheel (envs/smollm2.txt). Without a folder with the gauntlet's files the tasks are those of the
data wheels, with three shots. Items per CPU-second, tokenisation included, loading not; both must agree on every prediction.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path

import harness
import numpy as np
import torch

from retscale.checkpoint import gguf
from retscale.checkpoint.config import Spec
from retscale.icl import items as icl_items
from retscale.icl.config import IclTask
from retscale.icl.decoder import Decoder
from retscale.icl.prompt import build, shots
from retscale.icl.run import Reader, evaluate
from retscale.model.load import load_causal_lm, load_tokenizer
from retscale.model.params import count_params
from retscale.study import catalog

FROM_WHEELS = ["piqa", "openbookqa", "siqa", "next-word"]
PUBLISHED = ["piqa.0", "arc_easy.3", "openbook_qa.10", "winograd.3", "lambada_openai.0", "bigbench_qa_wikidata.3"]
LENGTH, TOKENS_PER_BATCH, PEER_BATCH = 2048, 4096, 8


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--items", type=int, default=16)
    arguments.add_argument("--folder", help="the gauntlet's task files")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        entry = catalog.entries("checkpoint")["smollm2-135m-instruct-q4"]
        job = Spec(id="smollm2", source=entry["source"])
        gguf.obtain(job, job.source, None, Path(folder))
        model, tokenizer = load_causal_lm(f"{folder}/model", torch.float32), load_tokenizer(f"{folder}/model")
    peer = harness.model(model, tokenizer, PEER_BATCH, LENGTH)
    seconds, rows, work = {"ours": 0.0, "peer": 0.0}, 0, 0.0
    for name, task in tasks(options).items():
        started = time.process_time()
        decoder = counting(Decoder(model, tokenizer.pad_token_id))
        table = evaluate(task, name, None, Reader(decoder, tokenizer, LENGTH, TOKENS_PER_BATCH, 1))[1]
        ours = time.process_time() - started
        theirs, took = by_peer(peer, name, task)
        check(name, task, table, theirs)
        seconds["ours"] += ours
        seconds["peer"] += took
        rows += len(table)
        work += flops(model, decoder.read_tokens, int(np.concatenate(table["tokens"]).sum()))
        if not options.json:
            print(f"{name:24} {len(table):4} items  ours {ours:6.1f} s  peer {took:6.1f} s  {took / ours:.2f}x")
    result = {
        "name": f"in-context scoring, {rows} items of {len(tasks(options))} tasks, SmolLM2-135M (items per CPU s)",
        "ours": round(rows / seconds["ours"], 2),
        "peer": round(rows / seconds["peer"], 2),
        "ratio": round(seconds["peer"] / seconds["ours"], 2),
        "share_of_gemm": round(work / seconds["ours"] / gemm(), 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, one thread",
    }
    print(json.dumps(result) if options.json else "\n".join(f"{key:14} {value}" for key, value in result.items()))


def tasks(options) -> dict[str, IclTask]:
    """By name, from the gauntlet's files or from wheels."""
    if options.folder:
        over = {"use": "gauntlet-v0.3", "max_items": options.items, "source": {"folder": options.folder}}
        entries = [entry for entry in catalog.expand([over], "icl") if entry["id"] in PUBLISHED]
    else:
        entries = [{"use": name, "max_items": options.items, "shots": 3} for name in FROM_WHEELS]
    specs = dict(catalog.resolve("icl", entry, __file__, "") for entry in entries)
    return {name: IclTask.model_validate(data) for name, data in specs.items()}


def by_peer(peer, name: str, task: IclTask) -> tuple[list[dict], float]:
    """The harness's samples of the same items behind the same prompts, and its CPU seconds."""
    every, _ = icl_items.read(task)
    examples, chosen = shots(every, task), icl_items.sample(every, task)
    prompts = [build(every[i], [every[j] for j in examples[i]], task) for i in chosen]
    asked = harness.task(name, task, [every[i] for i in chosen], prompts)
    started = time.process_time()
    return harness.run(peer, [asked])[name], time.process_time() - started


def check(name: str, task: IclTask, table, theirs: list[dict]) -> None:
    """Both must say the same of each item, or their times mean nothing."""
    for row, sample in zip(table.itertuples(), theirs, strict=True):
        sums = np.array([answer[0][0] for answer in sample["resps"]])
        if task.type == "language_modeling":
            same = row.correct == bool(sample["acc"])
        else:
            same = row.prediction == int(np.argmax(sums / row.tokens))
        if not same or not np.allclose(row.logprobs * row.tokens, sums, rtol=1e-3, atol=1e-2):
            raise SystemExit(f"{name}: item {row.item} differs: {row.logprobs * row.tokens} and {sums}")


def counting(decoder: Decoder) -> Decoder:
    """The decoder, which from now on counts the tokens that it reads, without padding."""
    decoder.read_tokens, batch = 0, decoder.batch

    def counted(texts, left=False):
        decoder.read_tokens += sum(map(len, texts))
        return batch(texts, left)

    decoder.batch = counted
    return decoder


def flops(model, tokens: int, scored: int) -> float:
    """Of the matrix products: every layer on every token that is read, the output matrix on the scored ones."""
    matmul, head = count_params(model)["matmul"], model.get_output_embeddings().weight.numel()
    return 2.0 * ((matmul - head) * tokens + head * scored)


def gemm() -> float:
    """FLOP/s of a large product in float32 on one thread."""
    a, b = torch.rand(1024, 1024), torch.rand(1024, 1024)
    times = []
    for _ in range(8):
        started = time.process_time()
        a @ b
        times.append(time.process_time() - started)
    return 2 * 1024**3 / min(times)


if __name__ == "__main__":
    main()
