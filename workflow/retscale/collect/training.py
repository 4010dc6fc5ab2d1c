"""The log that fine-tuning leaves beside an encoder, read and validated: one row per line."""

import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from retscale.common.artifact import problem
from retscale.encoder.card import Trained, TrainedBy
from retscale.errors import UserError

LOG = "log.jsonl"


class Line(BaseModel):
    """What is the same in every run. Logs of earlier versions have times and memory as well."""

    model_config = ConfigDict(allow_inf_nan=False)
    step: int
    loss: float
    grad_norm: float
    lr: float
    padding: float


def training_rows(path: Path) -> tuple[dict, Path, list[dict]]:
    """Of an encoder.json: whose it is, its log, and one row per line, with the `queries` trained on so far, `steps` in all,
    and the loss of `chance`. One that was not trained has none.
    """
    encoder = Trained.read(path)
    recipe, steps = encoder.recipe, encoder.steps
    identity = {"checkpoint": encoder.checkpoint, "recipe": recipe.id}
    log = path.with_name(LOG)
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _bad(identity, f"cannot read the log {log}: {error}", path) from error
    rows, last = [], 0
    for number, text in enumerate(lines, 1):
        try:
            line = Line.model_validate_json(text, strict=True)
        except ValidationError as error:
            raise _bad(identity, f"{log}, line {number}: {problem(error)}", path) from None
        if not last < line.step <= steps:
            raise _bad(
                identity, f"{log}, line {number}: step {line.step} after {last} of {steps}; steps must increase", path
            )
        last = line.step
        position = {"step": last, "queries": last * recipe.batch_queries, "steps": steps}
        rows.append({**identity, **position, **line.model_dump(exclude={"step"}), "chance": chance(recipe)})
    if not rows and steps:
        raise _bad(identity, f"the log {log} is empty", path)
    return identity, log, rows


def chance(recipe: TrainedBy) -> float:
    """The loss, in nats, of one who guesses among a query's positive and its own negatives; NaN for pools.

    How many passages of a pool count depends on what is masked in each batch, so there is no single number.
    """
    return math.log(1 + recipe.n_negatives) if recipe.negatives == "own" else math.nan


def _bad(identity: dict, message: str, path: Path) -> UserError:
    return UserError(f"encoder {' / '.join(identity.values())}: {message}; delete {path} and run again")
