"""Metrics of 10,000 queries with 1,000 ranked documents each: ours against pytrec_eval, the same values, CPU seconds.

    python benchmarks/metrics.py [--runs 3] [--json]

pytrec_eval reads dictionaries, ours arrays: `ratio` is without the time that it takes to build its dictionaries of the
arrays that a search returns, `ratio_from_arrays` is with it.
Ten judgements a query, half of them retrieved.
"""

import argparse
import json
import os
import platform
import statistics
import time

import numpy as np
import pytrec_eval

from retscale.evaluate import metrics
from retscale.evaluate.matches import match

QUERIES, DEPTH, DOCUMENTS, JUDGED = 10_000, 1_000, 1_000_000, 10
NAMES = {
    "ndcg_at_10": "ndcg_cut.10",
    "recall_at_10": "recall.10",
    "recall_at_100": "recall.100",
    "recall_at_1000": "recall.1000",
    "map_at_100": "map_cut.100",
    "precision_at_10": "P.10",
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()

    rng = np.random.default_rng(0)
    ranked = rng.integers(0, DOCUMENTS, (QUERIES, DEPTH))
    ranked += np.arange(DEPTH) - ranked % DEPTH  # distinct within a query
    ranked = rng.permuted(ranked, axis=1)
    queries = np.repeat(np.arange(QUERIES), JUDGED)
    documents = rng.integers(0, DOCUMENTS, len(queries))
    documents[::2] = ranked[queries[::2], (rng.random(len(queries[::2])) ** 3 * DEPTH).astype(int)]
    _, once = np.unique(queries * DOCUMENTS + documents, return_index=True)
    queries, documents = queries[once], documents[once]
    scores = rng.integers(0, 4, len(queries))

    started = time.process_time()
    qrels = {str(query): {} for query in range(QUERIES)}
    for query, document, score in zip(queries.tolist(), documents.tolist(), scores.tolist()):
        qrels[str(query)][str(document)] = score
    run = {str(i): {str(d): float(-rank) for rank, d in enumerate(row)} for i, row in enumerate(ranked.tolist())}
    dictionaries = time.process_time() - started

    times = {"ours": [], "peer": []}
    for _ in range(options.runs):
        started = time.process_time()
        matches = match(ranked, queries, documents, scores)
        ours = {name: metrics.values(name, matches) for name in (*NAMES, "mrr_at_10")}
        times["ours"].append(time.process_time() - started)
        started = time.process_time()
        theirs = pytrec_eval.RelevanceEvaluator(qrels, {*NAMES.values(), "recip_rank"}).evaluate(run)
        times["peer"].append(time.process_time() - started)
    largest = max(
        np.abs(ours[name] - [theirs[str(i)][other.replace(".", "_")] for i in range(QUERIES)]).max()
        for name, other in NAMES.items()
    )
    assert largest < 1e-12, f"the values differ by {largest}"
    best = {name: statistics.median(values) for name, values in times.items()}
    result = {
        "name": f"{len(ours)} metrics of {QUERIES} queries x {DEPTH} (CPU s)",
        "ours": round(best["ours"], 3),
        "peer": round(best["peer"], 2),
        "ratio": round(best["peer"] / best["ours"]),
        "share_of_gemm": None,
        "ratio_from_arrays": round((best["peer"] + dictionaries) / best["ours"]),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, numpy {np.__version__}",
    }
    print(json.dumps(result) if options.json else "\n".join(f"{key:18} {value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
