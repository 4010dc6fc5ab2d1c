"""Validation errors in words: file, path in it, what was found, what is allowed, the closest known word."""

import json
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from retscale.common.phrase import closest, hint
from retscale.errors import UserError

M = TypeVar("M", bound=BaseModel)

MOST = 100  # faults that are named; a person mends no more at once, and a file may have a million


def validate(model: type[M], data: dict, file: str, where: str = "") -> M:
    """`data` as a `model`; UserError with one line for each thing that is wrong with it.

    Strict, as JSON: `true` is no 1 and "8" no 8, but an integer may stand for a float and a list for a tuple.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        known, wrong = fields(model), error.error_count()
        lines = dict.fromkeys(line(detail, file, where, known) for detail in error.errors()[:MOST])
        more = [f"{file}: {wrong - MOST:,} more things are wrong"] if wrong > MOST else []
        raise UserError(*lines, *more) from None


def line(detail: dict, file: str, where: str, known: set[str]) -> str:
    """One pydantic error as one line."""
    place = ": ".join(filter(None, [file, ".".join(map(str, [*filter(None, [where]), *detail["loc"]]))]))
    if detail["type"] == "extra_forbidden":
        key = str(detail["loc"][-1])
        return f"{place}: unknown key{' here: it belongs under another key' if key in known else closest(key, known)}"
    if detail["type"] == "missing":
        return f"{place}: this key is required"
    if detail["type"] == "union_tag_invalid":
        tags = allowed(detail)
        return f"{place}: unknown kind {detail['ctx']['tag']!r}; known: {', '.join(tags)}{closest(detail['ctx']['tag'], tags)}"
    if detail["type"] == "union_tag_not_found":
        key = detail["ctx"]["discriminator"].strip("'")
        return f"{place}.{key}: this key is required"
    value = "" if isinstance(detail["input"], (dict, list)) else f" (found {detail['input']!r})"
    text = detail["msg"].removeprefix("Value error, ")
    return f"{place}: {text[0].lower()}{text[1:]}{value}{closest(detail['input'], allowed(detail))}"


def allowed(detail: dict) -> list[str]:
    """The words that a literal or a tagged union would have taken."""
    text = detail.get("ctx", {}).get("expected_tags") or (
        detail.get("ctx", {}).get("expected", "") if detail["type"] == "literal_error" else ""
    )
    return [word.strip("' ") for word in text.replace(" or ", ", ").split(",") if word]


def unknown(file: str, where: str, kind: str, name: object, known: Iterable[str], listed: str = "") -> UserError:
    """A name that the catalog or the study does not have; `listed` says where the known ones are listed."""
    return UserError(f"{file}: {where}: unknown {kind} {name!r}{hint(name, known, listed)}")


def fields(model: type[BaseModel]) -> set[str]:
    """Every key that may stand in `model`, at any depth."""
    schema = model.model_json_schema()
    names = set()
    for part in [schema, *schema.get("$defs", {}).values()]:
        names |= set(part.get("properties", {}))
    return names
