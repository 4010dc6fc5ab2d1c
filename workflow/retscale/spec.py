"""A job's spec on the command line: read, checked against its stage's model, and explained by --help."""

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from retscale.errors import UserError
from retscale.study import validation


def read(text: str, model: type[BaseModel]) -> dict:
    """The spec given as JSON or as @FILE; raises UserError that names each key that is unknown, missing or wrong."""
    try:
        text = Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text
        spec = json.loads(text, object_pairs_hook=_object)
    except OSError as error:
        raise UserError(f"--spec: cannot read {text[1:]}: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"--spec: not JSON: {error}") from None
    if not isinstance(spec, dict):
        raise UserError("--spec: must be a JSON object")
    validation.validate(model, spec, "--spec")
    return spec


def _object(pairs: list[tuple[str, object]]) -> dict:
    """Refuse duplicate keys, of which the last would win silently."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in mapping if keys.count(key) > 1)
        raise UserError(f"--spec: the key {repeated!r} is given twice; keep one")
    return mapping


def describe(model: type[BaseModel]) -> str:
    """The keys that a spec may hold, one per line with type and default; the parts of nested objects after it."""
    schema = model.model_json_schema()
    lines = ["the spec is a JSON object of these keys (* required):", *_keys(schema)]
    for name, part in schema.get("$defs", {}).items():
        if "properties" in part:
            lines += ["", f"{name}:", *_keys(part)]
    return "\n".join(lines)


def _keys(schema: dict) -> Iterator[str]:
    for key, field in schema.get("properties", {}).items():
        mark = "*" if key in schema.get("required", ()) else " "
        default = f" = {json.dumps(field['default'])}" if "default" in field else ""
        about = f"  ({field['description']})" if "description" in field else ""
        yield f"  {mark} {key}: {_type(field)}{default}{about}"


def _type(field: dict) -> str:
    """A type of JSON schema in a few words."""
    if "$ref" in field:
        return field["$ref"].rpartition("/")[2]
    if variants := field.get("anyOf") or field.get("oneOf"):
        return " or ".join(dict.fromkeys(_type(part) for part in variants))
    if "enum" in field:
        return " | ".join(map(str, field["enum"]))
    if "const" in field:
        return str(field["const"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if isinstance(values := field.get("additionalProperties"), dict):
        return f"object of {_type(values)}"
    words = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[word]}" for word, sign in words.items() if word in field]
    return " ".join([field.get("type", "any"), *([", ".join(limits)] if limits else [])])
