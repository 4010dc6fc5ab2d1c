"""A made-up study as result files, in the formats that the other stages write; and tests that it is one."""

import json
from pathlib import Path

import artifacts
import numpy as np
import pandas as pd

TASKS = {"alpha": 0.05, "beta": 0.09, "gamma": 0.02, "delta": 0.12, "epsilon": 0.07, "zeta": 0.0, "eta": 0.04}
ICL_TASKS = {
    "copy": 0.2,
    "induction": 0.1,
    "cloze": 0.05,
    "shuffle": 0.04,
    "order": 0.03,
    "piqa": 0.01,
    "siqa": 0.0,
    "mmlu": 0.0,
}
METRICS = ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10")
SIZES = {"40k": 40_000, "160k": 160_000, "640k": 640_000, "2.5m": 2_560_000}
LEVELS = (5, 10, 20)


def write_study(
    root: Path,
    sizes: dict[str, int] = SIZES,
    levels: tuple[int, ...] = LEVELS,
    tasks: dict[str, float] = TASKS,
    slope: float = 1.0,
    noise: float = 0.01,
    queries: int = 60,
    ablation: int = 2,
    seed: int = 0,
) -> tuple[dict, dict[str, list[Path]]]:
    """Write cards, encoders, evaluations and ICL results of sizes x tokens-per-parameter levels under `root`.

    A task's mean score is 0.1 + slope * weight * log10(C / 1e11) + noise. The recipe `microbatch` covers the
    `ablation` smallest sizes. Returns collect's spec and inputs.
    """
    rng = np.random.default_rng(seed)
    labels = {}
    cards, encoders, scores, kept, icl = [], [], [], [], []
    for rank, (size, params) in enumerate(sizes.items()):
        shift = rng.normal(0, noise / 2)
        for level in levels:
            tokens = params * level
            flops = 6.0 * params * tokens
            name = f"toy-{size}-{level}"
            sizes = {"total": params, "non_embedding": params // 2, "matmul": params // 2}
            facts = {"id": name, "n_params": sizes, "n_tokens": tokens, "flops": flops}
            facts |= {"tokens_per_param": tokens / params, "loss": {"train": 5.0, "heldout": 5.1}}
            cards.append(write(root / "checkpoint" / name / "card.json", artifacts.card(**facts)))
            labels[name] = {"family": "toy", "size": size, "role": "fit"}
            growth = np.log10(flops / 1e11)
            for recipe, gain in {"paper": 0.0, "microbatch": 0.03}.items():
                if recipe == "microbatch" and rank >= ablation:
                    continue
                encoders.append(write_encoder(root / "finetune" / name / recipe, name, recipe, growth))
                for task, weight in tasks.items():
                    mean = 0.1 + slope * weight * growth + gain + shift + rng.normal(0, noise)
                    folder = root / "evaluate" / name / recipe
                    scores.append(write_evaluation(folder, name, recipe, task, mean, queries, rng))
                if recipe == "paper":
                    for step, part in {10: 0.5, 20: 0.8}.items():
                        for task in list(tasks)[:2]:
                            mean = part * (0.1 + slope * tasks[task] * growth)
                            folder = root / "evaluate" / name / recipe / f"step-{step}"
                            others = np.random.default_rng([seed, step, len(kept)])
                            kept.append(write_evaluation(folder, name, recipe, task, mean, queries, others, step))
            for task, weight in ICL_TASKS.items():
                value = float(np.clip(0.5 + slope * weight * growth / 2 + rng.normal(0, noise), 0, 1))
                result = {"checkpoint": name, "task": task, "type": "multiple_choice", "metric": "accuracy"}
                result |= {"value": value, "baseline": 0.5, "score": (value - 0.5) / 0.5, "stderr": 0.02}
                result |= {"n_items": 300, "shots": 0, "max_length": 128, "seconds": 1.0}
                bits = 4 - (0.2 + weight) * growth + 0.02 * np.sin(100 * value)
                result |= {"bits_per_byte": bits, "bits_per_byte_stderr": 0.03}
                icl.append(write(root / "icl" / name / f"{task}.json", result))
    spec = {
        "study": "toy",
        "headline": {task: [task] for task in tasks},
        "recipes": ["paper", "microbatch"],
        "main_recipe": "paper",
    }
    spec["checkpoints"] = labels
    return spec, {"cards": cards, "encoders": encoders, "scores": scores, "kept": kept, "icl": icl}


def write(path: Path, value: dict) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def write_encoder(folder: Path, checkpoint: str, recipe: str, growth: float) -> Path:
    """One `encoder.json` and its `log.jsonl`: a loss that falls from above guessing, further for more compute."""
    negatives = {"paper": ("own", 4), "microbatch": ("microbatch", 2)}[recipe]
    told = {"id": recipe, "negatives": negatives[0], "n_negatives": negatives[1], "batch_queries": 32, "log_every": 10}
    path = write(folder / "encoder.json", artifacts.encoder(checkpoint=checkpoint, recipe=told))
    lines = []
    for step in (10, 20, 30, 40, 45):
        loss = 0.3 + 2.5 * np.exp(-step / 8) + 1 / (3 + growth)
        logged = {"step": step, "loss": loss, "grad_norm": 2 + 1 / step, "lr": 1e-3 / step, "padding": 0.0213}
        lines.append(json.dumps(logged | {"tokens_per_s": 51234.5 + step, "gpu_memory": 2**30}))
    (folder / "log.jsonl").write_text("\n".join(lines) + "\n")
    return path


def write_evaluation(
    folder: Path,
    checkpoint: str,
    recipe: str,
    task: str,
    mean: float,
    queries: int,
    rng: np.random.Generator,
    step: int | None = None,
) -> Path:
    """One `<task>.json` and `<task>.parquet`: per-query values scattered around `mean`."""
    values = np.clip(mean + rng.normal(0, 0.2, queries), 0, 1)
    table = pd.DataFrame({"query_id": [f"q{i:03d}" for i in range(queries)]} | dict.fromkeys(METRICS, values))
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / f"{task}.parquet", index=False)
    result = {"checkpoint": checkpoint, "recipe": recipe, "step": step, "task": task}
    result |= {"n_queries": queries, "n_documents": 500}
    result |= {"metrics": {metric: float(values.mean()) for metric in METRICS}, "judged_only": False, "k": 100}
    result |= {"contrastive_entropy": 4 - 3 * mean, "ties": len(task), "seconds": 1.0}
    return write(folder / f"{task}.json", result)


def collected(root: Path, **options) -> Path:
    """collect.json of a made-up study."""
    from retscale.collect.run import run

    spec, inputs = write_study(root, **options)
    out = root / "collect"
    out.mkdir()
    run(spec, inputs, out)
    return out / "collect.json"


def test_the_study_has_every_cell(tmp_path):
    spec, inputs = write_study(tmp_path)
    assert len(inputs["cards"]) == 12
    assert len(inputs["encoders"]) == 12 + 6
    assert len(inputs["scores"]) == 12 * 7 + 6 * 7
    assert len(inputs["icl"]) == 12 * 8
    assert set(spec["headline"]) == set(TASKS)
