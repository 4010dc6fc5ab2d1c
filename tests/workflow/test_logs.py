"""What a job's log holds after attempts that failed, were killed, and ended well."""

import re

import pytest

TEXT = "results/smoke/text/text.json"
HEADER = r"--- attempt (\d+), \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, \S+"


@pytest.fixture
def attempt(clone):
    """An attempt at the job `text`, whose command is a shell script; returns the log and what Snakemake printed."""
    programs = clone.folder / "programs"
    programs.mkdir()
    clone.environment["PATH"] = f"{programs}:{clone.environment['PATH']}"
    log = clone.folder / "logs/smoke/text.log"

    def run(script: str, status: int = 1) -> tuple[str, str]:
        (programs / "retscale").write_text(f"#!/bin/sh\n{script}\n")
        (programs / "retscale").chmod(0o755)
        done = clone.snakemake(TEXT, status=status)
        return log.read_text(), done.stdout + done.stderr

    return run


def test_a_log_keeps_all_attempts_in_order_until_one_ends_well(attempt, clone):
    attempt("echo first; exit 1")
    attempt("echo second; kill -9 $$")
    clone.environment["SLURM_JOB_ID"] = "17"
    text, printed = attempt("echo third >&2; kill -9 $PPID $$")
    pattern = rf"{HEADER}\nfirst\n{HEADER}\nsecond\n.*Killed .*\n{HEADER}, Slurm job 17\nthird\n"
    assert re.fullmatch(pattern, text).groups() == ("1", "2", "3") and text in printed
    text, _ = attempt(f"echo fourth; echo > {TEXT}", status=0)
    assert text.count("--- attempt ") == 4 and text.endswith("fourth\n")
    assert not (clone.folder / "logs/smoke/text.log~").exists()
    (clone.folder / TEXT).unlink()
    text, _ = attempt("exit 1")
    assert re.fullmatch(rf"{HEADER}, Slurm job 17\n", text)[1] == "1"


def test_a_command_that_is_missing_is_named_in_its_own_attempt(attempt, clone):
    attempt("exit 1")
    text, _ = attempt("nothing-of-this-name")
    assert text.splitlines()[-1].endswith("nothing-of-this-name: not found") and text.count("--- attempt ") == 2


@pytest.mark.parametrize("study", ["smoke", "mini"])
def test_every_command_begins_an_attempt_in_the_log_of_its_job(dry_run, study):
    text = dry_run(study)
    logs = re.findall(r"^    log: (.*)$", text, re.M)
    assert re.findall(r"attempt (logs/\S+); ", text) == logs and len(logs) == len(re.findall("^rule ", text, re.M))
