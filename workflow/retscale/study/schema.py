"""The JSON schema of a study file, for editors; `python -m retscale.study.schema` writes it, a test compares it.

Entries of the catalog appear in full: where a study names one, it may override any of its keys.
"""

import json
from pathlib import Path

from retscale.study import catalog, model

FILE = Path(__file__).resolve().parents[2] / "schemas" / "study.schema.json"
LISTS = {where: kind for kind, where in model.LISTS.items()}
SINGLE = {"text": "text"}


def schema() -> dict:
    """Draft 2020-12 schema of the study file."""
    made = model.Study.model_json_schema()
    definitions = made.setdefault("$defs", {})
    for key, kind in {**LISTS, **SINGLE}.items():
        entry = catalog.model(kind).model_json_schema()
        definitions |= entry.pop("$defs", {})
        # An override gives some keys, so none is required here; the completed entry is checked at load.
        entry.pop("required", None)
        extra = {"use": {"type": "string"}, "id": {"type": "string"}} | (
            {"checkpoints": {"type": "array"}} if kind == "recipe" else {}
        )
        entry["properties"] = extra | entry["properties"]
        definitions[f"{kind}-entry"] = entry
        either = {"anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{kind}-entry"}]}
        field = made["properties"][key]
        if key in LISTS:
            field["items"] = either
        else:
            made["properties"][key] = {k: v for k, v in field.items() if k != "anyOf"} | either
    # A single training data set or table need not be written as a list.
    for name in ("pairs", "external"):
        several = made["properties"][name]
        about = {key: several.pop(key) for key in ("title", "description", "default") if key in several}
        one = several["items"]
        made["properties"][name] = about | {"anyOf": [*one.get("anyOf", [one]), several]}
    return made


def text() -> str:
    return json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
