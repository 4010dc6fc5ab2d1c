"""Exact search of 100,000 documents by 1,000 queries in 256 dimensions: ours against mteb's, as CPU seconds.

    python benchmarks/search.py [--runs 3] [--json]
    python benchmarks/search.py --shards 16       ours alone, the documents in so many shards, beside the blocked product
    python benchmarks/search.py --memory          peak memory of 1,000,000 documents that stream by

One thread, random unit vectors; the product of all queries with blocks of 4,096 documents is measured in the same turn,
so that `share_of_gemm` says how much of the time is arithmetic that no exact search avoids. The peer is mteb's search as
mteb calls it, given the vectors in place of an encoder; its loader reads the (here empty) texts of the corpus again for
every encoder, so `ratio_without_loader` leaves that out.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import time
from unittest.mock import patch

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from retscale.evaluate.documents import Documents
from retscale.evaluate.search import top_k
from retscale.evaluate.vectors import VECTORS_A_SHARD

DOCUMENTS, QUERIES, WIDTH = 100_000, 1_000, 256
IDS = np.array([f"d{i:07d}" for i in range(10 * DOCUMENTS)], object)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--shards", type=int)
    arguments.add_argument("--memory", action="store_true")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    results = memory() if options.memory else streamed(options.shards) if options.shards else speed(options.runs)
    for result in results:
        print(json.dumps(result) if options.json else "\n".join(f"{key:20} {value}" for key, value in result.items()))


def speed(runs: int):
    queries, documents = unit(QUERIES, 0), unit(DOCUMENTS, 1)
    for k in (100, 1000):
        kinds = {"gemm": product, "ours": ours, "peer": mtebs, "without_loader": mtebs_without_loader}
        times = {name: [] for name in kinds}
        for _ in range(runs):
            for name, search in kinds.items():
                started = time.process_time()
                matches = search(queries, documents, k)
                times[name].append(time.process_time() - started)
                if name == "ours":
                    mine = matches
        same = sum(len(theirs & set(row)) for row, theirs in zip(IDS[mine[0]], matches.values())) / (QUERIES * k)
        assert same > 0.9999, f"{same} of the documents are the same"  # the last may change places by rounding
        best = {name: statistics.median(values) for name, values in times.items()}
        yield {
            "name": f"search {DOCUMENTS} x {QUERIES} x {WIDTH}, k = {k} (CPU s)",
            "ours": round(best["ours"], 2),
            "peer": round(best["peer"], 2),
            "ratio": round(best["peer"] / best["ours"], 1),
            "ratio_without_loader": round(best["without_loader"] / best["ours"], 1),
            "share_of_gemm": round(best["gemm"] / best["ours"], 2),
            "machine": machine(),
        }


def streamed(shards: int):
    """Of the documents in shards, as an evaluation has them."""
    queries, documents = unit(QUERIES, 0), unit(DOCUMENTS, 1)
    named, parts = Documents.make(IDS[:DOCUMENTS]), np.array_split(documents, shards)
    for k in (100, 1000):
        seconds = {"gemm": [], "ours": []}
        for _ in range(3):
            for name, search in {"gemm": product, "ours": lambda q, _, k: top_k(q, parts, named, k)}.items():
                started = time.process_time()
                search(queries, documents, k)
                seconds[name].append(time.process_time() - started)
        best = {name: statistics.median(values) for name, values in seconds.items()}
        yield {
            "name": f"search {DOCUMENTS} x {QUERIES} x {WIDTH} in {shards} shards, k = {k} (CPU s)",
            "ours": round(best["ours"], 2),
            "peer": None,
            "ratio": None,
            "share_of_gemm": round(best["gemm"] / best["ours"], 2),
            "machine": machine(),
        }


def memory():
    """Peak memory beyond that of 100,000 documents when ten times as many stream by."""
    queries = unit(QUERIES, 0)

    def stream(count):
        for seed, start in enumerate(range(0, count, VECTORS_A_SHARD)):
            yield unit(min(VECTORS_A_SHARD, count - start), seed)

    peaks = []
    for count in (DOCUMENTS, 10 * DOCUMENTS):
        top_k(queries, stream(count), Documents.make(IDS[:count]), 100)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    yield {
        "name": f"peak memory of searching {10 * DOCUMENTS} documents of {WIDTH} dimensions (MiB)",
        "ours": peaks[1],
        "of a tenth": peaks[0],
        "all vectors": 10 * DOCUMENTS * WIDTH * 4 // 2**20,
        "machine": machine(),
    }


def unit(count: int, seed: int) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, WIDTH), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def product(queries: np.ndarray, documents: np.ndarray, k: int) -> None:
    out = np.empty((len(queries), 4096), np.float32)
    for start in range(0, len(documents), 4096):
        block = documents[start : start + 4096]
        np.matmul(queries, block.T, out=out[:, : len(block)])


def ours(queries: np.ndarray, documents: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    return top_k(queries, [documents], Documents.make(IDS[: len(documents)]), k)


def mtebs(queries: np.ndarray, documents: np.ndarray, k: int) -> dict[str, set]:
    """Ids that mteb finds in chunks of 50,000 documents, as it does by default."""
    import datasets
    import mteb
    from datasets import Dataset
    from mteb.models.search_wrappers import chunked_full_corpus_search

    datasets.disable_progress_bars()
    rows = iter(range(0, len(documents), 50_000))

    def encode(loader, **_):
        start = next(rows)
        return documents[start : start + 50_000]

    heaps = chunked_full_corpus_search(
        task_corpus=Dataset.from_dict({"id": IDS[: len(documents)].tolist(), "text": [""] * len(documents)}),
        corpus_chunk_size=50_000,
        query_idx_to_id={i: str(i) for i in range(len(queries))},
        query_embeddings=torch.from_numpy(queries),
        task_metadata=mteb.get_task("SciFact").metadata,
        hf_subset="",
        hf_split="",
        top_k=k,
        encode_kwargs={"show_progress_bar": False},
        encode_fn=encode,
        similarity_fn=lambda a, b: a @ torch.from_numpy(b).T,
    )
    return {query: {document for _, document in heap} for query, heap in heaps.items()}


def mtebs_without_loader(*arguments) -> dict[str, set]:
    with patch("mteb.models.search_wrappers.create_dataloader", lambda *_, **__: None):
        return mtebs(*arguments)


def machine() -> str:
    return f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"


if __name__ == "__main__":
    main()
