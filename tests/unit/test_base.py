"""`base:` of a study: what it takes from the other file, what it refuses, and which file an error names."""

from pathlib import Path

import pytest
import yaml

from retscale import cli
from retscale.clean import orphans
from retscale.errors import UserError
from retscale.study import load, preflight, specs

SHARED = {
    "name": "shared",
    "title": "Shared",
    "description": "d",
    "checkpoints": ["pythia-14m", "pythia-31m"],
    "pairs": "msmarco",
    "mine": {"method": "given", "negatives": 15, "top": 50, "choose": "random"},
    "recipes": ["portes2025"],
    "tasks": ["scifact"],
    "fit": {"alpha": 0.1, "bootstrap": 500},
}


@pytest.fixture
def extended(tmp_path):
    """Write the study x.yaml that extends shared.yaml, both with some keys changed; its path."""

    def write(own: dict, **shared) -> Path:
        (tmp_path / "shared.yaml").write_text(yaml.safe_dump(SHARED | shared, sort_keys=False))
        path = tmp_path / "x.yaml"
        path.write_text(yaml.safe_dump({"base": "shared.yaml", "name": "x"} | own, sort_keys=False))
        return path

    return write


def refused(path: Path) -> str:
    with pytest.raises(UserError) as error:
        load.study(path)
    return str(error.value)


def test_keys_of_the_file_replace_those_of_its_base_whole(extended, tmp_path):
    study = load.study(extended({"tasks": ["nfcorpus"], "fit": {"bootstrap": 300}}))
    whole = SHARED | {"name": "x", "tasks": ["nfcorpus"], "fit": {"bootstrap": 300}}
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(whole))
    same = load.study(tmp_path / "whole.yaml")
    assert list(study.tasks) == ["nfcorpus"] and study.file.fit.alpha == 0.05
    for cut in (specs.fit, specs.collect, specs.report, specs.mine):
        assert cut(study) == cut(same)
    assert specs.checkpoint(study, "pythia-14m") == specs.checkpoint(same, "pythia-14m")
    assert specs.finetune(study, "portes2025") == specs.finetune(same, "portes2025")


def test_a_base_is_one_file_that_extends_none(extended, tmp_path):
    shared = tmp_path / "shared.yaml"
    path = extended({})
    assert refused(extended({}, base="x.yaml")) == (
        f"{path}: base: {shared} extends 'x.yaml'; a base may extend no other file"
    )
    assert refused(extended({"base": "x.yaml"})) == (
        f"{path}: base: {path} extends 'x.yaml'; a base may extend no other file"
    )
    assert refused(extended({"base": "shard.yaml"})).startswith(
        f"{path}: base: there is no file {tmp_path / 'shard.yaml'}; its folder holds: {shared}"
    )
    assert refused(extended({"base": ["shared.yaml"]})) == (
        f"{path}: base: must be the path of a study file, relative to this one"
    )
    shared.write_text("a: [")
    path.write_text("base: shared.yaml")
    assert refused(path).startswith(f"{path}: base: {shared} is not YAML") and "\n" not in refused(path)


@pytest.mark.parametrize("key, wrong", [("tasks", ["scifat"]), ("seed", -1), ("tsaks", []), ("only", ["none"])])
def test_an_error_names_the_file_that_has_the_key(extended, tmp_path, key, wrong):
    line = refused(extended({}, **{key: wrong}))
    assert line.startswith(f"{tmp_path / 'shared.yaml'}: {key}") and "\n" not in line
    assert refused(extended({key: wrong})).startswith(f"{tmp_path / 'x.yaml'}: {key}")


def test_missing_files_are_named_with_the_file_that_wants_them(extended, tmp_path):
    external = {"external": {"table": "gone.csv", "source": "s"}}
    for own, shared, place in ((external, {}, "x"), ({}, external, "shared")):
        study = load.study(extended(own, **shared))
        with pytest.raises(UserError) as error:
            preflight.check_tables(study)
        assert str(error.value) == f"{tmp_path / place}.yaml: external.0.table: there is no file gone.csv"


def test_what_a_base_says_in_vain_was_said_for_others(extended):
    """A key that does nothing is refused in the file itself only."""
    assert load.study(extended({}, curve_tasks=["scifact"])).name == "x"
    assert "curve_tasks: has an effect only with" in refused(extended({"curve_tasks": ["scifact"]}))
    idle = [{"use": "portes2025", "lora": {"r": 8}}]
    assert load.study(extended({}, recipes=idle)).name == "x"
    assert "recipes.0.lora: has an effect only with" in refused(extended({"recipes": idle}))


def test_check_names_the_base_and_its_keys(extended, tmp_path, capsys):
    assert cli.main(["check", str(extended({"tasks": ["nfcorpus"], "title": "Mine"}))]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'x.yaml'}: Mine"
    inherited = [key for key in SHARED if key not in ("name", "title", "tasks")]
    assert second == f"base         {tmp_path / 'shared.yaml'}: {', '.join(inherited)}"


def test_studies_that_share_results_are_known_by_the_name_in_a_base(extended, tmp_path, monkeypatch):
    """Or else `retscale clean --orphans` would list what the other still names."""
    monkeypatch.chdir(tmp_path)
    path = extended({})
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "y.yaml").write_text("base: ../x.yaml\n")
    path.write_text(yaml.safe_dump(SHARED | {"name": "x"}))
    assert [study.path for study in orphans.sharing(load.study(path))] == [path, Path("config/y.yaml")]
