"""`retscale diff`: of two studies that differ in one known place it names that place, and nothing downstream of it."""

import json
from pathlib import Path

import pandas as pd
import pytest
from records import record_of

from retscale.cli import main
from retscale.collect import run as collect
from retscale.collect.summary import CollectSummary
from retscale.common.files import sha256_of
from retscale.common.tables import write_tables
from retscale.diff import scores
from retscale.diff.scores import IN_CONTEXT
from retscale.provenance.record import canonical, path_of

CHECKPOINTS, TASKS = ("c", "d"), ("t", "u")
JOBS = {
    "pairs/p/pairs.json": [],
    **{f"task/{task}/task.json": [] for task in TASKS},
    **{f"checkpoint/{id}/card.json": [] for id in CHECKPOINTS},
    **{f"finetune/{id}/r/encoder.json": ["pairs/p/pairs.json", f"checkpoint/{id}/card.json"] for id in CHECKPOINTS},
    **{
        f"evaluate/{id}/r/{task}.json": [f"finetune/{id}/r/encoder.json", f"task/{task}/task.json"]
        for id in CHECKPOINTS
        for task in TASKS
    },
    **{f"icl/{id}/i.json": [f"checkpoint/{id}/card.json"] for id in CHECKPOINTS},
}
SPECS = {"finetune": {"seed": 1, "recipe": {"lr": 0.1}}, "evaluate": {"k": 100}}


def study(root: Path, changes: dict[str, dict] | None = None, jobs: dict[str, list[str]] = JOBS) -> Path:
    """The records of a study and its tables, whose every byte and value follows from what is recorded upstream of it.

    `changes` are made to the records whose paths begin so; `salt` changes an output that nothing recorded explains.
    """
    sha256, rows = {}, {}
    for output, reads in jobs.items():
        stage = output.split("/")[0]
        up = "../" * output.count("/")
        inputs = [
            {"name": "in", "path": up + name, "sha256": sha256[name], "record": up + str(path_of(Path(name)))}
            for name in reads
        ]
        if stage == "pairs":
            inputs.append({"name": "outside", "path": f"{root}/own.jsonl", "sha256": "1" * 64, "record": None})
        content = record_of(
            stage, SPECS.get(stage, {}), inputs=inputs, packages={"torch": "2.13"}, notes={"threads": 1}
        )
        content |= {"code_sha256": "0" * 64, "machine": {"host": str(root), "cpu": "x"}}
        content["machine"]["accelerators"] = [{"name": "H100", "peak_bytes": len(str(root))}]
        salt = ""
        for path, change in (changes or {}).items():
            if output.startswith(path):
                salt += change.get("salt", "")
                content |= {key: value for key, value in change.items() if key != "salt"}
        if any(output.startswith(path) and "outside" in change for path, change in (changes or {}).items()):
            content["inputs"] = [row if row["record"] else row | {"sha256": "2" * 64} for row in content["inputs"]]
        made_of = [content["spec"], [row["sha256"] for row in content["inputs"]], salt]
        sha256[output] = sha256_of(canonical({"": made_of}).encode())
        content["outputs"] = [{"path": Path(output).name, "sha256": sha256[output]}]
        path = root / path_of(Path(output))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        if stage in ("evaluate", "icl"):
            rows[output] = {"checkpoint": output.split("/")[1], "task": Path(output).stem, "file": output}
            rows[output] |= {"sha256": sha256[output], "value": int(sha256[output][:6], 16) / 16**6}
    collected(root, list(rows.values()))
    return root


def collected(root: Path, rows: list[dict]) -> None:
    last = [row | {"recipe": "r", "metric": "m"} for row in rows if not row["file"].startswith("icl")]
    tables = {
        "scores": pd.DataFrame(last),
        "curves": pd.DataFrame(columns=collect.CURVE_COLUMNS),
        "icl": pd.DataFrame(
            [row for row in rows if row["file"].startswith("icl")], columns=collect.ICL_COLUMNS + ["checkpoint"]
        ),
    }
    about = {"study": "s", "headline": {}, "recipes": ["r"], "main_recipe": "r", "rows": {}}
    (root / "collect").mkdir()
    write_tables(root / "collect/collect.json", CollectSummary, tables, about)
    (root / "collect/collect.record.json").write_text(json.dumps(record_of("collect", code_sha256="0" * 64)))


def diff(capsys, *arguments: object) -> tuple[int, dict]:
    capsys.readouterr()
    status = main(["diff", *map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out or "{}")


RECIPE = {"seed": 1, "recipe": {"lr": 0.2}}


@pytest.mark.parametrize(
    "changes, stage, kind, text, count",
    [
        ({"pairs": {"outside": ""}}, "pairs", "data", f"outside own.jsonl: {'1' * 12} -> {'2' * 12}", 4),
        ({"task/t": {"spec": {"max": 5}}}, "task", "spec", "max: (none) -> 5", 2),
        ({"finetune": {"spec": SPECS["finetune"] | {"seed": 2}}}, "finetune", "seed", "seed: 1 -> 2", 4),
        ({"finetune/c": {"spec": RECIPE}}, "finetune", "recipe", "recipe.lr: 0.1 -> 0.2", 2),
        ({"evaluate/c/r/u": {"code_sha256": "1" * 64, "salt": "x"}}, "evaluate", "code", "commit unknown -> unknown", 1),
        ({"checkpoint/d": {"packages": {"torch": "3"}, "salt": "x"}}, "checkpoint", "package", 'torch: "2.13" -> "3"', 3),
        ({"finetune/d": {"machine": {"cpu": "y"}, "salt": "x"}}, "finetune", "hardware", 'cpu: "x" -> "y"', 2),
        ({"finetune/d": {"notes": {"threads": 2}, "salt": "x"}}, "finetune", "hardware", "threads: 1 -> 2", 2),
        (
            {"finetune/d": {"machine": {"cpu": "x", "accelerators": [{"name": "H200", "peak_bytes": 2}]}, "salt": "x"}},
            "finetune", "hardware", 'accelerators: ["H100"] -> ["H200"]', 2,
        ),
        ({"task/u": {"notes": {"read": {"a": "b"}}, "salt": "x"}}, "task", "data", 'read a: (none) -> "b"', 2),
        ({"evaluate/c": {"salt": "x"}}, "evaluate", "unknown", "outputs differ though everything recorded is the same", 2),
        # What differs downstream of it, or along with it, is not first.
        ({"": {"code_sha256": "1" * 64}, "checkpoint/c": {"salt": "x"}}, "checkpoint", "code", "commit", 3),
        ({"finetune": {"spec": RECIPE}, "evaluate": {"spec": {"k": 5}}}, "finetune", "recipe", "recipe.lr", 4),
        ({"finetune": {"spec": RECIPE, "code_sha256": "1" * 64}}, "finetune", "recipe", "0.2; also code", 4),
    ],
)  # fmt: skip
def test_the_first_difference_is_named_once_for_all_that_it_touches(
    changes, stage, kind, text, count, tmp_path, capsys
):
    a, b = study(tmp_path / "a"), study(tmp_path / "b", changes)
    status, shown = diff(capsys, a, b)
    assert status == 1 and shown["verdict"] == "different" and shown["shared"] == 6
    causes = [cause for cause in shown["causes"] if cause["stage"] == stage]
    assert len(causes) == 1 and causes == shown["causes"] and causes[0]["kind"] == kind
    assert text in causes[0]["text"]
    assert len(causes[0]["scores"]) == shown["different"] == count


def test_equal_studies_are_the_same_whatever_machine_made_them(tmp_path, capsys):
    a = study(tmp_path / "a")
    b = study(tmp_path / "b", {"": {"machine": {"cpu": "y"}, "packages": {"torch": "3"}}})
    assert diff(capsys, a, b) == (0, {"a": str(a), "b": str(b), "tolerance": 1e-4, "verdict": "same", "shared": 6}
        | {"different": 0, "causes": [], "only_a": [], "only_b": []})  # fmt: skip
    assert main(["diff", str(a), str(b)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "verdict   the same: 0 of 6 shared scores differ by more than 0.0001, 0 only in one study"
    )


def test_within_the_tolerance_scores_are_the_same(tmp_path, capsys):
    a, b = study(tmp_path / "a"), study(tmp_path / "b", {"evaluate/c/r/t": {"salt": "x"}})
    score = diff(capsys, a, b)[1]["causes"][0]["scores"][0]
    gap = abs(score["a"] - score["b"])
    assert diff(capsys, a, b, "--tolerance", gap * 1.01)[0] == 0
    assert diff(capsys, a, b, "--tolerance", gap * 0.99)[0] == 1
    assert main(["diff", str(a), str(b), "--tolerance", "-1"]) == 2


def test_what_only_one_study_has_is_said_and_is_a_difference(tmp_path, capsys):
    a = study(tmp_path / "a")
    b = study(tmp_path / "b", jobs={name: reads for name, reads in JOBS.items() if "/d/" not in name})
    status, shown = diff(capsys, a, b)
    assert (status, shown["shared"], shown["different"], shown["only_b"]) == (1, 3, 0, [])
    assert [(key["checkpoint"], key["recipe"], key["task"]) for key in shown["only_a"]] == [
        ("d", "r", "t"), ("d", "r", "u"), ("d", IN_CONTEXT, "i")
    ]  # fmt: skip
    main(["diff", str(a), str(b)])
    assert "only a    d / r: 2 scores" in capsys.readouterr().out


def test_a_table_that_was_altered_is_not_blamed_on_its_results(tmp_path, capsys):
    a, b = study(tmp_path / "a"), study(tmp_path / "b")
    table = pd.read_parquet(b / "collect/scores.parquet")
    for path in (b / "collect").iterdir():
        path.unlink()
    (b / "collect").rmdir()
    icl = pd.read_parquet(a / "collect/icl.parquet")[["checkpoint", "task", "file", "sha256", "value"]]
    collected(b, [*table.assign(value=table["value"] / 2).to_dict("records"), *icl.to_dict("records")])
    (cause,) = diff(capsys, a, b)[1]["causes"]
    assert (cause["stage"], cause["kind"], len(cause["scores"])) == ("collect", "unknown", 4)


def test_bits_per_byte_are_scores_and_older_tables_have_none(tmp_path):
    versions = []
    for bits in (2.0, None):
        root = study(tmp_path / str(bits))
        icl = pd.read_parquet(root / "collect/icl.parquet").drop(columns="bits_per_byte")
        tables = {"scores": pd.read_parquet(root / "collect/scores.parquet")}
        tables["icl"] = icl.assign(bits_per_byte=[bits, *[None] * (len(icl) - 1)]) if bits else icl
        tables["curves"] = pd.DataFrame(columns=collect.CURVE_COLUMNS)
        summary = json.loads((root / "collect/collect.json").read_text())
        write_tables(root / "collect/collect.json", CollectSummary, tables, summary)
        versions.append(scores.read(root))
    newer, older = versions
    (key,) = newer.keys() - older.keys()
    assert key.metric == "bits_per_byte" and newer[key].value == 2.0
    assert older.keys() < newer.keys() and {key.metric for key in older} == {"m", "value"}


def test_scores_at_further_lengths_are_scores_of_their_own(tmp_path):
    """Those of an encoder's own length stand there already."""
    source = {"metric": "m", "file": "f", "sha256": "0" * 64}
    row = {"checkpoint": "a", "recipe": "r", "task": "t"} | source
    last = pd.DataFrame([row | {"value": 0.5}])
    rows = [row | {"length": 64, "own": True, "value": 0.5}, row | {"length": 128, "own": False, "value": 0.6}]
    tables = {"scores": last, "curves": pd.DataFrame(columns=collect.CURVE_COLUMNS), "lengths": pd.DataFrame(rows)}
    tables["icl"] = pd.DataFrame(columns=[*collect.ICL_COLUMNS, "checkpoint"])
    about = {"study": "s", "headline": {}, "recipes": ["r"], "main_recipe": "r", "rows": {}}
    (tmp_path / "collect").mkdir()
    write_tables(tmp_path / "collect/collect.json", CollectSummary, tables, about)
    values = {str(key): score.value for key, score in scores.read(tmp_path).items()}
    assert values == {"a / r / t  m": 0.5, "a / r / 128 tokens / t  m": 0.6}


def test_a_chain_that_is_broken_says_where(tmp_path, capsys):
    a, b = study(tmp_path / "a"), study(tmp_path / "b", {"finetune/c": {"spec": RECIPE}})
    (b / "finetune/c/r/encoder.record.json").write_text((a / "finetune/c/r/encoder.record.json").read_text())
    (cause,) = diff(capsys, a, b)[1]["causes"]
    assert cause["kind"] == "unknown" and "b/finetune/c/r/encoder.record.json is not of the" in cause["text"]
    (b / "finetune/c/r/encoder.record.json").unlink()
    (cause,) = diff(capsys, a, b)[1]["causes"]
    assert (cause["stage"], cause["kind"], len(cause["scores"])) == ("finetune", "unknown", 2)
    assert "b/finetune/c/r/encoder.record.json" in cause["text"]


def test_what_cannot_be_compared_is_one_line_and_a_2(tmp_path, capsys):
    a = study(tmp_path / "a")
    (tmp_path / "empty").mkdir()
    others = {
        name.replace("/t", "/v").replace("/u", "/w").replace("/i", "/j"): [] for name in JOBS if "pairs" not in name
    }
    other = study(tmp_path / "other", jobs=others)
    damaged = study(tmp_path / "damaged")
    (damaged / "collect/scores.parquet").write_bytes(b"PAR1")
    for b, why in {
        tmp_path / "empty": "holds no collected results",
        tmp_path / "none.yaml": "none.yaml",
        a: "are the same results",
        other: "share no score, so they cannot be compared: one has the tasks i, t, u, the other j, v, w",
        damaged: "is not the table that",
    }.items():
        assert main(["diff", str(a), str(b)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("retscale diff: error: ") and why in line
