"""A crate of a small study made by hand: what its graph says, what it holds, and what it refuses."""

import importlib.util
import json
import shutil
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crates import croissant, find, problems, reached, rows
from rocrate.rocrate import ROCrate

from retscale import cli
from retscale.common.files import sha256
from retscale.crate import jobs
from retscale.crate.write import write
from retscale.errors import UserError
from retscale.provenance import record

SOURCE = {"kind": "hub", "repo": "a/b"}
FIGURE = "figure/1b.png"
REPORT = {
    "title": "A <toy> study",
    "description": "Made up.",
    "deviations": [],
    "tasks": {"forum": {"licence": "CC0", "origin": "made up"}},
    "checkpoints": {"d1": {"licence": "", "origin": ""}},
}
COMMIT = {"commit": "a" * 40, "dirty": False}


class Study:
    """A folder of results; `job` adds a job as the stages do, with its files and its record."""

    def __init__(self, folder: Path):
        self.root = folder / "results" / "toy"
        self.file = folder / "toy.yaml"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text("name: toy\n")

    def job(self, stage: str, primary: str, inputs: dict, spec: dict, text: str = "{}", git=COMMIT, used: float = 1.5):
        path = self.root / primary
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(
                pa.table({"task": ["a", None], "value": [0.5, 2.0], "n": [1, 2], "fit": [True, False]}), path
            )
        else:
            path.write_text(text)
        rows = record.verified_inputs(inputs, path.parent, outside=("outside",))
        usage = {"seconds": used, "cpu_seconds": 1.0, "peak_bytes": 1, "gpus": 0, "joules": None} if used else None
        made = record.make(stage, spec, stage, rows, path.parent, [path.name], None, 0.0, usage, git)
        record.write(record.path_of(path), made)
        return path

    def write(self, out: Path) -> ROCrate:
        write(jobs.behind(self.root / "report.html"), self.root, self.file, out)
        return ROCrate(out)


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Study:
    """A whole study, to be read only."""
    folder = tmp_path_factory.mktemp("study")
    made = Study(folder)
    (folder / "weights.bin").write_text("w")
    outside = [folder / "weights.bin"]
    card = made.job("checkpoint", "checkpoint/d1/card.json", {"outside": outside}, {"id": "d1", "source": SOURCE})
    task = made.job("task", "task/forum/task.json", {}, {"id": "forum", "source": {"kind": "wheel"}}, "corpus")
    late = made.job("task", "task/late/task.json", {}, {"id": "late", "source": {"kind": "wheel"}}, "corpus 2")
    inputs = {"card": card, "tasks": [task, late]}
    score = made.job("evaluate", "evaluate/d1/a b/forum.json", inputs, {}, used=0)
    table = made.job("collect", "collect/scores.parquet", {"scores": [score]}, {})
    figure = made.job("figure", FIGURE, {"collect": table}, {}, "png")
    made.job("report", "report.html", {"figures": [figure]}, REPORT, "<html>")
    return made


@pytest.fixture(scope="module")
def crate(original) -> ROCrate:
    return original.write(original.file.parent / "crate")


@pytest.fixture
def study(original, tmp_path) -> Study:
    """A copy, to be changed."""
    shutil.copytree(original.file.parent, tmp_path / "here")
    return Study(tmp_path / "here")


def test_it_has_all_that_its_profiles_require(crate):
    assert problems(crate) == []


def test_a_reader_gets_from_a_figure_to_the_weights(original, crate):
    behind = reached(crate, FIGURE)
    outside = f"#outside/{sha256(original.file.parent / 'weights.bin')}"
    assert behind == {
        "collect/scores.parquet",
        "#evaluate/d1/a%20b/forum.json",
        "#checkpoint/d1/card.json",
        "#task/forum/task.json",
        "#task/late/task.json",
        "#data/tasks/forum",
        "#data/tasks/late",
        "#data/checkpoints/d1",
        outside,
    }
    assert crate.get(outside)["name"] == "weights.bin"


def test_what_is_large_or_of_others_is_named_by_its_hash_and_not_copied(original, crate):
    held = {str(path.relative_to(crate.source)) for path in crate.source.rglob("*") if path.is_file()}
    assert {path for path in held if not path.endswith(".record.json")} == {
        *("collect/scores.parquet", FIGURE, "report.html"),
        *("toy.yaml", "Snakefile", "LICENSE", "CITATION.cff", "croissant.json", "ro-crate-metadata.json"),
    }
    for place in ("checkpoint/d1/card.json", "task/forum/task.json"):
        assert crate.get(f"#{place}")["sha256"] == sha256(original.root / place)
    assert (crate.source / FIGURE).read_bytes() == (original.root / FIGURE).read_bytes()


def test_weights_and_texts_need_not_even_be_there(study, tmp_path):
    (study.root / "checkpoint/d1/card.json").unlink()
    (study.root / "task/forum/task.json").unlink()
    assert problems(study.write(tmp_path / "crate")) == []


def test_the_file_that_a_study_extends_is_in_the_crate(study, tmp_path):
    base = tmp_path / "elsewhere" / "toy.yaml"  # named as the study's own file is
    base.parent.mkdir()
    base.write_text("title: t\n")
    write(jobs.behind(study.root / "report.html"), study.root, study.file, tmp_path / "crate", base)
    crate = ROCrate(tmp_path / "crate")
    assert problems(crate) == []
    assert (tmp_path / "crate/base/toy.yaml").read_text() == "title: t\n"
    assert (tmp_path / "crate/toy.yaml").read_text() == "name: toy\n"
    assert {"toy.yaml", "base/toy.yaml"} <= {entity.id for entity in crate.get("#run")["object"]}


def test_the_tables_open_as_croissant_with_the_rows_of_the_parquet(crate):
    assert croissant(crate) == {"scores": rows(crate, "collect/scores.parquet")}


def test_a_job_is_told_with_its_code_times_and_record(original, crate):
    action = crate.get("#job/collect/scores")
    assert (action["startTime"], action["endTime"]) == ("1970-01-01T00:00:00+00:00", "1970-01-01T00:00:01.500+00:00")
    code = action["instrument"]
    assert (code["name"], code["softwareVersion"]) == ("retscale collect", COMMIT["commit"])
    assert code["identifier"] == "sha256 of the stage's code: collect"
    numpy = record.read(original.root / FIGURE)["packages"]["numpy"]
    assert ("numpy", numpy) in {(each["name"], each["softwareVersion"]) for each in code["softwareRequirements"]}
    assert action["subjectOf"].id == "collect/scores.record.json"
    assert record.digest(record.read(original.root / "collect/scores.parquet")) in action["identifier"]


def test_an_end_that_no_record_states_is_not_made_up(crate):
    assert "endTime" not in crate.get("#job/evaluate/d1/a%20b/forum").properties()


def test_licenses_are_those_that_the_study_states_and_else_unknown(crate):
    licences = {each["name"]: each["license"] for each in find(crate, "Dataset") if each.id.startswith("#data")}
    assert licences == {"tasks/forum": "CC0", "tasks/late": "unknown", "checkpoints/d1": "unknown"}
    assert crate.root_dataset["license"]["name"] == "unknown"
    assert crate.mainEntity["license"].id.endswith("/Apache-2.0")


def test_its_root_vouches_for_every_record(original, crate):
    root = record.digest(record.read(original.root / "report.html"))
    assert crate.root_dataset["identifier"] == f"sha256 of the record: {root}"
    for path in original.root.rglob("*.record.json"):
        assert (crate.source / path.relative_to(original.root)).read_bytes() == path.read_bytes()


def test_results_of_several_versions_of_the_code_have_several_instruments(study, tmp_path):
    edited = {"commit": "b" * 40, "dirty": True}
    other = study.job("figure", "figure/2.png", {"collect": study.root / "collect/scores.parquet"}, {}, git=edited)
    study.job("report", "report.html", {"figures": [study.root / FIGURE, other]}, REPORT)
    crate = study.write(tmp_path / "crate")
    versions = {path: crate.get(f"#job/{path}")["instrument"]["softwareVersion"] for path in ("figure/1b", "figure/2")}
    assert versions == {"figure/1b": "a" * 40, "figure/2": "b" * 40 + "-edited"}
    assert problems(crate) == []


def test_no_path_of_the_machine_is_in_the_graph(original, crate):
    assert str(original.file.parent) not in (crate.source / "ro-crate-metadata.json").read_text()


def test_what_another_study_has_made_is_a_file_from_outside(study, tmp_path):
    other = Study(tmp_path / "here" / "other")
    other.root = study.root.parent / "other"
    encoder = other.job("encoder", "encoder/e/encoder.json", {}, {"id": "e", "source": SOURCE})
    mined = study.job("mine", "mine/p/negatives.json", {"encoder": encoder}, {})
    study.job("report", "report.html", {"figures": [study.root / FIGURE], "negatives": [mined]}, REPORT)
    crate = study.write(tmp_path / "crate")
    assert crate.get("#job/mine/p/negatives")["object"].id == f"#outside/{sha256(encoder)}"


def test_published_results_are_named_with_their_license(study, tmp_path):
    results = {"published": {"source": "MTEB", "licence": "CC BY"}, "external": ["CC BY-NC"]}
    table = study.job("external", "external/external.json", {}, {"tables": [{"source": "a paper"}]})
    figure = {"figures": [study.root / FIGURE], "external": table}
    study.job("report", "report.html", figure, REPORT | results)
    crate = study.write(tmp_path / "crate")
    about = {each: crate.get(f"#data/{each}") for each in ("published", "external/1")}
    assert [(each["description"], each["license"]) for each in about.values()] == [
        ("MTEB", "CC BY"),
        ("a paper", "CC BY-NC"),
    ]


def test_a_zip_holds_the_same_and_is_the_same_each_time(original, crate, tmp_path):
    for name in ("1.zip", "2.zip"):
        original.write(tmp_path / name)
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "1.zip") as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held == {
        str(path.relative_to(crate.source)): path.read_bytes() for path in crate.source.rglob("*") if path.is_file()
    }


def older(study, **times) -> None:
    """Let the records be those of an earlier version."""
    for path in study.root.rglob("*.record.json"):
        content = json.loads(path.read_text())
        kept = ("stage", "spec", "spec_sha256", "code_sha256", "inputs", "outputs", "git")
        path.write_text(json.dumps({key: content[key] for key in kept} | times))


def test_the_records_of_an_older_study_make_a_crate(study, tmp_path):
    older(study, started="1999-12-31T23:59:00Z")
    crate = study.write(tmp_path / "crate")
    assert problems(crate) == [] and crate.root_dataset["datePublished"] == "1999-12-31"


def test_a_study_without_any_time_has_no_day_and_is_refused(study, tmp_path):
    older(study)
    with pytest.raises(UserError, match="no record says when its job ran"):
        study.write(tmp_path / "crate")


def changed(study, path: str, change) -> None:
    file = study.root / path
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_figure_that_is_not_what_its_record_says_is_refused(study, tmp_path):
    (study.root / FIGURE).write_text("another")
    with pytest.raises(UserError, match="1b.png is not the file that was made"):
        study.write(tmp_path / "crate")
    assert not (tmp_path / "crate").exists()


def test_a_missing_record_is_named(study, tmp_path):
    (study.root / "task/forum/task.record.json").unlink()
    with pytest.raises(
        UserError, match="task/forum/task.record.json, a provenance record that others name, is missing"
    ):
        study.write(tmp_path / "crate")


def test_an_output_that_lies_elsewhere_is_refused(study, tmp_path):
    changed(study, "figure/1b.record.json", lambda content: content["outputs"][0].update(path="../../../../stolen"))
    with pytest.raises(UserError, match=r"figure/1b.record.json lists ../../../../stolen, which no job can have made"):
        study.write(tmp_path / "crate")


def test_a_result_that_was_made_anew_without_what_rests_on_it_is_refused(study, tmp_path):
    study.job("task", "task/forum/task.json", {}, {"id": "forum", "source": {"kind": "wheel"}}, "another corpus")
    with pytest.raises(UserError, match="task/forum/task.json is not what evaluate/d1/a b/forum.record.json was made"):
        study.write(tmp_path / "crate")


def command(monkeypatch, capsys, folder: Path, *arguments: str) -> tuple[int, str]:
    monkeypatch.chdir(folder)
    status = cli.main(["crate", "toy.yaml", *arguments])
    return status, capsys.readouterr().err


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(study, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlcroissant" else name)
    status, said = command(monkeypatch, capsys, study.file.parent)
    assert status == 1 and "a crate needs mlcroissant, which is not installed; run: make .venv/crate.ok" in said
