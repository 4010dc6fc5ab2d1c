"""Trainings in TensorBoard or trackio: what a tracker gets, from whom, and that no result knows of it."""

import hashlib
import importlib.util
import os
from pathlib import Path

import minimal
import pytest
import warm
from accelerate import tracking as trackers
from topics import finished, inputs, log, make, port, spec

from retscale.clean import orphans
from retscale.cluster.launch import command, tracked
from retscale.common.environment import TRACKER, TRACKER_FOLDER
from retscale.errors import UserError
from retscale.finetune.run import run
from retscale.paths import logs
from retscale.study import load, preflight, specs
from retscale.study.study import Study

STUDY = minimal.study("beir-fiqa")


class Fake(trackers.GeneralTracker):
    """Writes what it gets, a line each, to a file of its process."""

    name = "fake"
    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str, **_: object):
        super().__init__()
        self.run_name, self.path = run_name, Path(logging_dir, f"{trackers.PartialState().process_index}.txt")

    @property
    def tracker(self) -> None:
        """Nothing that another might use."""

    def start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write("start", self.run_name)

    def log(self, values: dict, step: int | None = None, **_: object) -> None:
        self._write("log", step, values)

    def store_init_configuration(self, values: dict) -> None:
        raise AssertionError("not asked for")

    def finish(self) -> None:
        self._write("finish")

    def _write(self, *values: object) -> None:
        with self.path.open("a") as file:
            file.write(repr(values) + "\n")

    @staticmethod
    def lines(path: Path) -> list[tuple]:
        return [eval(line) for line in path.read_text().splitlines()]  # of our own making


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    return make(tmp_path_factory.mktemp("study"))


@pytest.fixture
def fake(monkeypatch, tmp_path) -> Path:
    """The folder of a tracker that accelerate knows and a launch asks for."""
    monkeypatch.setitem(trackers.LOGGER_TYPE_TO_CLASS, "fake", Fake)
    monkeypatch.setenv(TRACKER, "fake")
    monkeypatch.setenv(TRACKER_FOLDER, str(tmp_path / "tracked"))
    return tmp_path / "tracked"


def trained(study: Path, out: Path) -> dict[str, str]:
    """The sha256 of each file of an encoder, by its path."""
    for folder in (out, out.with_name(f"{out.name}.state")):
        folder.mkdir()
    run(spec(log_every=5), inputs(study), out, out.with_name(f"{out.name}.state"))
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_tracker_gets_the_lines_of_the_log_and_the_encoder_is_the_same(study, tmp_path, fake, monkeypatch):
    files = trained(study, tmp_path / "with")
    first, *reported, last = Fake.lines(fake / "0.txt")
    assert first == ("start", "tiny/r") and last == ("finish",)
    lines = log(tmp_path / "with")
    assert [step for _, step, _ in reported] == [line["step"] for line in lines] == [5, 10, 12]
    for (_, step, values), line in zip(reported, lines, strict=True):
        assert values.pop("tokens_per_s") > 0 and values | {"step": step} == line
    monkeypatch.delenv(TRACKER)
    assert trained(study, tmp_path / "without") == files
    assert len(Fake.lines(fake / "0.txt")) == 5


@pytest.mark.slow
def test_of_two_processes_the_first_reports(study, tmp_path):
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port(), "ACCELERATE_USE_CPU": "1"}
    world |= {TRACKER: "fake", TRACKER_FOLDER: str(tmp_path / "tracked")}
    for name in ("out", "state"):
        (tmp_path / name).mkdir()
    job = spec(log_every=5), inputs(study), tmp_path / "out", tmp_path / "state"
    ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    finished([warm.Process(_with_fake, *job, environment={**os.environ, **world, **rank}) for rank in ranks])
    assert [path.name for path in (tmp_path / "tracked").iterdir()] == ["0.txt"]
    assert [step for _, step, _ in Fake.lines(tmp_path / "tracked/0.txt")[1:-1]] == [5, 10, 12]


def _with_fake(*job) -> None:
    trackers.register_tracker_class(Fake)
    run(*job)


def test_a_package_that_is_missing_is_named_before_anything_else(study, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv(TRACKER, "trackio")
    monkeypatch.setenv(TRACKER_FOLDER, str(tmp_path / "tracked"))
    with pytest.raises(
        UserError, match=r"^tracker \(RETSCALE_TRACKER\): the package trackio is not installed; .* -m pip"
    ):
        run(spec(), {}, tmp_path, tmp_path)
    with pytest.raises(
        UserError, match="s.yaml: tracker: the package tensorboard is not installed; .* or remove the key"
    ):
        preflight.check_tracker(study_of(tmp_path, "tensorboard"))
    preflight.check_tracker(study_of(tmp_path))


def study_of(folder: Path, tracker: str = "") -> Study:
    path = folder / "s.yaml"
    path.write_text(STUDY + (f"tracker: {tracker}\n" if tracker else ""))
    return load.study(path)


def test_no_spec_knows_of_a_tracker(tmp_path):
    plain, reporting = study_of(tmp_path), study_of(tmp_path, "trackio")
    assert specs.finetune(reporting, "portes2025") == specs.finetune(plain, "portes2025")
    with pytest.raises(UserError, match="tracker: .*wandb"):
        study_of(tmp_path, "wandb")


def test_a_launch_says_which_tracker_and_where():
    prefix = tracked("trackio", Path("logs/s/trackio"))
    assert prefix + command(1, 1, False, False) == (
        "RETSCALE_TRACKER=trackio RETSCALE_TRACKER_FOLDER=logs/s/trackio RETSCALE_PROCESSES=1 python"
    )


def test_its_files_are_orphans_of_a_study_without_it_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = logs("s") / "trackio" / "finetune.db"
    file.parent.mkdir(parents=True)
    file.touch()
    listed = {name: orphans.orphans([study_of(tmp_path, name)]).orphans for name in ("", "trackio")}
    assert [orphan.path for orphan in listed[""]] == [file.parent] and listed["trackio"] == []


@pytest.mark.slow
def test_tensorboard_reads_what_a_training_reports(study, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv(TRACKER, "tensorboard")
    monkeypatch.setenv(TRACKER_FOLDER, str(tmp_path / "tracked"))
    trained(study, tmp_path / "out")
    events = EventAccumulator(str(tmp_path / "tracked/tiny/r"))
    events.Reload()
    read = {event.step: event.value for event in events.Scalars("loss")}
    assert read == pytest.approx({line["step"]: line["loss"] for line in log(tmp_path / "out")})
