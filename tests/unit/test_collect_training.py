"""The logs of fine-tuning as a table: all of them, in order, without what a second run would change."""

import json

import pandas as pd
import pytest
import torch
from test_collect_synthetic import write_study

from retscale.collect.run import run
from retscale.common.tables import read_table
from retscale.errors import UserError


@pytest.fixture
def study(tmp_path):
    spec, inputs = write_study(tmp_path / "results", sizes={"40k": 40_000}, levels=(5, 10), queries=12)
    out = tmp_path / "out"
    out.mkdir()
    return spec, inputs, out


def collected(study) -> pd.DataFrame:
    spec, inputs, out = study
    run(spec, inputs, out)
    return read_table(out / "collect.json", "training")


def logs(study):
    return [path.with_name("log.jsonl") for path in study[1]["encoders"]]


def test_every_line_of_every_log_is_a_row_in_order(study):
    table = collected(study)
    key = ["checkpoint", "recipe", "step"]
    assert table[key].equals(table.sort_values(key)[key]) and not table.duplicated(key).any()
    assert len(table) == sum(len(log.read_text().splitlines()) for log in logs(study)) == 20
    for log in logs(study):
        checkpoint, recipe = log.parts[-3:-1]
        rows = table[(table["checkpoint"] == checkpoint) & (table["recipe"] == recipe)]
        assert set(rows["file"]) == {f"finetune/{checkpoint}/{recipe}/log.jsonl"} and set(rows["steps"]) == {45}
        for line, row in zip(log.read_text().splitlines(), rows.to_dict("records"), strict=True):
            told = json.loads(line)
            for name in ("step", "loss", "grad_norm", "lr", "padding"):
                assert row[name] == told[name]


def test_times_and_memory_change_no_byte(study, tmp_path):
    spec, inputs, out = study
    run(spec, inputs, out)
    for log in logs(study):
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        log.write_text("".join(json.dumps(x | {"tokens_per_s": 1.0, "gpu_memory": 7}) + "\n" for x in lines))
    again = tmp_path / "again"
    again.mkdir()
    run(spec, inputs, again)
    for path in out.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name


def test_chance_is_the_loss_of_equal_scores_and_known_for_own_negatives_only(study):
    table = collected(study)
    # The made-up recipe `paper` has four negatives: five passages that a guess cannot tell apart.
    equal = torch.nn.functional.cross_entropy(torch.zeros(1, 5, dtype=torch.float64), torch.tensor([0])).item()
    assert table[table["recipe"] == "paper"]["chance"].to_list() == pytest.approx([equal] * 10, abs=1e-12)
    assert table[table["recipe"] == "microbatch"]["chance"].isna().all()


def test_a_missing_log_names_the_encoder(study):
    log = logs(study)[0]
    log.unlink()
    with pytest.raises(UserError, match=f"encoder {log.parts[-3]} / {log.parts[-2]}: cannot read the log"):
        collected(study)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda lines: lines[:-1] + [lines[-1][:20]], "line 5: invalid JSON"),
        (lambda lines: [lines[0], "[]", *lines[2:]], "line 2: .* object"),
        (lambda lines: [lines[0], "", *lines[1:]], "line 2: invalid JSON"),
        (lambda lines: [lines[0].replace("loss", "lost"), *lines[1:]], "line 1: loss is missing"),
        (
            lambda lines: [lines[0].replace('"padding": 0.0213', '"padding": NaN'), *lines[1:]],
            "line 1: padding: .*finite number, found nan",
        ),
        (lambda lines: [*lines[:2], *lines[1:]], "line 3: step 20 after 20 of 45; steps must increase"),
        (lambda lines: lines[::-1], "line 2: step 40 after 45"),
        (lambda lines: [*lines, lines[-1].replace('"step": 45', '"step": 46')], "line 6: step 46 after 45 of 45"),
        (
            lambda lines: [lines[0].replace('"step": 10', '"step": "ten"'), *lines[1:]],
            "line 1: step: .*integer, found 'ten'",
        ),
        (lambda lines: [], "is empty"),
    ],
)
def test_a_damaged_log_is_refused_with_its_line(study, damage, message):
    log = logs(study)[1]
    log.write_text("\n".join(damage(log.read_text().splitlines())))
    with pytest.raises(UserError, match=message) as error:
        collected(study)
    assert str(log) in str(error.value)
    assert not list(study[2].iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "ghost"}, "ghost"),
        ({"recipe": {"id": "other"}}, "recipe.negatives is missing"),
        ({"steps": 44}, "of 44"),
    ],
)
def test_an_encoder_that_does_not_fit_is_refused(study, change, message):
    path = study[1]["encoders"][0]
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(UserError, match=message) as error:
        collected(study)
    assert str(path) in str(error.value)


def test_without_encoders_there_is_nothing_to_collect(study):
    spec, inputs, out = study
    with pytest.raises(UserError, match="one encoder"):
        run(spec, inputs | {"encoders": []}, out)
