"""The JSON files that stages hand to each other, each written and read through one model: a contract of two stages."""

import json
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from retscale.common import jsonl
from retscale.errors import UserError


class Artifact(BaseModel, frozen=True):
    """What a file holds. A writer may write nothing else; a reader ignores the keys of other versions.

    A key without a value is not written, and where an older file lacks a key a reader takes its default.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, serialize_by_alias=True)
    sort_keys: ClassVar[bool] = False
    ensure_ascii: ClassVar[bool] = False

    @classmethod
    def write(cls, path: Path, values: dict) -> None:
        """`values` as the file `path`; ValueError if they break the contract, which is a bug."""
        if unknown := values.keys() - {field.alias or name for name, field in cls.model_fields.items()}:
            raise ValueError(f"{path}: {cls.__name__} has no {', '.join(sorted(unknown))}")
        content = cls.model_validate(values).model_dump(mode="json", exclude_unset=True)
        text = json.dumps(content, indent=1, sort_keys=cls.sort_keys, ensure_ascii=cls.ensure_ascii, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path, remedy: str = "delete it and run again") -> Self:
        """The file `path`; UserError names it, the key, what is wrong, and the remedy."""
        try:
            return cls.model_validate_json(jsonl.content(path), strict=True)
        except UserError as error:
            raise UserError(f"{error}; {remedy}") from None
        except ValidationError as error:
            raise UserError(f"{path}: {problem(error)}; {remedy}") from None


def problem(error: ValidationError) -> str:
    """The first thing that is wrong, in one line."""
    item = error.errors(include_url=False)[0]
    key = ".".join(map(str, item["loc"]))
    if item["type"] == "missing":
        return f"{key} is missing"
    if not key:  # no JSON, or no object
        return f"{item['msg'][0].lower()}{item['msg'][1:]}"
    value = "" if isinstance(item["input"], dict | list) else f", found {item['input']!r}"
    return f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}{value}"
