"""Peak memory of the stage `evaluate`, all of it but the model: random vectors of 256 dimensions in its place.

    python benchmarks/memory.py                 1,000,000 documents, and a tenth of them beside

1,000 queries, k = 100. Each size is a process of its own, which reads a task of so many short documents.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from retscale.evaluate import run as stage
from retscale.evaluate import vectors
from retscale.tokens.file import Tokens, write

QUERIES, WIDTH = 1000, 256


class RandomEncoder:
    """The vectors of texts are random; a text is its number."""

    models, sha256 = [None], "random"

    def tokens(self, texts: list[str], side: str) -> list[np.ndarray]:
        return [np.array([int(text)], np.int32) for text in texts]

    def embed(self, ids: list[np.ndarray], what: str, replica: int = 0) -> np.ndarray:
        random = np.random.default_rng([int(ids[0][0]), len(ids)])
        vectors = random.standard_normal((len(ids), WIDTH), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--documents", type=int, default=1_000_000)
    arguments.add_argument("--shard", type=int, default=vectors.VECTORS_A_SHARD, help="documents a shard")
    arguments.add_argument("--only", action="store_true", help="this size in this process")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    if options.only:
        print(json.dumps(peak(options.documents, options.shard)))
        return
    sizes = options.documents, options.documents // 10
    ours, tenth = (alone(size, options.shard) for size in sizes)
    result = {
        "name": f"peak memory of evaluating {sizes[0]} documents, {WIDTH} dimensions, {QUERIES} queries (MiB)",
        "ours": ours["peak"],
        "peer": None,
        "ratio": None,
        "share_of_gemm": None,
        "of a tenth": tenth["peak"],
        "of nothing, imports": ours["imports"],
        "all vectors": sizes[0] * WIDTH * 4 // 2**20,
        "bytes a document": round((ours["peak"] - tenth["peak"]) * 2**20 / (sizes[0] - sizes[1])),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }
    print(json.dumps(result) if options.json else "\n".join(f"{key:20} {value}" for key, value in result.items()))


def alone(documents: int, shard: int) -> dict[str, int]:
    """`peak` in a process of its own, in a folder that is left empty."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        "--only",
        "--documents",
        str(documents),
        "--shard",
        str(shard),
    ]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "task.json").write_text(json.dumps(task(Path(folder), documents)))
        texts = list(map(str, range(documents)))
        write(Path(folder, "ids"), [RandomEncoder().tokens(texts, "passage")])
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def task(folder: Path, documents: int) -> dict:
    """The tables of a task in `folder`, and what its task.json says."""
    ids = [f"document-{i:09d}" for i in range(documents)]
    texts = [str(i) for i in range(documents)]
    queries = [f"q{i}" for i in range(QUERIES)]
    judged = np.random.default_rng(0).choice(documents, QUERIES)
    tables = {
        "corpus": {"doc_id": ids, "title": [""] * documents, "text": texts},
        "queries": {"query_id": queries, "text": texts[:QUERIES]},
        "qrels": {"query_id": queries, "doc_id": [ids[i] for i in judged], "score": [1] * QUERIES},
    }
    for name, table in tables.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    sizes = {"queries": QUERIES, "documents": documents, "judgements": QUERIES}
    card = {"id": "t", "judged_only": False, "ignore_identical_ids": False, "follows": None, "notes": {}}
    return card | sizes | {"sha256": {"corpus": str(documents)}}


def peak(documents: int, shard: int) -> dict[str, int]:
    """MiB that this process held at most, after its imports and after the stage."""
    vectors.VECTORS_A_SHARD = shard
    stage.check_encoder = lambda *_: SimpleNamespace(prompt_sha256="")  # it has no files
    stage.opened = lambda *_: Tokens(Path("ids"), documents)
    stage.encoders.load_encoder = lambda *_: RandomEncoder()
    imports = held()
    spec = {"tasks": {"t": {}}, "k": 100, "metrics": [], "storage": "float32", "precision": "fp32"}
    spec |= {"checkpoint": "c", "recipe": "r", "step": None, "tokens_per_batch": 16384}
    list(stage.run(spec, {"encoder": None, "tasks": [Path("task.json")], "tokens": [Path("t.json")]}, Path()))
    assert json.loads(Path("t.json").read_text())["n_documents"] == documents
    return {"imports": imports, "peak": held()}


def held() -> int:
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024


if __name__ == "__main__":
    main()
