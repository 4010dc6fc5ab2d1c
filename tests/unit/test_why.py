"""`retscale check --why`: the reasons for which jobs run again, in words."""

import json

import pytest
from records import record_of

from retscale.plan import why
from retscale.plan.jobs import Job
from retscale.provenance import record


@pytest.mark.parametrize(
    "then, now, lines",
    [
        ({"a": 1, "b": {"c": [1]}}, {"b": {"c": [1]}, "a": 1}, []),
        ({"recipe": {"lr": 1e-5}}, {"recipe": {"lr": 2e-5}}, ["recipe.lr: 1e-05 -> 2e-05"]),
        ({"a": None}, {"a": 0, "b": "x"}, ["a: null -> 0", 'b: (none) -> "x"']),
        ({"a": {"b": 1}}, {"a": 2}, ['a: {"b":1} -> 2']),
        ({"a": "x" * 99}, {}, [f'a: "{"x" * 56}... -> (none)']),
    ],
)
def test_what_differs_between_two_specs(then, now, lines):
    assert list(why.differences(then, now)) == lines


def test_equal_reasons_are_one_line_with_an_example(tmp_path, monkeypatch):
    def card(id: str) -> Job:
        return Job("checkpoint", (id,), [], {f"{id}/card.json": lambda: {"id": id, "seed": 2, "source": {}}})

    planned = [card("a"), card("b"), card("c"), Job("fit", (), ["b/card.json"], {"fit.json": lambda: {}})]
    planned += [Job("figure", ("1a",), ["fit.json"], {"1a.png": lambda: {}})]
    monkeypatch.setattr(why, "jobs", lambda study: planned)

    def make(output: str, stage: str, spec: dict, **others) -> None:
        (tmp_path / output).parent.mkdir(exist_ok=True)
        (tmp_path / output).write_text("")
        record.path_of(tmp_path / output).write_text(json.dumps(record_of(stage, spec, **others)))

    for id in "abc":
        make(f"{id}/card.json", "checkpoint", {"id": id, "seed": 1 if id != "c" else 2, "source": {}})
    make("fit.json", "fit", {}, code_sha256="another")
    assert why.why(None, tmp_path) == [
        "checkpoint   seed: 1 -> 2  (2 jobs, such as a)",
        "fit          the code of fit changed  (1 job, such as fit)",
        "fit          its inputs are made again by checkpoint  (1 job, such as fit)",
        "figure       its output is missing  (1 job, such as 1a)",
        "figure       its inputs are made again by fit  (1 job, such as 1a)",
    ]
    for job in planned:
        for output, spec in job.makes.items():
            make(output, job.stage, spec())
    assert why.why(None, tmp_path) == []
