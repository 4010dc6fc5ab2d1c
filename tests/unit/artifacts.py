"""Whole artifacts as stages write them, for tests that are about some of their keys."""

HASH = "0" * 64
SIZES = {"total": 2, "non_embedding": 1, "matmul": 1}


def card(**changes) -> dict:
    """Of card.json: a checkpoint of two parameters that was trained on ten tokens."""
    facts = {"id": "c", "source": {"kind": "local", "path": "/c"}, "revision": None, "n_params": SIZES, "n_tokens": 10}
    facts |= {"flops": 120.0, "tokens_per_param": 5.0, "schedule_finished": True, "max_length": 128, "model": "model"}
    return facts | {"files": {}, "loss": None} | changes


def encoder(**changes) -> dict:
    """Of encoder.json: one that was trained here."""
    recipe = {"id": "r", "negatives": "own", "n_negatives": 4, "batch_queries": 32}
    facts = {"checkpoint": "c", "recipe": recipe, "steps": 45, "pairs": 1440, "files": {}, "n_params": SIZES}
    facts |= {"prompt": {}, "prompt_sha256": HASH, "pooling": "mean", "normalize": True, "weights_sha256": HASH}
    return facts | changes


def task(**changes) -> dict:
    """Of task.json."""
    facts = {"id": "t", "queries": 1, "documents": 1, "judgements": 1, "judged_only": False, "follows": None}
    return facts | {"ignore_identical_ids": False, "sha256": {"corpus": HASH}, "notes": {}} | changes


def pairs(**changes) -> dict:
    """Of pairs.json."""
    facts = dict.fromkeys(("rows", "usable", "pairs", "queries", "positives", "passages"), 1)
    facts |= dict.fromkeys(("excluded", "held_out", "overlap", "files"), {})
    return facts | {"id": "p", "revision": None, "collection_revision": None} | changes


def result(**changes) -> dict:
    """Of TASK.json of `evaluate`."""
    facts = {"checkpoint": "c", "recipe": "r", "step": None, "task": "t", "metrics": {}, "n_queries": 1}
    return facts | {"n_documents": 1, "judged_only": False, "ties": 0, "k": 100, "relevant": 1} | changes


def text(**changes) -> dict:
    """Of text.json: one source, whose name is not ASCII."""
    source = {"name": "médias", "wheel": "w", "documents": 3, "tokens": 9999}
    facts = {"tokens": 9999, "heldout_tokens": 0, "documents": 3, "words": 9000, "vocab_size": 300}
    return facts | {"tokenizer_sha256": HASH, "sources": [source]} | changes


def items(**changes) -> dict:
    """Of items.json."""
    return {"id": "i", "from": "i.jsonl of u at c", "blob": "b", "sha256": HASH, "lines": 1} | changes


def leakage(**changes) -> dict:
    """Of TASK.json of `leakage`."""
    counts = {"queries": 1, "positives": 0}
    row = {"part": "queries", "texts": 1, "pairs": "p", "exact": counts, "run": counts}
    return {"task": "t", "words": 13, "overlap": [row]} | changes


def external(**changes) -> dict:
    """Of external.json."""
    table = {"elsewhere": 0, "file": "x.csv", "models": 1, "rows": 1, "sha256": HASH, "source": "médias"}
    return {"absent": {}, "files": {"external.parquet": HASH}, "headline": ["t"], "tables": [table]} | changes


def collected(**changes) -> dict:
    """Of collect.json."""
    study = {"study": "s", "headline": {"t": ["t"]}, "recipes": ["r"], "main_recipe": "r"}
    return study | {"in_domain": {}, "groups": {}, "rows": {"scores": 1}, "files": {"scores.parquet": HASH}} | changes


def fitted(**changes) -> dict:
    """Of fit.json."""
    config = {"metric": "ndcg_at_10", "alpha": 0.05, "bootstrap": 2000, "near": 1.25, "extend": 0.5, "seed": 0}
    facts = {key: value for key, value in collected(files={"points.parquet": HASH}).items() if key != "rows"}
    return facts | {"config": config, "collect_sha256": HASH, "icl_headline": None, "form": "log-linear"} | changes
