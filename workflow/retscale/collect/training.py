"""The log that fine-tuning leaves beside an encoder, read and validated into one row a line."""

import json
import math
from pathlib import Path

from retscale.collect.results import need, number
from retscale.collect.tables import read_json
from retscale.errors import UserError

LOG = "log.jsonl"
# What a run repeats. Times and memory stay in the log: the same study and code must give the same table.
NUMBERS = ("loss", "grad_norm", "lr", "padding")


def training_rows(path: Path) -> tuple[dict, Path, list[dict]]:
    """Of an encoder.json: whose it is, its log, and a row a line, with the `queries` trained on so far, `steps` in all,
    and the loss of `chance`.
    """
    encoder = read_json(path)
    need(encoder, ("checkpoint", "recipe", "steps"), path)
    recipe, steps = encoder["recipe"], encoder["steps"]
    need(recipe, ("id", "negatives", "n_negatives", "batch_queries"), path)
    identity = {"checkpoint": encoder["checkpoint"], "recipe": recipe["id"]}
    log = path.with_name(LOG)
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise _bad(identity, f"cannot read the log {log}: {error}", path) from error
    rows, last = [], 0
    for place, line in enumerate(lines, 1):
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise _bad(identity, f"{log}, line {place}: not a JSON object", path)
        if missing := [key for key in ("step", *NUMBERS) if key not in found]:
            raise _bad(identity, f"{log}, line {place}: lacks {', '.join(missing)}", path)
        step = found["step"]
        if not isinstance(step, int) or not last < step <= steps:
            raise _bad(identity, f"{log}, line {place}: step {step!r} after {last} of {steps}; steps must rise", path)
        numbers = {name: number(found[name], f"line {place}, {name}", log) for name in NUMBERS}
        seen = {"step": step, "queries": step * recipe["batch_queries"], "steps": steps}
        rows.append({**identity, **seen, **numbers, "chance": chance(recipe)})
        last = step
    if not rows:
        raise _bad(identity, f"the log {log} is empty", path)
    return identity, log, rows


def chance(recipe: dict) -> float:
    """The loss, in nats, of one who guesses among a query's positive and its own negatives; NaN for pools.

    How many passages of a pool count depends on what is masked in each batch, so there is no one number.
    """
    return math.log(1 + recipe["n_negatives"]) if recipe["negatives"] == "own" else math.nan


def _bad(identity: dict, what: str, path: Path) -> UserError:
    return UserError(f"encoder {' / '.join(identity.values())}: {what}; delete {path} and run again")
