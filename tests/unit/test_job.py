"""The life of a job: how it starts, and what it does after another process had the same."""

import gc
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from retscale import job
from retscale.provenance import publish

FILES = ("external.parquet", "external.record.json", "external.json")


def start(folder: Path, source: str) -> subprocess.Popen:
    table = {
        "source": source,
        "metric": "ndcg_at_10",
        "models": None,
        "names": {"fiqa": "fiqa"},
        "splits": {},
        "columns": {},
    }
    spec = json.dumps({"headline": ["fiqa"], "tables": [table]})
    command = ["-m", "retscale", "external", "--spec", spec, "--tables", "table.csv", "--out", "out/external.json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    return subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("same, again", [(True, False), (False, True)])
def test_a_job_ends_if_the_process_that_it_waited_for_has_made_its_product(tmp_path, same, again):
    (tmp_path / "table.csv").write_text("model,task,ndcg_at_10\nx,fiqa,0.5\n")
    first = start(tmp_path, "a paper" if same else "another")
    assert first.wait() == 0, first.stderr.read()
    out, aside = tmp_path / "out", tmp_path / "aside"
    before = {name: (out / name).read_bytes() for name in FILES}
    out.rename(aside)
    with publish.workspace(out, "external.json"):
        second = start(tmp_path, "a paper")
        line = second.stderr.readline()
        assert line == "another process is working in out/.external.json.tmp; waiting for it\n"
        for name in FILES:
            (aside / name).rename(out / name)
    rest = second.communicate()[1]
    assert second.returncode == 0, rest
    assert ("external.json: the process that was waited for has made it; nothing is left to do\n" in rest) is not again
    assert ({name: (out / name).read_bytes() for name in FILES} != before) is again
    assert json.loads((out / "external.record.json").read_bytes())["spec"]["tables"][0]["source"] == "a paper"
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)


def test_imports_are_not_searched_for_garbage_and_all_else_is(tmp_path, monkeypatch):
    enabled = []

    def imported(name):
        enabled.append(gc.isenabled())
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", imported)
    with pytest.raises(ImportError, match=r"retscale\.external\.run"):
        job.run("external", {}, {}, [tmp_path / "external.json"])
    assert enabled == [False] and gc.isenabled()
