"""Whether the commit that a record names can have made it."""

import subprocess
from pathlib import Path

import pytest

from retscale.audit import commits
from retscale.audit.findings import Findings
from retscale.audit.walk import Node
from retscale.provenance import code

HOME = Path("r/mine/p/negatives.record.json")


@pytest.fixture
def history(tmp_path, monkeypatch) -> list[str]:
    """Two commits of a package whose stage `mine` they change; the code that lies there is that of neither."""

    def git(*arguments: str) -> str:
        settings = ("-c", "user.name=n", "-c", "user.email=e")
        return subprocess.run(["git", *settings, *arguments], cwd=tmp_path, capture_output=True, text=True).stdout

    package = tmp_path / "workflow" / "retscale"
    monkeypatch.setattr(commits, "ROOT", tmp_path)
    monkeypatch.setattr(code, "PACKAGE", package)
    (package / "mine").mkdir(parents=True)
    (package / "__init__.py").touch()
    git("init", "-q")
    made = []
    for number in range(3):
        (package / "mine" / "run.py").write_text(f'"""A stage."""\n\nX = {number}\n')
        if number < 2:
            git("add", ".")
            git("commit", "-qm", "x")
            made.append(git("rev-parse", "HEAD").strip())
    return made


def digest_of(tmp_path: Path, number: int) -> str:
    path = tmp_path / f"at-{number}" / "retscale"
    (path / "mine").mkdir(parents=True, exist_ok=True)
    (path / "__init__.py").touch()
    (path / "mine" / "run.py").write_text(f"X = {number}\n")
    return code.digest("retscale.mine.run", path)


def judged(commit: str, digest: str, dirty: bool | None = False, stage: str = "mine", **more) -> Findings:
    findings = Findings()
    content = {"stage": stage, "code_sha256": digest, "git": {"commit": commit, "dirty": dirty}} | more
    nodes = [Node(path, content, "", None) for path in (HOME, HOME.with_name("x.record.json"))]
    commits.judge(nodes, commits.Commits(), findings)
    return findings


def test_the_commit_that_made_it_is_beyond_doubt(history, tmp_path):
    for number, commit in enumerate(history):
        assert judged(commit, digest_of(tmp_path, number)) == Findings()


def test_a_record_of_another_commit_is_a_culprit(history, tmp_path):
    findings = judged(history[1], digest_of(tmp_path, 0))
    assert findings.problems[HOME] == [f"names the commit {history[1][:12]}, whose code for mine has another digest"]
    assert len(findings.problems) == 2 and findings.status == 1


def test_edited_code_is_known_where_the_commit_or_this_clone_has_the_same(history, tmp_path):
    assert judged(history[0], digest_of(tmp_path, 0), dirty=True) == Findings()  # another stage was edited
    here = code.digest("retscale.mine.run")
    assert judged(history[0], here, dirty=True) == judged("unknown", here, dirty=None) == Findings()
    assert judged(history[0], here, dirty=False).status == 1


def test_another_python_has_other_digests(history, tmp_path):
    findings = judged(history[1], digest_of(tmp_path, 0), packages={"python": "3.8.1"})
    assert not findings.problems and "with Python 3.8.1" in findings.doubts[0]
    assert judged(history[0], digest_of(tmp_path, 0), packages={"python": "3.8.1"}) == Findings()


@pytest.mark.parametrize(
    "commit, dirty, stage, why",
    [
        (None, True, "mine", "edited code of the commit {}"),
        ("unknown", None, "mine", "code in no clone"),
        ("0" * 40, False, "mine", "the commit {}, which this clone lacks"),
        ("--output=x", False, "mine", "the commit {}, which this clone lacks"),
        (None, False, "fit", "the commit {}, whose code lacks the stage fit"),
    ],
)
def test_what_no_commit_proves_is_a_doubt(history, tmp_path, commit, dirty, stage, why):
    commit = commit or history[0]
    findings = judged(commit, digest_of(tmp_path, 5), dirty, stage)
    assert findings.doubts == [f"2 records made by {why.format(commit[:12])}: nothing proves the code"]
    assert findings.status == 2 and not (tmp_path / "x").exists()
