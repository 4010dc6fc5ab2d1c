"""Result files of other stages, one row each."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from retscale.checkpoint.card import Card, Loss, Params
from retscale.collect.config import Labels
from retscale.common import parquet
from retscale.common.files import sha256
from retscale.common.phrase import hint
from retscale.encoder.card import EncoderCard
from retscale.encoder.config import GIVEN, REFERENCE
from retscale.errors import UserError
from retscale.evaluate.metrics import INSTRUCTION, metric
from retscale.evaluate.result import COLUMNS, Result
from retscale.icl.result import IclResult
from retscale.reference.config import Reference, words

MEAN_TOLERANCE = 1e-4  # a stored mean against the mean of the stored per-query values (float32 rankings)


def require_unique(files: dict[tuple, Path], key: tuple, path: Path) -> None:
    """Remember where `key` came from; refuse to see it twice."""
    if key in files:
        raise UserError(f"{' / '.join(map(str, key))} has two results: {files[key]} and {path}; keep one of them")
    files[key] = path


def card_row(path: Path, labels: dict[str, Labels], tuned: Collection[str]) -> dict:
    """One checkpoint; its tokens and FLOPs may be unknown if it is outside the fits only. `tuned`: ids of those tuned for chat."""
    card = Card.read(path)
    if card.id not in labels:
        raise UserError(f"{path} is of checkpoint {card.id!r}, which this study lacks{hint(card.id, labels)}")
    label = labels[card.id]
    amounts = sizes(card.n_params) | {"n_tokens": card.n_tokens, "flops": card.flops}
    for name in ("n_params", "n_tokens", "flops"):
        if label.role == "fit" and not (amounts[name] or 0) > 0:
            raise UserError(
                f"{path}: {name} is {amounts[name]!r}; a checkpoint that enters fits needs a positive number"
            )
    amounts["tokens_per_param"] = card.tokens_per_param
    loss = card.loss or Loss()
    return {
        "checkpoint": card.id,
        "family": label.family,
        "size": label.size,
        **{name: None if value is None else float(value) for name, value in amounts.items()},
        "schedule_finished": card.schedule_finished,
        "role": label.role,
        "reason": exclusion_reason(card, label.role, card.id in tuned),
        "source": card.source.kind,
        "revision": card.revision,
        "loss_train": loss.train,
        "loss_heldout": loss.heldout,
        "sha256": sha256(path),
    }


def given_encoder_row(path: Path) -> dict:
    """One encoder made elsewhere, in the columns of a checkpoint."""
    card = EncoderCard.read(path)
    return {
        "checkpoint": card.checkpoint,
        "family": GIVEN,
        "size": card.checkpoint,
        **{name: float(value) for name, value in sizes(card.n_params).items()},
        "schedule_finished": True,
        "role": "reference",
        "reason": "made elsewhere, by no recipe of this study",
        "source": GIVEN,
        "sha256": sha256(path),
    }


def reference_row(id: str, system: Reference) -> dict:
    """The row of a system without a model in the table of checkpoints; it has neither parameters nor a file."""
    return {
        "checkpoint": id,
        "family": REFERENCE,
        "size": id,
        "schedule_finished": True,
        "role": "reference",
        "reason": words(system),
        "source": REFERENCE,
    }


def sizes(params: Params) -> dict[str, int]:
    return {
        "n_params": params.total,
        "n_params_non_embedding": params.non_embedding,
        "n_params_matmul": params.matmul,
    }


def exclusion_reason(card: Card, role: str, tuned: bool) -> str:
    """Why a checkpoint does not enter the trend of the ladder; empty if it does."""
    if card.source.kind == "random":
        return "in no fit, for its weights are random and have seen no text"
    if card.n_tokens is None:
        return "in no fit, for its pretraining tokens are unknown and so are its FLOPs"
    if role != "fit":
        return "in no fit, for it was tuned after pretraining" if tuned else "in no fit"
    return "" if card.schedule_finished else "fitted apart, schedule unfinished"


def score_rows(path: Path) -> tuple[dict, list[dict], pd.DataFrame]:
    """The evaluation of a last encoder: its identity, one row per metric, and its per-query table (with every metric)."""
    result = Result.read(path)
    if result.step is not None:
        raise UserError(
            f"{path} is of an encoder kept after step {result.step}, not of the last one; pass it as --kept"
        )
    if result.length is not None:
        raise UserError(f"{path} is of documents of {result.length} tokens, a length of its own; pass it as --lengths")
    return evaluation_rows(path, result)


def kept_rows(path: Path) -> tuple[dict, list[dict], pd.DataFrame]:
    """As `score_rows`, for an encoder kept during training, with its step."""
    result = Result.read(path)
    if result.step is None:
        raise UserError(
            f"{path} is of the last encoder of a training run, not of one kept on the way; pass it as --scores"
        )
    identity, rows, queries = evaluation_rows(path, result)
    step = {"step": result.step}
    return identity | step, [row | step for row in rows], queries.assign(**step)


def length_rows(path: Path) -> tuple[dict, list[dict], pd.DataFrame]:
    """As `score_rows`, for an evaluation at a further length, with the length."""
    result = Result.read(path)
    if result.length is None:
        raise UserError(f"{path} is of documents of the encoder's own length; pass it as --scores")
    identity, rows, queries = evaluation_rows(path, result)
    length = {"length": result.length}
    beyond = length | {"extrapolates": bool(result.extrapolates)}
    return identity | length, [row | beyond for row in rows], queries.assign(**length)


def evaluation_rows(path: Path, result: Result) -> tuple[dict, list[dict], pd.DataFrame]:
    """What `score_rows` returns, of the `result` in the file `path` of whichever encoder."""
    identity = {"checkpoint": result.checkpoint, "recipe": result.recipe, "task": result.task}
    # A task whose queries follow no instruction together has no such mean.
    means = {name: value for name, value in result.metrics.items() if value is not None or name not in INSTRUCTION}
    for name, value in means.items():
        check_mean(name, value, path)
    shared = {name: getattr(result, name) for name in (*COLUMNS, "n_documents")}
    shared |= {} if result.unranked is None else {"unranked": result.unranked}
    rows = [identity | {"metric": name, "value": value} | shared for name, value in means.items()]
    queries = query_rows(path.with_suffix(".parquet"), result.n_queries, means)
    return identity, rows, queries.assign(**identity)


def check_mean(name: str, value: float | None, path: Path) -> None:
    """Refuse the mean of the metric `name` unless that is known and the mean lies in its range."""
    definition = metric(name)
    if definition is None:
        raise UserError(f"{path}: unknown metric {name!r}; delete it and run again")
    if value is None or not definition.least <= value <= definition.most:
        raise UserError(
            f"{path}: {name} is {value}, outside {definition.least:g}..{definition.most:g}; delete it and run again"
        )


def query_rows(path: Path, n_queries: int, means: dict[str, float]) -> pd.DataFrame:
    """Each query's values of the metrics in `means`, NaN where undefined; refused unless complete and averaging to them."""
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
    result = IclResult.read(path)
    unscored = result.value is None, result.score is None
    if any(unscored) and not (all(unscored) and result.type == "code_evaluation"):
        raise UserError(f"{path}: value is {result.value} and score {result.score}; delete it and run again")
    return result.model_dump() | {"odd": "; ".join(result.odd), "sha256": sha256(path)}
