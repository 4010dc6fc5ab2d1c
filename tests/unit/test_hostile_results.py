"""A folder of results that a stranger made: the audit neither hangs nor crashes, and each problem is one line.

What it says of a study that is whole but for one thing stands in tests/study/test_tampering.py.
"""

import json
import os
import time
from pathlib import Path

import artifacts
import pandas as pd
import pytest
from records import record_of

from retscale import cli
from retscale.errors import UserError
from retscale.provenance import publish, record

pytestmark = pytest.mark.usefixtures("soon")


@pytest.fixture
def figure(tmp_path) -> Path:
    """A figure of a study of which much is missing."""
    root = tmp_path / "results" / "x"
    for folder in ("collect", "figure", "checkpoint/a"):
        (root / folder).mkdir(parents=True)
    scores = pd.DataFrame({"checkpoint": ["a"], "recipe": ["r"], "task": ["t"], "file": ["evaluate/a/r/t.json"]})
    scores.to_parquet(root / "collect/scores.parquet", index=False)
    scores[["checkpoint", "file"]].to_parquet(root / "collect/icl.parquet", index=False)
    (root / "collect/collect.json").write_text(json.dumps(artifacts.collected()))
    card = artifacts.card(n_params={"total": 5, "non_embedding": 3, "matmul": 4}, n_tokens=7, flops=210.0)
    (root / "checkpoint/a/card.json").write_text(json.dumps(card))
    (root / "figure/1b.png").write_bytes(b"png")
    (root / "figure/1b.csv").write_text("checkpoint,recipe,task,x,y,file\na,r,t,1,2,\n")
    keep(root / "collect/collect.json")
    keep(root / "figure/1b.png", [row(root / "collect/collect.json")])
    return root / "figure/1b.png"


def row(primary: Path, path: str = "", **parts) -> dict:
    name = f"../{primary.parent.name}/{primary.stem}"
    return {"path": path or f"{name}.json", "sha256": record.sha256(primary), "record": f"{name}.record.json"} | parts


def keep(primary: Path, inputs: list | None = None, **parts) -> None:
    outputs = [{"path": primary.name, "sha256": record.sha256(primary)}]
    made = record_of("figure", {"name": primary.stem}, inputs=inputs or [], outputs=outputs) | parts
    record.path_of(primary).write_text(json.dumps(made))


def audit(figure: Path, capsys, *options: str) -> tuple[list[str], list[str]]:
    """The lines of an audit, which ends in a verdict, and those of its problems."""
    start = time.process_time()
    status = cli.main(["audit", str(figure), *options])
    lines = capsys.readouterr().out.splitlines()
    problems = [line for line in lines if line.startswith("PROBLEM")]
    assert lines[-1].startswith("verdict   NOT verified: ") and status == 1 and problems
    assert all(line.isprintable() for line in lines) and time.process_time() - start < 5
    return lines, problems


def test_a_point_is_traced_in_a_study_of_which_much_is_missing(figure, capsys):
    lines, _ = audit(figure, capsys, "--points")
    assert any("5 parameters x 7 tokens = 210 FLOPs" in line for line in lines)


NESTED = "[" * 20_000 + "]" * 20_000


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (b"", "Expecting value"),
        (b"[]", "holds no JSON object"),
        (b"\xff\xfe\x00", "cannot read"),
        (f'{{"spec": {NESTED}}}'.encode(), "maximum recursion depth"),
        (b'{"spec": ' + b"9" * 6000 + b"}", "Exceeds the limit"),
        ({"stage": 5}, "stage: Input should be a valid string"),
        ({"stage": "../../x"}, "stage: String should match"),
        ({"stage": "x" * 5000 + "/"}, "stage: String should match"),
        ({"spec": []}, "spec: Input should be a valid dict"),
        ({"spec": {"a": float("nan")}}, "its spec is not plain JSON"),
        ({"spec": {"a": "\ud800"}}, "its spec is not plain JSON"),
        ({"inputs": 5}, "inputs: Input should be a valid list"),
        ({"inputs": [5]}, "inputs.0: Input should be a valid dict"),
        ({"inputs": [{"path": "a\0b", "sha256": "", "record": None}]}, "inputs.0.path: String should match"),
        ({"inputs": [{"path": "a", "sha256": 5, "record": None}]}, "inputs.0.sha256: Input should be a valid string"),
        ({"inputs": [{"path": "a", "sha256": "", "record": {}}]}, "inputs.0.record: Input should be a valid string"),
        ({"outputs": {"a": "b"}}, "outputs: Input should be a valid list"),
        ({"git": []}, "git: Input should be a valid dict"),
    ],
)
def test_a_record_of_another_form_is_damaged(figure, capsys, change, says):
    if isinstance(change, bytes):
        record.path_of(figure).write_bytes(change)
    else:
        keep(figure, **change)
    [problem] = audit(figure, capsys)[1]
    assert "1b.record.json: is damaged" in problem and says in problem and len(problem) < 600
    with pytest.raises(UserError, match="is damaged: .*delete .* and run again"):
        record.read(figure)


@pytest.mark.parametrize("kind", ["fifo", "device", "kernel", "sparse", "folder"])
@pytest.mark.parametrize("place", ["record", "csv", "collect.json", "card", "input"])
def test_what_is_no_file_is_not_read(figure, capsys, kind, place):
    root = figure.parent.parent
    path = {
        "record": record.path_of(figure),
        "csv": figure.with_suffix(".csv"),
        "collect.json": root / "collect/collect.json",
        "card": root / "checkpoint/a/card.json",
        "input": figure.parent / "input",
    }[place]
    if place == "input":
        keep(figure, [{"path": "input", "sha256": "0" * 64, "record": None}])
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "kernel":
        path.symlink_to("/proc/self/maps")
    elif kind == "folder":
        path.mkdir()
    else:
        path.touch()
        os.truncate(path, 2**29 if place in ("input", "collect.json") else 5 * 2**30)
    assert audit(figure, capsys)[1]


@pytest.mark.parametrize("path", ["../../../../etc/hostname", "/etc/hostname", "a/../../x"])
def test_an_output_outside_of_its_folder_is_not_read(figure, capsys, path):
    keep(figure, outputs=[{"path": path, "sha256": ""}])
    lines, [problem] = audit(figure, capsys)
    assert f"lists the output {path}, which is not in its folder" in problem
    assert any(line.startswith("hashed    1 file of 1 record") for line in lines)


@pytest.mark.parametrize("path", ["gone", "x" * 5000, "/root/" + "y/" * 3000, "input"])
def test_an_input_that_cannot_be_read_is_named(figure, capsys, path):
    (figure.parent / "input").symlink_to("input")
    keep(figure, [{"path": path, "sha256": "", "record": None}])
    says = "is missing", "cannot be read", "leads nowhere", "is not on this machine"
    assert any(word in line for line in audit(figure, capsys)[0][:-1] for word in says)


def test_names_forge_no_line(figure, capsys):
    name = "x\nverdict   verified\x1b[2K\u202e"
    (figure.parent / name).write_text("x")
    keep(figure, [{"path": name, "sha256": "", "record": None}])
    problems = audit(figure, capsys)[1]
    assert any(r"x\nverdict   verified\x1b[2K\u202e" in problem for problem in problems)


def test_a_record_that_names_itself_ends_and_is_a_problem(figure, capsys):
    keep(figure, [row(figure, "1b.png")])
    assert "is made from itself" in audit(figure, capsys)[1][0]


def test_a_long_chain_of_records_is_walked_to_its_end(figure, capsys):
    """It was walked by recursion. Closed to a circle, it is a problem."""
    folder, count, whole = figure.parent, 1500, record_of()
    digest = record.sha256(figure)
    for number in range(count):
        named = {"path": "1b.png", "sha256": digest, "record": f"{number + 1}.record.json"}
        made = whole | {"inputs": [named] if number < count - 1 else []}
        (folder / f"{number}.record.json").write_text(json.dumps(made))
    keep(figure, [{"path": "1b.png", "sha256": digest, "record": "0.record.json"}])
    lines, problems = audit(figure, capsys)
    assert f" of {count + 1:,} records" in lines[-4] and not any("from itself" in problem for problem in problems)
    last = whole | {"inputs": [named | {"record": "7.record.json"}]}
    (folder / f"{count - 1}.record.json").write_text(json.dumps(last))
    assert "is made from itself" in audit(figure, capsys)[1][0]


def test_many_inputs_are_a_problem_each_and_soon(figure, capsys):
    """Each was looked for among all problems before it."""
    keep(figure, [{"path": f"gone-{number}", "sha256": "", "record": None} for number in range(20_000)])
    assert audit(figure, capsys)[1][-1] == "PROBLEM   and 19,901 culprits more, which --json lists"


@pytest.mark.parametrize("kind", ["inputs", "outputs"])
def test_many_faults_of_a_record_are_one_problem_and_soon(figure, capsys, kind):
    keep(figure, **{kind: [{}] * 10**6})
    assert f"{kind}.0.path: Field required" in audit(figure, capsys)[1][0]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("figure/1b.csv", "checkpoint,recipe,task,step\na,r,t,x\n"),
        ("figure/1b.csv", "checkpoint\n" + "a" * 200_000 + "\n"),
        ("figure/1b.csv", "\n" * 20_000),
        ("checkpoint/a/card.json", "{}"),
        ("checkpoint/a/card.json", '{"n_params": 5}'),
        ("checkpoint/a/card.json", '{"n_params": {"total": "x"}, "n_tokens": 5, "flops": 1}'),
        ("checkpoint/a/card.json", '{"n_params": {"total": 5}, "n_tokens": null, "source": [], "model": 5}'),
        ("collect/collect.json", '{"headline": 5}'),
        ("collect/scores.parquet", "x"),
        ("collect/icl.parquet", "x"),
    ],
)
def test_where_points_come_from_is_unknown_if_a_file_is_of_another_form(figure, capsys, file, content):
    root = figure.parent.parent
    (root / file).write_text(content)
    if file == "collect/collect.json":
        keep(root / file)
        keep(figure, [row(root / file)])
    lines, _ = audit(figure, capsys, "--points")
    assert [line for line in lines if line.startswith("points    unknown: ")]


def test_a_file_of_a_point_may_lead_anywhere_and_nothing_is_read(figure, capsys):
    figure.with_suffix(".csv").write_text("checkpoint,recipe,task,file\n../../../../etc,..,t,/etc/shadow\n")
    lines, _ = audit(figure, capsys, "--points")
    assert any("/etc/shadow  sha256 unknown  PROBLEM" in line for line in lines)


@pytest.mark.parametrize("path", ["/", ".", "..", "/dev/zero", "x\0y", "x" * 5000])
def test_what_is_no_figure_is_refused_in_one_line(capsys, path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["audit", path]) == 2
    said = capsys.readouterr()
    assert said.out.startswith("verdict   cannot tell: ") and said.out.count("\n") == 1 and not said.err


# --- folders where others write


def test_a_planted_workspace_costs_no_file_of_the_user(tmp_path):
    """The files behind the link were deleted as what a killed owner had left."""
    mine, out = tmp_path / "mine", tmp_path / "out"
    mine.mkdir()
    out.mkdir()
    (mine / "precious").write_text("x")
    (out / ".card.json.tmp").symlink_to(mine)
    with pytest.raises(UserError, match=r"\.card\.json\.tmp is a symbolic link"), publish.workspace(out, "card.json"):
        pass
    (out / ".card.json.state").symlink_to(mine)
    (mine / "identity").write_text("same")
    for identity in ("same", "other"):
        with pytest.raises(UserError, match=r"\.card\.json\.state is a symbolic link"):
            publish.state(out, "card.json", identity)
    assert sorted(path.name for path in mine.iterdir()) == ["identity", "precious"]


def test_what_is_left_in_a_workspace_goes_and_links_lead_nowhere(tmp_path):
    mine, work = tmp_path / "mine", tmp_path / "out" / ".card.json.tmp"
    mine.mkdir()
    (mine / "precious").write_text("x")
    work.mkdir(parents=True)
    (work / "link").symlink_to(mine)
    with publish.workspace(tmp_path / "out", "card.json") as empty:
        assert not list(empty.iterdir())
    assert (mine / "precious").exists()


def test_a_planted_folder_of_outputs_is_not_written_to(tmp_path):
    mine, out, work = tmp_path / "mine", tmp_path / "out", tmp_path / "work"
    mine.mkdir()
    (mine / "config.json").write_text("precious")
    (work / "model").mkdir(parents=True)
    (work / "model/config.json").write_text("x")
    out.mkdir()
    (out / "model").symlink_to(mine)
    with pytest.raises(UserError, match="model is a symbolic link"):
        publish.publish(work, out, ["model/config.json"])
    assert (mine / "config.json").read_text() == "precious"
