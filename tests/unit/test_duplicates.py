"""One thing under two ids would count twice, so a study that has it is refused; a part of it is another thing."""

from pathlib import Path

import pytest
import yaml

from retscale.errors import UserError
from retscale.study import load

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"
FOLDER = {"kind": "folder", "path": "data/mine"}
ITEMS = {"type": "schema", "source": {"kind": "jsonl", "folder": "/data", "file": "a.jsonl"}}
LADDER = {"family": "f", "size": "s", "tokens": 100}


def study(tmp_path, **changes):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | changes))
    return load.study(path)


@pytest.mark.parametrize(
    ("where", "entries"),
    [
        ("tasks", ["fiqa", {"use": "fiqa", "id": "again"}]),
        ("tasks", ["fiqa", {"use": "fiqa", "id": "again", "seed": 7, "licence": "other", "group": "g"}]),
        ("tasks", [{"id": "a", "source": FOLDER}, {"id": "b", "source": FOLDER | {"path": "./data/../data/mine/"}}]),
        (
            "tasks",
            [{"id": "a", "source": FOLDER}, {"id": "b", "source": FOLDER | {"path": str(Path("data/mine").resolve())}}],
        ),
        ("pairs", ["boolq", {"use": "boolq", "id": "again", "origin": "elsewhere"}]),
        ("icl", [ITEMS | {"id": "a"}, ITEMS | {"id": "b", "note": "the same"}]),
        (
            "checkpoints",
            [LADDER | {"id": id, "size": id, "source": {"kind": "local", "path": "m"}} for id in ("a", "b")],
        ),
    ],
)
def test_two_ids_of_one_thing_are_refused_by_name(tmp_path, where, entries):
    with pytest.raises(UserError) as error:
        study(tmp_path, **{"recipes": ["own-mini"], "mine": {"negatives": 4, "top": 9}, where: entries})
    first, second = (entry if isinstance(entry, str) else entry["id"] for entry in entries)
    assert f"{where}: {first} and {second} are the same and would count twice; keep one" in str(error.value)


@pytest.mark.parametrize(
    ("where", "entries"),
    [
        ("tasks", ["fiqa", {"use": "fiqa", "id": "few", "max_queries": 50}]),
        ("tasks", [{"use": "fiqa", "id": id, "max_queries": 50, "seed": seed} for id, seed in (("a", 0), ("b", 1))]),
        ("tasks", [{"id": "a", "source": FOLDER}, {"id": "b", "source": FOLDER | {"split": "dev"}}]),
        ("pairs", [{"use": "boolq", "id": id, "max_pairs": 600, "seed": seed} for id, seed in (("a", 0), ("b", 1))]),
        ("icl", [ITEMS | {"id": "a"}, ITEMS | {"id": "b", "shots": 5}]),
    ],
)
def test_parts_and_other_settings_are_other_things(tmp_path, where, entries):
    assert len(getattr(study(tmp_path, **{where: entries}), where)) == 2
