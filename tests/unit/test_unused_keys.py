"""A key that would do nothing is refused where a study writes it, and only there."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from retscale.errors import UserError
from retscale.study import catalog, load, unused_keys, validation
from retscale.study.study import Study

SMOKE = Path(__file__).resolve().parents[2] / "config" / "smoke.yaml"
FOLDER = {"id": "x", "source": {"kind": "folder", "path": "/x"}}
PLACE = {"kind": "jsonl", "folder": "/x", "file": "x.jsonl"}
CHOICE = {"id": "x", "type": "multiple_choice", "source": PLACE}
WORDS = {"use": "shuffle", "id": "x"}
JUDGED = {"use": "privacy-policy", "id": "x"}
BOOLQ = {"id": "x", "source": catalog.entries("pairs")["boolq"]["source"]}
GATED = {"id": "x", "gated": True, "family": "f", "size": "s", "tokens": 9, "source": {"kind": "local", "path": "/x"}}
MINE = {"negatives": 2, "top": 20}
OWN = {"use": "own-mini", "n_negatives": 2}
NEVER_KEPT = {"recipes": [OWN]}


def load_study(tmp_path: Path, **change) -> Study:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SMOKE.read_text()) | change))
    return load.study(path)


@pytest.mark.parametrize(
    "change, key, needs",
    [
        (NEVER_KEPT | {"curve_tasks": ["fiqa"]}, "curve_tasks", "a recipe that has `keep`"),
        ({"averages": ["gauntlet-v0.3"]}, "averages", "a task of that gauntlet under `icl`"),
        (NEVER_KEPT | {"checkpoints": ["pythia-14m"]}, "text", "a checkpoint that is pretrained here"),
        (NEVER_KEPT | {"checkpoints": [GATED], "text": None}, "checkpoints.0.gated", "a source of kind `hub`"),
        ({"pairs": {"use": "boolq", "seed": 3}}, "pairs.0.seed", "`max_pairs`"),
        ({"pairs": BOOLQ | {"near_words": 9}, "held_out": []}, "pairs.0.near_words", "`held_out` in the study or"),
        ({"mine": MINE | {"method": "encoder", "encoder": "/x", "k1": 1.2}}, "mine.k1", "`method: bm25`"),
        (
            {"mine": MINE | {"method": "encoder", "encoder": "/x", "stemmer": "english"}},
            "mine.stemmer",
            "`method: bm25`",
        ),
        ({"mine": MINE | {"seed": 3}}, "mine.seed", "`choose: random`"),
        ({"recipes": [OWN | {"lora": {"r": 8}}]}, "recipes.0.lora", "`tuning: lora`"),
        ({"tasks": ["fiqa", FOLDER | {"seed": 3}]}, "tasks.1.seed", "`max_queries` or `max_documents`"),
        ({"tasks": ["fiqa", FOLDER | {"corpus": "big"}]}, "tasks.1.corpus", "`alone: true`"),
        ({"tasks": ["fiqa", JUDGED | {"max_documents": 9}]}, "tasks.1.max_documents", "`judged_only: false`"),
        ({"tasks": [{"use": "fiqa", "source": {"relevant": "yes"}}]}, "tasks.0.source.relevant", "`label`"),
        ({"icl": [CHOICE | {"source": PLACE | {"root": "a"}}]}, "icl.0.source.root", "a file that is fetched"),
        ({"icl": [CHOICE | {"stop": ["\n"]}]}, "icl.0.stop", "a type whose answers are generated"),
        ({"icl": [CHOICE | {"normalise": False}]}, "icl.0.normalise", "`type: generation_task_with_answers`"),
        ({"icl": [CHOICE | {"execute": True}]}, "icl.0.execute", "`type: code_evaluation`"),
        ({"icl": [CHOICE | {"shot_seed": 3}]}, "icl.0.shot_seed", "`shots`"),
        ({"icl": [CHOICE | {"seed": 3}]}, "icl.0.seed", "`max_items` or items built from text"),
        ({"icl": [WORDS | {"categories": True}]}, "icl.0.categories", "items of kind `released`"),
        ({"icl": [{"use": "gauntlet-v0", "execute": True}]}, "icl.0.execute", "`type: code_evaluation`"),
        ({"figures": {"2": {"accent": "#000000"}}}, "figures.2.accent", "the ablation"),
        ({"figures": {"3": {"trend": "#000000"}}}, "figures.3.trend", "figure 1b"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_key_that_does_nothing_is_refused(tmp_path, change, key, needs):
    with pytest.raises(UserError) as error:
        load_study(tmp_path, **change)
    assert str(error.value).startswith(f"{tmp_path}/study.yaml: {key}: has an effect only with {needs}")
    assert str(error.value).endswith("; here it has no effect, so remove it") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"mine": MINE | {"k1": 1.2}},
        {"recipes": [OWN | {"use": "repllama", "tuning": "full"}]},  # its `lora` is the catalog's
        {"recipes": [OWN | {"tuning": "lora", "lora": {"r": 8}}]},
        {"icl": [{"use": "gauntlet-v0.3-code", "execute": True}], "averages": ["gauntlet-v0.3"]},  # some are programs
        {"icl": [{"use": "gauntlet-v0.3", "source": {"folder": "/x"}}]},  # its repository is the catalog's
        {"icl": [CHOICE | {"normalise": True, "shot_seed": 1234}]},  # as if not written
        {"icl": [WORDS | {"seed": 3}]},
        {"figures": {"ablation": {"accent": "#000000"}, "1b": {"trend": "#000000"}}},
        {"pairs": {"use": "boolq", "near_words": 9}, "held_out": []},  # it excludes by itself
    ],
)
def test_a_key_that_counts_is_taken(tmp_path, change):
    load_study(tmp_path, **change)


@pytest.mark.parametrize("kind", ["checkpoint", "pairs", "recipe", "task", "icl"])
def test_no_entry_of_the_catalog_has_an_idle_key(kind):
    for name, entry in catalog.entries(kind).items():
        made = validation.validate(catalog.model(kind), entry, "catalog", name)
        assert not list(unused_keys.idle_keys(made, entry, SimpleNamespace(held_out=()))), name
