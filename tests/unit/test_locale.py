"""Arguments, file names and output are UTF-8, whatever the locale says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "workflow"
LOCALE = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONPATH": str(PACKAGE)}


def retscale(*arguments: str, **locale: str) -> str:
    """What the command prints where nothing but ASCII is promised."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG"))}
    done = subprocess.run(
        [sys.executable, "-m", "retscale", *arguments], env=environment | LOCALE | locale, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
    return done.stdout.decode("utf-8")


@pytest.mark.parametrize(
    "locale", [{}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "1", "PYTHONIOENCODING": "ascii"}]
)
@pytest.mark.parametrize("folder", ["run", "größe"])
def test_a_run_is_printed_in_any_locale(tmp_path, folder, locale):
    (tmp_path / folder).mkdir()
    run = pd.DataFrame({"query_id": ["q"], "doc_ids": [["é", "中"]], "scores": [[1.5, 1.0]]})
    run.to_parquet(tmp_path / folder / "t.parquet")
    assert retscale("trec", str(tmp_path / folder / "t.parquet"), **locale) == (
        "q Q0 é 1 1.5 retscale\nq Q0 中 2 1.0 retscale\n"
    )


def test_a_spec_and_the_paths_in_it_are_read_in_any_locale(tmp_path):
    rows, out = tmp_path / "größe" / "中.jsonl", tmp_path / "größe" / "pairs.json"
    rows.parent.mkdir()
    rows.write_text('{"query": "größe?", "positive": "中文"}\n', encoding="utf-8")
    spec = {"id": "a", "source": {"kind": "file", "path": str(rows)}}
    retscale("pairs", "--spec", json.dumps(spec, ensure_ascii=False), "--out", str(out))
    assert pd.read_parquet(out.with_name("pairs.parquet"))["query"].tolist() == ["größe?"]
    assert json.loads(out.with_name("pairs.record.json").read_text(encoding="utf-8"))["spec"] == spec
