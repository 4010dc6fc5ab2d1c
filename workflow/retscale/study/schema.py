"""The JSON schema of a study file, for editors; `python -m retscale.study.schema` writes it, a test compares it.

Entries of the catalog appear in full: where a study names one, it may override any of its keys.
"""

import json
from pathlib import Path

from retscale.study import catalog, model
from retscale.study.seeds import Seeds

FILE = Path(__file__).resolve().parents[2] / "schemas" / "study.schema.json"
SINGLE = {"text": "text"}
SEEDS = Seeds.model_json_schema()
STUDY_KEYS = {
    ("checkpoint", "icl"): {"type": "boolean", "default": True},
    ("checkpoint", "seeds"): SEEDS["properties"]["use"],
    ("recipe", "seeds"): {"anyOf": [SEEDS["properties"]["use"], SEEDS]},
    ("recipe", "checkpoints"): {"type": "array"},
}


def schema() -> dict:
    """Draft 2020-12 schema of the study file."""
    study_schema = model.Study.model_json_schema()
    definitions = study_schema.setdefault("$defs", {})
    for key, kind in {**model.LISTS, **SINGLE}.items():
        entry = catalog.model(kind).model_json_schema()
        definitions |= entry.pop("$defs", {})
        # An override gives some keys, so none is required here; the completed entry is checked at load.
        entry.pop("required", None)
        extra = {"use": {"type": "string"}, "id": {"type": "string"}}
        extra |= {key: STUDY_KEYS[kind, key] for key in model.STUDY_KEYS.get(kind, ())}
        entry["properties"] = extra | entry["properties"]
        definitions[f"{kind}-entry"] = entry
        name_or_entry = {"anyOf": [{"type": "string"}, {"$ref": f"#/$defs/{kind}-entry"}]}
        field = study_schema["properties"][key]
        if key in model.LISTS:
            field["items"] = name_or_entry
        else:
            study_schema["properties"][key] = {k: v for k, v in field.items() if k != "anyOf"} | name_or_entry
    # A key that is missing in a study may be in its base.
    required = study_schema.pop("required")
    study_schema |= {"if": {"not": {"required": ["base"]}}, "then": {"required": required}}
    # A single training data set or table need not be written as a list.
    for name in ("pairs", "external"):
        list_form = study_schema["properties"][name]
        annotations = {key: list_form.pop(key) for key in ("title", "description", "default") if key in list_form}
        item = list_form["items"]
        study_schema["properties"][name] = annotations | {"anyOf": [*item.get("anyOf", [item]), list_form]}
    return study_schema


def text() -> str:
    return json.dumps(schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
