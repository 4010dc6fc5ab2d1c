"""Made-up studies of the shapes that figures must fit, as the tables of `collect`."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.collect import run as collect
from retscale.collect.summary import CollectSummary
from retscale.common.tables import write_tables
from retscale.icl.average import averages  # noqa: F401 - the columns of icl_averages are its own

METRIC = "ndcg_at_10"


@dataclass(frozen=True)
class Shape:
    """`ladder`: (family, parameters, tokens, whether the schedule had finished) of each checkpoint."""

    ladder: list[tuple[str, float, float, bool]]
    tasks: int
    queries: int = 12


PORTES_SIZES = [1.25e8, 3.5e8, 7.6e8, 1.3e9, 2.7e9, 6.7e9]
PORTES = [
    ("mpt", size, size * ratio, True)
    for size, ratios in zip(
        PORTES_SIZES,
        [(20, 50, 200, 500, 12000)] * 2 + [(20, 50, 100, 200, 500)] * 2 + [(20, 50, 200, 500), (20, 60, 300)],
    )
    for ratio in ratios
]
OPEN = [
    (family, size, tokens, finished)
    for family, sizes, budgets in (
        ("pythia", [1.4e7, 3.1e7, 7e7, 1.6e8, 4.1e8, 1e9, 1.4e9, 2.8e9, 6.9e9, 1.2e10], [2e10, 8e10, 1.5e11, 3e11]),
        ("cerebras-gpt", [1.1e8, 2.56e8, 5.9e8, 1.3e9, 2.7e9, 6.7e9, 1.3e10], [0]),
        ("olmo-2", [1.5e9, 7.3e9, 1.37e10], [1e11, 5e11, 1e12, 2e12, 4e12]),
        ("smollm2", [1.35e8, 3.6e8, 1.7e9, 3.2e9], [2.5e11, 5e11, 1e12, 2e12, 4e12, 6e12, 8e12, 1.1e13]),
    )
    for size in sizes
    for number, tokens in enumerate([b or 20 * size for b in budgets])
    for finished in [number == len(budgets) - 1]
]
SHAPES = {
    "embedded": Shape([("mini", s, s * r, True) for s in (5.6e4, 9e4, 1.5e5, 2.3e5) for r in (5, 10, 20)], 8),
    "portes2025": Shape(PORTES, 15),
    "open-ladders": Shape(OPEN, 15),
    "three": Shape([("mini", s, s * 20, True) for s in (1e8, 1e9, 7e9)], 2),
}


def words(value: float) -> str:
    unit, size = next((u, s) for u, s in {"B": 1e9, "M": 1e6, "k": 1e3}.items() if value >= s)
    return f"{value / size:.3g}{unit}"


def write_collected(shape: Shape, out: Path, seed: int = 0) -> Path:
    """collect.json and its tables in `out`: scores grow by .04 a decade, half of it below 30 checkpoints' mean."""
    rng = np.random.default_rng(seed)
    out.mkdir(parents=True, exist_ok=True)
    tasks = [f"task-{number:02d}" for number in range(shape.tasks)]
    steep = dict(zip(tasks, np.linspace(0.005, 0.07, len(tasks)), strict=True))
    checkpoints, scores, queries, icl, training, curves = [], [], [], [], [], []
    kept, lengths, read = [], [], []
    shared = {task: rng.normal(0, 0.15, shape.queries) for task in tasks}
    for family, params, tokens, finished in shape.ladder:
        name = f"{family}-{words(params)}-{words(tokens)}"
        flops = 6 * params * tokens
        growth = np.log10(flops) - np.log10(6 * shape.ladder[0][1] * shape.ladder[0][2])
        about = {"checkpoint": name, "family": family, "size": words(params), "n_params": params}
        about |= {
            "n_params_non_embedding": params,
            "n_tokens": tokens,
            "flops": flops,
            "tokens_per_param": tokens / params,
        }
        about |= {"schedule_finished": finished, "role": "fit"}
        checkpoints.append(
            about
            | {"n_params_matmul": params, "reason": "", "source": "hub", "revision": "main", "loss_train": None}
            | {"loss_heldout": None, "file": f"checkpoint/{name}/card.json", "sha256": "0" * 64}
        )
        for task in tasks:
            level = 0.2 + steep[task] * growth + rng.normal(0, 0.006)
            values = np.clip(level + shared[task] + rng.normal(0, 0.05, shape.queries), 0, 1)
            row = {"recipe": "own", "seed": 1, "task": task, "metric": METRIC, "value": values.mean(), "ties": 0}
            row["contrastive_entropy"] = 5 - 0.5 * level
            scores.append(
                about
                | row
                | {
                    "n_queries": shape.queries,
                    "n_documents": 10_000,
                    "file": f"e/{name}/{task}.json",
                    "sha256": "0" * 64,
                }
            )
            queries += [
                {"checkpoint": name, "recipe": "own", "task": task, "query_id": f"q{i}", METRIC: value}
                for i, value in enumerate(values)
            ]
        of_first = queries[-shape.tasks * shape.queries :][: shape.queries]
        for step in (10, 30):
            kept += [row | {"step": step, METRIC: row[METRIC] * step / 120} for row in of_first]
        for length in (64, 256, 1024, 8192):
            row = {"checkpoint": name, "recipe": "own", "task": tasks[0], "length": length, "own": length == 256}
            row |= {"extrapolates": length > 1024, "metric": METRIC, "value": 0.1 * length**0.1, "n_queries": 1}
            lengths.append(row | {"file": f"e/{name}/l.json", "sha256": "0" * 64})
            if not row["own"]:
                read += [row | {"length": length, METRIC: row[METRIC] * (length / 256) ** 0.1} for row in of_first]
        for number in range(4):
            score = float(np.clip(0.02 + 0.05 * growth * (number + 1) / 4 + rng.normal(0, 0.01), -0.05, 1))
            row = {"task": f"icl-{number}", "type": "multiple_choice", "value": 0.5 + score / 2, "baseline": 0.5}
            row |= {"bits_per_byte": 3 - 2 * score, "bits_per_byte_stderr": 0.05}
            row |= {"score": score, "n_items": 500, "stderr": 0.02, "low": score - 0.04, "high": score + 0.04}
            row |= {"executed": False, "trimmed": 0, "skipped": 0, "tied": 0, "odd": ""}
            icl.append(about | row | {"file": f"icl/{name}/{number}.json", "sha256": "0" * 64})
        for step in range(10, 101, 10):
            loss = 3 * step**-0.3 - 0.05 * growth + rng.normal(0, 0.02) + 1
            line = {"checkpoint": name, "recipe": "own", "step": step, "queries": 64 * step, "steps": 100, "loss": loss}
            training.append(line | {"grad_norm": 1.0, "lr": 1e-4, "padding": 0.1, "chance": np.log(16), "file": "log"})
        for step in (10, 30, 100):
            value = (0.2 + 0.03 * growth) * (step / 100) ** 0.1
            line = {"checkpoint": name, "recipe": "own", "step": step, "queries": 64 * step, "task": tasks[0]}
            curves.append(line | {"metric": METRIC, "value": value, "file": f"e/{name}/c.json", "sha256": "0" * 64})
    tables = {
        "checkpoints": pd.DataFrame(checkpoints),
        "scores": pd.DataFrame(scores),
        "per_query": pd.DataFrame(queries),
        "icl": pd.DataFrame(icl),
        "icl_averages": pd.DataFrame(columns=collect.AVERAGE_COLUMNS),
        "training": pd.DataFrame(training),
        "curves": pd.DataFrame(curves),
        "curve_queries": pd.DataFrame(kept),
        "lengths": pd.DataFrame(lengths),
        "length_queries": pd.DataFrame(read),
    }
    study = {"study": "shape", "headline": {task: [task] for task in tasks}, "in_domain": {}, "groups": {}}
    study["cuts"] = dict(zip(tasks[1::2], tasks[::2]))  # as if every second task were a cut of the one before
    study |= {"recipes": ["own"], "main_recipe": "own", "rows": {name: len(table) for name, table in tables.items()}}
    write_tables(out / "collect.json", CollectSummary, tables, study)
    return out / "collect.json"
