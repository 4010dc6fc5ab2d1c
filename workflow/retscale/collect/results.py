"""Result files of other stages, read and validated into one row each."""

import math
from pathlib import Path

import pandas as pd

from retscale import parquet
from retscale.collect.config import Labels
from retscale.collect.tables import read_json, sha256
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.evaluate.metrics import INSTRUCTION, metric
from retscale.phrase import hint

MEAN_TOLERANCE = 1e-4  # a stored mean against the mean of the stored per-query values (float32 rankings)


def need(found: dict, keys: tuple[str, ...], path: Path) -> None:
    """Refuse a result that lacks one of `keys`."""
    missing = [key for key in keys if key not in found]
    if missing:
        raise UserError(f"{path} lacks {', '.join(missing)}; delete it and run again")


def number(value: object, what: str, path: Path) -> float:
    """A finite float; anything else is a result that must not be averaged away."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{path}: {what} is {value!r}, not a finite number; delete it, find out why, and run again")
    return float(value)


def unique(rows: dict[tuple, Path], key: tuple, path: Path) -> None:
    """Remember where `key` came from; refuse to see it twice."""
    if key in rows:
        raise UserError(f"{' / '.join(map(str, key))} has two results: {rows[key]} and {path}; keep one of them")
    rows[key] = path


def card_row(path: Path, labels: dict[str, Labels]) -> dict:
    """One checkpoint's facts; parameters, tokens and FLOPs may be unknown for checkpoints outside the fits only."""
    card = read_json(path)
    need(card, ("id", "source", "n_params", "n_tokens", "flops", "schedule_finished"), path)
    if card["id"] not in labels:
        raise UserError(f"{path} is of checkpoint {card['id']!r}, which this study lacks{hint(card['id'], labels)}")
    label = labels[card["id"]]
    params = card["n_params"]
    known = {
        "n_params": params["total"],
        "n_params_non_embedding": params["non_embedding"],
        "n_params_matmul": params["matmul"],
        "n_tokens": card["n_tokens"],
        "flops": card["flops"],
        "tokens_per_param": card.get("tokens_per_param"),
    }
    for name in ("n_params", "n_tokens", "flops"):
        value = known[name]
        if label.role == "fit" and (value is None or number(value, name, path) <= 0):
            raise UserError(f"{path}: {name} is {value!r}; a checkpoint that enters fits needs a positive number")
    loss = card.get("loss") or {}
    return {
        "checkpoint": card["id"],
        "family": label.family,
        "size": label.size,
        **{name: None if value is None else float(value) for name, value in known.items()},
        "schedule_finished": bool(card["schedule_finished"]),
        "role": label.role,
        "reason": outside(label.role, known["n_tokens"], card["schedule_finished"]),
        "source": card["source"]["kind"],
        "revision": card.get("revision"),
        "loss_train": loss.get("train"),
        "loss_heldout": loss.get("heldout"),
        "sha256": sha256(path),
    }


def given_row(path: Path) -> dict:
    """What is known of an encoder made elsewhere, as of a checkpoint."""
    facts = read_json(path)
    need(facts, ("checkpoint", "n_params"), path)
    params = {"n_params": "total", "n_params_non_embedding": "non_embedding", "n_params_matmul": "matmul"}
    return {
        "checkpoint": facts["checkpoint"],
        "family": GIVEN,
        "size": facts["checkpoint"],
        **{name: number(facts["n_params"][key], name, path) for name, key in params.items()},
        "schedule_finished": True,
        "role": "reference",
        "reason": "made elsewhere, by no recipe of this study",
        "source": GIVEN,
        "sha256": sha256(path),
    }


def outside(role: str, n_tokens: int | None, schedule_finished: bool) -> str:
    """Why a checkpoint does not enter the trend of the ladder; empty if it does."""
    if n_tokens is None:
        return "in no fit, for its pretraining tokens are unknown and so are its FLOPs"
    if role != "fit":
        return "in no fit"
    return "" if schedule_finished else "fitted apart, schedule unfinished"


def score_rows(path: Path) -> tuple[dict, list[dict], pd.DataFrame]:
    """The evaluation of a last encoder: its identity, a row a metric, and its per-query table (with every metric)."""
    found = read_json(path)
    need(found, ("step",), path)
    if found["step"] is not None:
        raise UserError(
            f"{path} is of an encoder kept after step {found['step']}, not of the last one; give it as --kept"
        )
    return evaluation(path, found)


def kept_rows(path: Path) -> tuple[dict, list[dict]]:
    """The evaluation of an encoder kept during training: its identity with the step, and a row a metric."""
    found = read_json(path)
    need(found, ("step",), path)
    if not isinstance(found["step"], int):
        raise UserError(f"{path} is of the last encoder of a training, not of one kept on the way; give it as --scores")
    identity, rows, _ = evaluation(path, found)
    step = {"step": found["step"]}
    return identity | step, [row | step for row in rows]


def evaluation(path: Path, found: dict) -> tuple[dict, list[dict], pd.DataFrame]:
    """What `score_rows` returns, of the evaluation `found` in the file `path` of whichever encoder."""
    need(found, ("checkpoint", "recipe", "task", "metrics", "n_queries", "ties"), path)
    identity = {name: found[name] for name in ("checkpoint", "recipe", "task")}
    # A task whose queries follow no instruction together has no such mean.
    metrics = {name: value for name, value in found["metrics"].items() if value is not None or name not in INSTRUCTION}
    means = {name: score(name, value, path) for name, value in metrics.items()}
    shared = {name: found[name] for name in ("n_queries", "ties")}
    rows = [identity | {"metric": name, "value": value} | shared for name, value in means.items()]
    queries = query_rows(path.with_suffix(".parquet"), found["n_queries"], means)
    return identity, rows, queries.assign(**identity)


def score(name: str, value: object, path: Path) -> float:
    """The mean of the metric `name`, which must be known and lie in its range."""
    known = metric(name)
    if known is None:
        raise UserError(f"{path}: unknown metric {name!r}; delete it and run again")
    value = number(value, name, path)
    if not known.least <= value <= known.most:
        raise UserError(
            f"{path}: {name} is {value}, outside {known.least:g}..{known.most:g}; delete it and run again"
        )
    return value


def query_rows(path: Path, n_queries: int, means: dict[str, float]) -> pd.DataFrame:
    """Values of `means` a query, refused unless they are complete and average to them; NaN where none is defined."""
    try:
        queries = parquet.read(path, {"query_id": "text", **dict.fromkeys(means, "number")})
    except UserError as error:
        raise UserError(f"the per-query scores: {error}; delete it and run again") from None
    if len(queries) != n_queries or queries["query_id"].duplicated().any():
        raise UserError(f"{path} holds {len(queries)} rows for {n_queries} distinct queries; delete it and run again")
    for name, stored in means.items():
        mean = queries[name].mean()
        if not abs(mean - stored) <= MEAN_TOLERANCE:
            raise UserError(
                f"{path}: the mean of {name} is {mean}, but {path.with_suffix('.json')} says {stored}; delete both and "
                "run again"
            )
    return queries


def icl_row(path: Path) -> dict:
    """One in-context task of one checkpoint; without numbers if its generated programs were not run."""
    found = read_json(path)
    need(found, ("checkpoint", "task", "type", "value", "baseline", "score", "n_items"), path)
    numbers = {"value": None, "baseline": number(found["baseline"], "baseline", path), "score": None, "stderr": None}
    if not (found["type"] == "code_evaluation" and found["value"] is None):
        numbers = {name: number(found[name], name, path) for name in ("value", "baseline", "score")}
        numbers["stderr"] = found.get("stderr")
    return {
        "checkpoint": found["checkpoint"],
        "task": found["task"],
        "type": found["type"],
        **numbers,
        "n_items": found["n_items"],
        "low": found.get("low"),
        "high": found.get("high"),
        "executed": found.get("executed"),
        "trimmed": found.get("trimmed", 0),
        "skipped": found.get("skipped", 0),
        "tied": found.get("tied", 0),
        "odd": "; ".join(found.get("odd", [])),
        "sha256": sha256(path),
    }
