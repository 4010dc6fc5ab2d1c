"""`retscale status`: what files and Slurm's queue say of each job."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import ROOT

from retscale.cluster.slurm import Refused, Row, Unanswered
from retscale.plan.jobs import jobs
from retscale.provenance import lock, publish, record
from retscale.status import log, show, table
from retscale.status.look import SIGN_OF_LIFE_S, Seen, look
from retscale.status.queue import Queue
from retscale.study import load

HEADER = "--- attempt {}, 2026-11-26T07:00:00Z, node1\n"
BATCH = "evaluate/d24/own-mini/small"


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield load.study(Path("config/smoke.yaml"))


@pytest.fixture
def place(study, tmp_path):
    return Place(study, tmp_path)


class Place:
    """Results and logs of the smoke study, and its jobs in Slurm."""

    def __init__(self, study, folder: Path):
        self.study, self.jobs = study, {job.label: job for job in jobs(study)}
        self.results, self.logs, self.rows = folder / "results/smoke", folder / "logs/smoke", []

    def write(self, label: str, text: str, unfinished: bool = True, age: float = 0) -> None:
        path = self.logs / f"{label}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (time.time() - age,) * 2)
        if unfinished:
            os.link(path, f"{path}~")

    def make(self, label: str, count: int | None = None) -> None:
        for output in list(self.jobs[label].makes)[:count]:
            path = self.results / output
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            record.path_of(path).touch()

    @contextmanager
    def at_work(self, label: str):
        path = self.results / next(iter(self.jobs[label].makes))
        with publish.workspace(path.parent, path.name):
            yield

    def queue(self, label: str, state: str, **fields: str) -> None:
        values = {
            "node": "",
            "reason": "None",
            "comment": "retscale-here-1",
            "elapsed": "1:02",
            "name": f"smoke/{label}",
        }
        self.rows.append(Row(id=str(len(self.rows) + 1), state=state, **values | fields))

    def look(self) -> list[Seen]:
        queue = Queue.of(self.rows, "smoke", "retscale-here-")
        return look(list(self.jobs.values()), self.results, self.logs, queue)

    def seen(self, label: str) -> Seen:
        return next(seen for seen in self.look() if seen.job.label == label)

    def lines(self) -> list[str]:
        return list(show.lines(self.study, self.look()))


def test_a_job_is_done_with_its_outputs_and_records_and_waits_without(place):
    assert place.seen("text").state == "waiting"
    place.make("text")
    assert place.seen("text").state == "done"
    record.path_of(place.results / "text/text.json").unlink()
    assert place.seen("text").state == "waiting"


def test_who_holds_its_folder_runs_also_where_older_outputs_are(place):
    place.make(BATCH)
    assert place.seen(BATCH).state == "done"
    with place.at_work(BATCH):
        assert place.seen(BATCH).state == "running"
        assert place.seen(BATCH).state == "running"  # a look takes nobody's lock
    assert place.seen(BATCH).state == "done"


def test_a_folder_left_by_a_killed_job_is_not_held(place):
    (place.results / "text/.text.json.tmp").mkdir(parents=True)
    assert place.seen("text").state == "waiting"


def test_a_look_leaves_the_lock_to_others(tmp_path):
    path = publish.lock_path(tmp_path, "a.json")
    assert not lock.is_held(path)
    with lock.held(path, tmp_path):
        assert lock.is_held(path) and lock.is_held(path)
    path.touch()  # of a killed owner
    assert not lock.is_held(path)


def test_an_attempt_that_ended_with_an_error_has_failed(place):
    place.write("text", HEADER.format(1) + "working\nretscale text: error: the wheel is missing\n")
    seen = place.seen("text")
    assert (seen.state, seen.log.error) == ("failed", "retscale text: error: the wheel is missing")
    printed = "\n".join(place.lines())
    assert f"failed\n  text\n      {seen.log.error}\n      logs/smoke/text.log" in printed


def test_a_batch_that_was_made_again_in_vain_has_failed_though_its_outputs_are_there(place):
    place.make(BATCH)
    place.write(BATCH, HEADER.format(1) + "retscale evaluate: error: no\n")
    assert place.seen(BATCH).state == "failed"


def test_an_attempt_without_a_word_runs_while_it_writes_and_has_stopped_later(place):
    place.write("text", HEADER.format(1) + "text: 12/40 documents, 3.1 documents/s, 9 s left\n")
    assert place.seen("text").state == "running"
    place.write("text", HEADER.format(1) + "text: 12/40 documents\n", unfinished=False, age=SIGN_OF_LIFE_S + 1)
    assert place.seen("text").state == "stopped"


def test_the_log_of_an_attempt_that_ended_well_says_nothing_of_the_next(place):
    place.write("text", "Traceback (most recent call last):\nValueError: old\n", unfinished=False)
    assert place.seen("text").state == "waiting"


@pytest.mark.parametrize(
    "text, last, error",
    [
        (HEADER.format(1), "", ""),
        ("retscale text: error: old\n" + HEADER.format(2), "", ""),
        ("retscale text: error: old\n" + HEADER.format(2) + "new\n\n", "new", ""),
        ("retscale text: error: why\nfor 3 more\n", "for 3 more", "retscale text: error: why"),
        ("Traceback (most recent call last):\n  File\nValueError: why\n", "ValueError: why", "ValueError: why"),
        (
            "Traceback (most recent call last):\n  File\nKeyError: 1\n\nDuring\n\nTraceback (most recent call last):\n"
            "  File\nOSError: why\nmore\n",
            "more",
            "OSError: why",
        ),
        ("x" * 100_000 + "\nlast\n", "last", ""),
        ("\xff\n", "\ufffd", ""),
    ],
)
def test_a_log_is_read_from_its_last_attempt(tmp_path, text, last, error):
    path = tmp_path / "a.log"
    path.write_bytes(text.encode("latin-1"))
    read = log.read(path)
    assert (read.last, read.error) == (last, error)
    assert log.read(tmp_path / "none.log") is None


def test_slurm_says_what_runs_and_why_others_wait(place):
    place.queue("text", "RUNNING", node="node7")
    place.write("text", HEADER.format(1) + "text: 12/40 documents, 3.1 documents/s, 9 s left\n", age=1000)
    place.queue(BATCH, "PENDING", reason="Resources")
    place.make(BATCH, 1)
    printed = "\n".join(place.lines())
    assert "running\n  text; job 1 on node7 for 1:02\n      text: 12/40 documents, 3.1" in printed
    assert f"pending\n  {BATCH}; job 2 waits for Resources; 1 of 4 outputs" in printed


def test_jobs_of_other_clones_and_studies_are_not_ours(place):
    place.queue("text", "RUNNING", comment="retscale-there-1")
    place.queue("text", "RUNNING", name="mini/text")
    assert place.seen("text").state == "waiting"


def test_the_job_that_runs_counts_and_not_one_that_ended(place):
    place.queue("text", "RUNNING", node="node7")
    place.queue("text", "TIMEOUT")
    assert place.seen("text").state == "running" and place.seen("text").row.id == "1"


def test_a_job_that_slurm_ended_says_how(place):
    place.queue("text", "OUT_OF_MEMORY")
    place.write("text", HEADER.format(1), age=1000)
    assert "stopped\n  text; job 1 OUT_OF_MEMORY\n      logs/smoke/text.log" in "\n".join(place.lines())


def test_the_jobs_of_a_group_wait_together_and_run_one_by_one(place):
    group = "collect+figure+fit+report"
    place.queue(group, "PENDING", reason="Priority")
    assert {place.seen(label).state for label in ("collect", "fit", "figure/1b", "report")} == {"pending"}
    assert place.seen("leakage").state == "waiting"
    place.rows.clear()
    place.queue(group, "RUNNING", node="node7")
    place.make("collect")
    with place.at_work("fit"):
        states = [place.seen(label).state for label in ("collect", "fit", "report")]
        assert states == ["done", "running", "waiting"] and place.seen("fit").row.node == "node7"


def test_tables_count_by_stage_and_by_checkpoint(place):
    place.make("checkpoint/d16")
    place.write("finetune/d24/own-mini", HEADER.format(1) + "retscale finetune: error: no\n")
    headline, _, *printed = place.lines()
    assert headline == "smoke: 47 jobs: 1 done, 1 failed, 45 waiting"
    rows = [line.split() for line in printed]
    assert ["stage", "jobs", "done", "failed", "waiting"] in rows and ["checkpoint", "4", "1", "-", "3"] in rows
    assert ["d16", "done", "waiting", "waiting", "waiting"] in rows
    assert ["d24", "waiting", "0/2,", "1", "failed", "0/2", "waiting"] in rows


def test_many_checkpoints_are_counted_by_family_and_size(place, monkeypatch):
    monkeypatch.setattr(table, "MOST_CHECKPOINTS", 2)
    printed = [line.split() for line in place.lines()]
    assert ["size", "checkpoints", "checkpoint", "finetune", "evaluate", "icl"] in printed
    assert ["mpt-mini", "0.06M", "2", "0/2", "0/3", "0/3", "0/2"] in printed


def test_of_many_jobs_the_first_are_listed(place, monkeypatch):
    for number, label in enumerate(place.jobs):
        place.queue(label, "PENDING", reason=f"Reason{number}")
    printed = place.lines()
    assert printed[-1] == "  and 27 more" and sum("waits for" in line for line in printed) == 20


def test_it_watches_until_nothing_has_run_for_three_looks(capsys):
    answers, slept = iter([True, False, False, True, False, False, False]), []
    show.watch(lambda: next(answers), True, slept.append)
    assert next(answers, None) is None and slept == [show.EVERY_S] * 6
    assert capsys.readouterr().out == show.CLEAR * 7


@pytest.mark.parametrize("error", [Unanswered("timed out"), Refused("invalid user")])
def test_without_slurm_it_says_so_and_shows_the_rest(place, monkeypatch, error):
    monkeypatch.setattr("retscale.cluster.slurm.jobs", lambda timeout: (_ for _ in ()).throw(error))
    rows, problem = show.slurm_jobs()
    assert rows == [] and str(error) in problem
    assert problem in list(show.lines(place.study, place.look(), problem))


def test_a_machine_without_slurm_has_no_jobs_there(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert show.slurm_jobs() == ([], "")


def test_ten_thousand_jobs_are_seen_in_two_seconds(tmp_path, monkeypatch, capsys):
    """Of processor, with every output on disk but one in ten."""
    tasks = "climate-fever dbpedia fever hotpotqa msmarco nq scifact arguana".split()
    rows = [f"  - {{use: pythia-160m, id: c{i}, tokens: {10**9 + i}, source: {{revision: r{i}}}}}" for i in range(700)]
    text = ["name: ladder", "title: t", "description: d", "checkpoints:", *rows, "pairs: msmarco"]
    text += ["mine: {negatives: 15, top: 200}", "recipes: [portes2025]", f"tasks: [{', '.join(tasks)}]"]
    (tmp_path / "ladder.yaml").write_text("\n".join(text) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/nowhere")
    study = load.study(Path("ladder.yaml"))
    place = Place(study, tmp_path)
    place.results = tmp_path / "results/ladder"
    for label in list(place.jobs)[: len(place.jobs) * 9 // 10]:
        place.make(label)
    before = time.process_time()
    show.show(load.study(Path("ladder.yaml")))
    assert time.process_time() - before < 2
    assert capsys.readouterr().out.startswith(f"ladder: {len(place.jobs):,} jobs: {len(place.jobs) * 9 // 10:,} done, ")
    assert len(place.jobs) > 10_000
