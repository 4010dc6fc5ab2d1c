"""Validation errors in words: file, path in it, what was found, what is allowed, the closest known word."""

import json
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError

from retscale.errors import UserError
from retscale.phrase import closest, hint


def validate(model: type[BaseModel], data: dict, file: str, where: str = "") -> BaseModel:
    """`data` as a `model`; UserError with one line for each thing that is wrong with it.

    Strict, as JSON: `true` is no 1 and "8" no 8, but an integer may stand for a float and a list for a tuple.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        known = fields(model)
        raise UserError(*dict.fromkeys(line(item, file, where, known) for item in error.errors())) from None


def line(item: dict, file: str, where: str, known: set[str]) -> str:
    """One pydantic error as one line."""
    place = ": ".join(filter(None, [file, ".".join(map(str, [*filter(None, [where]), *item["loc"]]))]))
    if item["type"] == "extra_forbidden":
        key = str(item["loc"][-1])
        return f"{place}: unknown key{' here: it belongs under another key' if key in known else closest(key, known)}"
    if item["type"] == "missing":
        return f"{place}: this key is required"
    if item["type"] == "union_tag_invalid":
        tags = allowed(item)
        return (
            f"{place}: unknown kind {item['ctx']['tag']!r}; known: {', '.join(tags)}{closest(item['ctx']['tag'], tags)}"
        )
    if item["type"] == "union_tag_not_found":
        key = item["ctx"]["discriminator"].strip("'")
        return f"{place}.{key}: this key is required"
    found = "" if isinstance(item["input"], (dict, list)) else f" (found {item['input']!r})"
    text = item["msg"].removeprefix("Value error, ")
    return f"{place}: {text[0].lower()}{text[1:]}{found}{closest(item['input'], allowed(item))}"


def allowed(item: dict) -> list[str]:
    """The words that a literal or a tagged union would have taken."""
    text = item.get("ctx", {}).get("expected_tags") or (
        item.get("ctx", {}).get("expected", "") if item["type"] == "literal_error" else ""
    )
    return [word.strip("' ") for word in text.replace(" or ", ", ").split(",") if word]


def unknown(file: str, where: str, kind: str, name: object, known: Iterable[str], listed: str = "") -> UserError:
    """A name that the catalog or the study does not have; `listed` says where the known ones are listed."""
    return UserError(f"{file}: {where}: unknown {kind} {name!r}{hint(name, known, listed)}")


def fields(model: type[BaseModel]) -> set[str]:
    """Every key that may stand in `model`, at any depth."""
    schema = model.model_json_schema()
    found = set()
    for part in [schema, *schema.get("$defs", {}).values()]:
        found |= set(part.get("properties", {}))
    return found
