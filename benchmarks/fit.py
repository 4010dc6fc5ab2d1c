"""Time and peak memory of the stage `fit` on made-up results of BEIR's shape, each study in a process of its own.

python benchmarks/fit.py                    the paper's 27 cells, and 95 checkpoints of 4 families, on 15 tasks
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retscale.collect.run import AVERAGE_COLUMNS, CHECKPOINT_COLUMNS, CURVE_COLUMNS, ICL_COLUMNS
from retscale.collect.summary import CollectSummary
from retscale.common.files import sha256
from retscale.common.tables import write_tables
from retscale.evaluate.metrics import STANDARD
from retscale.fit.run import run

# Queries of each of BEIR's tasks.
QUERIES = {"arguana": 1406, "climate-fever": 1535, "cqadupstack": 13145, "dbpedia": 400, "fever": 6666, "fiqa": 648}
QUERIES |= {"hotpotqa": 7405, "msmarco": 6980, "nfcorpus": 323, "nq": 3452, "quora": 10000, "scidocs": 1000}
QUERIES |= {"scifact": 300, "touche2020": 49, "trec-covid": 50}
SHAPES = {"27 cells": (1, 6, 27), "95 checkpoints": (4, 24, 95)}  # families, sizes, checkpoints
ICL_TASKS = 31


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--shape", choices=SHAPES, help="this study in this process")
    arguments.add_argument("--replicates", type=int, default=2000)
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    if options.shape:
        print(json.dumps(measure(options.shape, options.replicates)))
        return
    for shape in SHAPES:
        command = [sys.executable, __file__, "--shape", shape, "--replicates", str(options.replicates)]
        done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.splitlines()[-1])
        result = {"name": f"fit of {shape} on {len(QUERIES)} tasks (s)", "ours": done["seconds"], "peer": None}
        result |= {"ratio": None, "share_of_gemm": None, "peak_mib": done["peak"], "processor_s": done["processor"]}
        result["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
        print(json.dumps(result) if options.json else "\n".join(f"{key:14} {value}" for key, value in result.items()))


def measure(shape: str, replicates: int) -> dict:
    """Seconds, processor seconds and peak MiB of `fit`; the study is written by another process."""
    with tempfile.TemporaryDirectory() as folder:
        if (child := os.fork()) == 0:
            write_study(Path(folder), *SHAPES[shape])
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        out, start, used = Path(folder) / "fit", time.perf_counter(), time.process_time()
        out.mkdir()
        run({"bootstrap": replicates, "seed": 1}, {"collect": Path(folder) / "collect.json"}, out)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        took = {"seconds": time.perf_counter() - start, "processor": time.process_time() - used}
        return {name: round(value, 1) for name, value in took.items()} | {"peak": peak}


def write_study(folder: Path, families: int, sizes: int, checkpoints: int) -> None:
    """The tables of `collect` that `fit` reads."""
    rng = np.random.default_rng(0)
    size = np.arange(checkpoints) * sizes // checkpoints
    family = np.array([f"family-{number}" for number in size * families // sizes])
    n_params = np.exp(np.linspace(np.log(2e7), np.log(2e10), sizes))[size]
    ratio = 20 * 2.0 ** (np.arange(checkpoints) % 5)
    checkpoint_table = pd.DataFrame({"checkpoint": [f"c{index:03}" for index in range(checkpoints)], "family": family})
    checkpoint_table = checkpoint_table.assign(
        size=[f"{n:.2e}" for n in n_params], n_params=n_params, n_params_non_embedding=n_params * 0.9
    )
    checkpoint_table = checkpoint_table.assign(
        n_tokens=n_params * ratio, flops=6 * n_params**2 * ratio, tokens_per_param=ratio
    )
    checkpoint_table = checkpoint_table.assign(schedule_finished=True, role="fit")[CHECKPOINT_COLUMNS]
    level = (
        0.2
        + 0.04 * np.log10(checkpoint_table["flops"] / checkpoint_table["flops"].min())
        + rng.normal(0, 0.004, sizes)[size]
    )

    scores, path = [], folder / "per_query.parquet"
    names = ["checkpoint", "recipe", "task", "query_id"]
    schema = pa.schema([(name, pa.string()) for name in names] + [(name, pa.float64()) for name in STANDARD])
    with pq.ParquetWriter(path, schema) as writer:
        for index, mean in enumerate(level):
            for task, queries in QUERIES.items():
                values = np.clip(mean + rng.normal(0, 0.3, queries), 0, 1)
                identity = {"checkpoint": checkpoint_table["checkpoint"][index], "recipe": "r", "task": task}
                table = pd.DataFrame(identity | {"query_id": [f"{task}-{number}" for number in range(queries)]})
                writer.write_table(pa.Table.from_pandas(table.assign(**dict.fromkeys(STANDARD, values)), schema, False))
                scores += [
                    identity | {"metric": name, "value": values.mean(), "n_queries": queries} for name in STANDARD
                ]
    scores = pd.DataFrame(scores).assign(seed=1, ties=0, file="f", sha256="s").merge(checkpoint_table, on="checkpoint")
    icl = checkpoint_table.merge(pd.DataFrame({"task": [f"icl-{number}" for number in range(ICL_TASKS)]}), how="cross")
    value = 0.3 + 0.1 * np.log10(icl["flops"] / icl["flops"].min()) + rng.normal(0, 0.02, len(icl))
    icl = icl.assign(type="multiple_choice", value=value, baseline=0.25, score=(value - 0.25) / 0.75, stderr=0.02)
    icl = icl.assign(n_items=500, file="f", sha256="s").reindex(columns=[*CHECKPOINT_COLUMNS, *ICL_COLUMNS])
    tables = {
        "checkpoints": checkpoint_table,
        "scores": scores,
        "icl": icl,
        "icl_averages": pd.DataFrame(columns=AVERAGE_COLUMNS),
        "curves": pd.DataFrame(columns=CURVE_COLUMNS),
    }
    study = {"study": "made-up", "recipes": ["r"], "main_recipe": "r", "rows": {}}
    study |= {
        "headline": {task: [task] for task in QUERIES if task != "msmarco"},
        "in_domain": {"msmarco": ["msmarco"]},
    }
    write_tables(folder / "collect.json", CollectSummary, tables, study)
    summary = json.loads((folder / "collect.json").read_text())
    summary["files"]["per_query.parquet"] = sha256(path)
    (folder / "collect.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    main()
