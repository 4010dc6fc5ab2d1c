"""`retscale clean`: what is listed is what no study names, and nothing else goes."""

import json
import os
from pathlib import Path

import pytest
from records import record_of

from retscale import paths
from retscale.clean import orphans, stores
from retscale.cli import main
from retscale.errors import UserError
from retscale.plan.jobs import jobs
from retscale.provenance import hash_cache, lock, publish, record
from retscale.study import check, load
from retscale.study.study import Study
from retscale.tokens import store

KEYS = {
    "name": "s",
    "title": "t",
    "description": "d",
    "checkpoints": "[pythia-160m, pythia-410m]",
    "pairs": "msmarco",
    "mine": "{negatives: 15}",
    "recipes": "[{use: portes2025, keep: [20, 60]}]",
    "tasks": "[scifact, nfcorpus]",
    "curve_tasks": "[scifact]",
}


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
    """In an empty folder, where a study is config/s.yaml."""
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()


def study_of(file: str = "s", **keys: str) -> Study:
    path = Path(f"config/{file}.yaml")
    path.write_text("".join(f"{key}: {value}\n" for key, value in (KEYS | keys).items()))
    return load.study(path)


def write(path: Path | str, content: str = "x") -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(content)
    return Path(path)


def finish(study: Study) -> set[Path]:
    """Every file that the study leaves, each of its outputs with a neighbor that only the record names."""
    root, results, files = paths.folder(study.name), paths.Results(), set()
    outputs = [output for job in jobs(study) for output in job.makes]
    outputs += [results.finetune(*encoder) for encoder in study.kept_encoders]
    for output in map(Path, outputs):
        neighbor = f"{output.stem}.parquet" if output.parts[0] in ("evaluate", "tokens", "leakage") else "model/weights"
        neighbor = "1a.pdf" if output.parts[0] in ("figure", "report.html") else neighbor
        rows = [{"path": name, "sha256": "0" * 64} for name in (neighbor, output.name)]
        content = json.dumps(record_of(outputs=rows))
        files.add(write(root / record.path_of(output), content))
        files.add(write(root / output, output.name))
        if output.parts[0] not in ("figure", "report.html"):
            files.add(write(root / output.parent / neighbor))
    for job in jobs(study):
        files |= {write(paths.logs(study.name) / f"{job.label}{end}") for end in (".log", ".tsv")}
    return files


def on_disk() -> set[Path]:
    return {path for top in ("results", "logs", ".state") for path in Path(top).rglob("*") if path.is_file()}


def listed(study: Study) -> set[str]:
    return {str(one.path) for one in orphans.orphans([study]).orphans}


def clean(*arguments: str) -> int:
    return main(["clean", "config/s.yaml", "--orphans", *arguments])


def test_of_a_whole_study_nothing_is_an_orphan(capsys):
    study = study_of()
    finish(study)
    assert clean() == 0
    assert capsys.readouterr().out == "no orphans: everything there is of config/s.yaml\n"
    assert check.orphans(study) == ""


@pytest.mark.parametrize(
    "change, folders",
    [
        (
            {"checkpoints": "[pythia-160m]"},
            [f"results/s/{stage}/pythia-410m" for stage in ("checkpoint", "evaluate", "finetune", "tokens")]
            + [f"logs/s/{stage}/pythia-410m" for stage in ("evaluate", "finetune", "tokens")]
            + ["logs/s/checkpoint/pythia-410m.log", "logs/s/checkpoint/pythia-410m.tsv"],
        ),
        (
            {"recipes": "[{use: portes2025, keep: [60]}]"},
            [
                f"results/s/{stage}/{id}/portes2025/step-20"
                for stage in ("evaluate", "finetune")
                for id in ("pythia-160m", "pythia-410m")
            ],
        ),
    ],
)
def test_what_a_study_names_no_more_goes_and_all_else_stays(change, folders, capsys):
    before = finish(study_of())
    study = study_of(**change)
    assert listed(study) == set(folders)
    assert f"{sum(path.is_relative_to(folder) for path in before for folder in folders):,} files" in check.orphans(
        study
    )
    assert clean() == 0 and on_disk() == before
    assert "nothing is removed" in capsys.readouterr().out
    clean("--delete")
    assert on_disk() == {path for path in before if not any(path.is_relative_to(folder) for folder in folders)}
    assert not any(os.path.lexists(folder) for folder in folders)
    assert listed(study) == set()


def test_a_task_less_leaves_its_files_beside_those_of_others():
    finish(study_of())
    lost = set(listed(study_of(tasks="[scifact]")))
    encoder = "results/s/evaluate/pythia-160m/portes2025"
    assert {f"{encoder}/nfcorpus.{end}" for end in ("json", "parquet", "record.json")} <= lost
    assert "results/s/task/nfcorpus" in lost and not any("scifact" in path for path in lost)


def test_a_study_of_the_same_name_in_config_keeps_what_is_its_own():
    finish(study_of())
    one = study_of(checkpoints="[pythia-160m]")
    study_of("other", checkpoints="[pythia-160m, pythia-410m]")
    assert orphans.orphans(orphans.sharing(one)).orphans == []
    Path("config/other.yaml").write_text("name: s\ntasks: 3\n")
    with pytest.raises(UserError, match="config/other.yaml"):  # what it names nobody knows
        orphans.sharing(one)


def test_left_over_by_the_dead():
    study = study_of()
    finish(study)
    home = "results/s/finetune/pythia-160m/portes2025"
    write(f"{home}/.encoder.json.tmp/model.safetensors", "12345")
    write(f"{home}/.encoder.json.lock", "")
    write(f"{home}/.encoder.json.state/identity")  # of a training that is to go on
    write("results/s/finetune/gone/portes2025/.encoder.json.state/identity")
    write(f"{home}/.encoder.json.lock~{lock.Owner(1, 'never', '', lock.Owner.this().host)}", "")
    write(f"{home}/old.bin")
    names = listed(study)
    assert names == {
        f"{home}/.encoder.json.tmp",
        f"{home}/.encoder.json.lock",
        f"{home}/.encoder.json.lock~1~never~~{lock.Owner.this().host}",
        f"{home}/old.bin",
        "results/s/finetune/gone",
    }
    size = {str(one.path): (one.files, one.bytes) for one in orphans.orphans([study]).orphans}
    assert size[f"{home}/.encoder.json.tmp"] == (1, 5)


def test_a_folder_that_is_named_is_never_listed_itself():
    study = study_of()
    left = write("results/s/finetune/pythia-160m/portes2025/.encoder.json.tmp/log.jsonl").parent
    assert listed(study) == {str(left)}


@pytest.mark.parametrize("marked", [False, True])
def test_what_a_running_job_holds_is_left_alone(marked, capsys):
    finish(study_of())
    study_of(checkpoints="[pythia-160m]")
    home = Path("results/s/finetune/pythia-410m/portes2025")
    own = publish.lock_path(home, "encoder.json")
    with lock.marked(own, home) if marked else lock.held(own, home):
        before = {path for path in on_disk() if "finetune/pythia-410m" in str(path)}
        assert len(before) == 10 + 2
        clean("--delete")
        assert {path for path in on_disk() if "pythia-410m" in str(path)} == before
    assert f"left alone: {home}: a job is at work there" in capsys.readouterr().out
    clean("--delete")
    assert not any("pythia-410m" in str(path) for path in on_disk())


def test_nothing_is_removed_through_a_link(tmp_path, capsys):
    finish(study_of())
    outside = write(tmp_path / "elsewhere/kept")
    write(tmp_path / "elsewhere/too")
    for place in ("results/s/finetune/mine", "results/s/.report.html.tmp/link", "logs/s/own"):
        Path(place).parent.mkdir(exist_ok=True)
        Path(place).symlink_to(outside.parent)
    assert [(one.path.name, one.files) for one in orphans.orphans([study_of()]).orphans] == [(".report.html.tmp", 1)]
    clean("--delete")
    shown = capsys.readouterr().out
    assert outside.exists() and Path("results/s/finetune/mine").is_symlink() and Path("logs/s/own").is_symlink()
    assert not Path("results/s/.report.html.tmp").exists()
    assert "left alone: results/s/finetune/mine: a symbolic link" in shown
    Path("results").rename("moved")
    Path("results").symlink_to("moved")
    before = set(Path("moved").rglob("*"))
    study_of(checkpoints="[pythia-160m]")
    assert clean() == clean("--delete") == 1
    assert "results is a symbolic link" in capsys.readouterr().err
    assert set(Path("moved").rglob("*")) == before


def test_without_a_record_files_may_be_the_jobs_own():
    study = study_of()
    finish(study)
    Path("results/s/checkpoint/pythia-160m/card.record.json").unlink()
    write("results/s/checkpoint/pythia-160m/model/other")
    assert listed(study) == set()


def test_stores_that_serve_no_result():
    study = study_of()
    finish(study)
    used, unused = write(store.STATE / "a/json", "scifact.json"), write(store.STATE / "b/json", "other")
    dead = write(store.STATE / ".c.tmp/passage.ids")
    here = write(hash_cache.STATE / "1.json", json.dumps({"path": str(used.resolve())}))
    gone = write(hash_cache.STATE / "2.json", json.dumps({"path": "/nowhere"}))
    vectors = write(stores.VECTORS / "d/0.npy")
    unfinished = write("logs/s/evaluate/pythia-160m/portes2025/small.log~")

    def unused_stores(*others: Path) -> set[Path]:
        return {one.path for one in stores.orphans([stores.Orphan(path, 1, {}) for path in others]).orphans}

    assert unused_stores() == {unused.parent, dead.parent, gone}
    assert unused_stores(Path("results/s/tokens"), unfinished) == {
        used.parent,
        unused.parent,
        dead.parent,
        gone,
        vectors.parent,
    }
    with lock.held(Path("results/s/.report.html.lock"), Path("results/s")):
        assert unused_stores() == set()
    assert here.exists()
