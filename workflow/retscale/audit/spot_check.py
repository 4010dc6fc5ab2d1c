"""`--spot-check`: every stored ranking scored again, and some evaluations, drawn at random, made again."""

import time
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.audit import mirror, rerun, rescore
from retscale.audit.findings import Findings
from retscale.audit.rerun import Nodes
from retscale.audit.walk import Node
from retscale.common import parquet
from retscale.common.phrase import counted
from retscale.errors import UserError
from retscale.evaluate import task_tables
from retscale.provenance import environment

# What two machines may differ by: the cosine of a document, by the precision of the model, and the mean of a metric, since
# documents that nearly tie change places.
COSINE = {"fp32": 1e-4, "bf16": 0.02, "auto": 0.02}
MEAN = 0.01
RULE = (
    "on the processor and with the packages of their records the bits must be equal, elsewhere cosines within "
    f"{COSINE['fp32']:g} ({COSINE['bf16']:g} in bfloat16) and means within {MEAN:g}"
)


def rescored(nodes: Nodes, findings: Findings) -> str:
    """Blame whatever is wrong in a stored ranking or its scores; the line that says what was done."""
    started, cpu, by_task, queries, wrong = time.monotonic(), environment.machine()["cpu"], defaultdict(list), 0, 0
    for node in evaluations(nodes):
        try:
            job = rerun.of(node, nodes)
            by_task[job.inputs["tasks"][0]].append((node, job))
        except (UserError, LookupError) as error:
            findings.blame(node.path, f"its ranking cannot be scored: {error}")
    for file, jobs in sorted(by_task.items()):
        try:
            task = task_tables.read(file)
        except rescore.BROKEN as error:
            findings.blame(file, f"cannot be read as a task: {error}")
            continue
        queries += len(jobs) * len(task.query_ids)
        for node, job in jobs:
            same = node.content.get("machine", {}).get("cpu") == cpu
            if why := rescore.wrong(job, task, 0.0 if same else rescore.ROUNDING):
                findings.blame(*why)
                wrong += 1
    count = counted(sum(map(len, by_task.values())), "ranking")
    return (
        f"{count} of {counted(len(by_task), 'task')} and {counted(queries, 'query')} scored again in "
        f"{time.monotonic() - started:.1f} s: {f'{wrong} DIFFER' if wrong else 'equal'}"
    )


def evaluations(nodes: Nodes) -> list[Node]:
    return [nodes[path] for path in sorted(nodes) if nodes[path].stage in ("evaluate", "reference")]


def drawn(nodes: Nodes, count: int, seed: int) -> list[Node]:
    """`count` of the evaluations, or all if there are fewer, in the order of their paths."""
    every = evaluations(nodes)
    chosen = np.random.default_rng(seed).permutation(len(every))[:count]
    return [every[number] for number in sorted(chosen)]


def near(node: Node, home: Path) -> tuple[bool, str]:
    """Whether the evaluation made again in `home` is within the tolerance of the stored one, and how far it is from it."""
    stored = node.primary.with_suffix(".parquet")
    then, now = (parquet.read(file) for file in (stored, mirror.place(stored, home)))
    cosine, mean = distances(then, now)
    limit = COSINE[node.spec.get("precision", "fp32")]  # BM25 computes in float32
    return (
        cosine <= limit and mean <= MEAN,
        f"cosines differ by {cosine:.1g} ({limit:g} may be), means by {mean:.1g} ({MEAN:g} may be)",
    )


def distances(then: pd.DataFrame, now: pd.DataFrame) -> tuple[float, float]:
    """The largest difference of a cosine, of documents that both rank for a query, and of the mean of a metric.

    Infinite where the tables are not of the same queries and metrics.
    """
    names = [name for name in then.columns if name not in ("query_id", "doc_ids", "scores")]
    if list(then.columns) != list(now.columns) or then["query_id"].tolist() != now["query_id"].tolist():
        return np.inf, np.inf
    cosine = 0.0
    for (_, a), (_, b) in zip(then.iterrows(), now.iterrows()):
        scores = dict(zip(a["doc_ids"], a["scores"]))
        both = [abs(scores[id] - score) for id, score in zip(b["doc_ids"], b["scores"]) if id in scores]
        cosine = max([cosine, *map(float, both)])
    return cosine, float((then[names].mean() - now[names].mean()).abs().max())
