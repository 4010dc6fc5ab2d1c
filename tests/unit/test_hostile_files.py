"""Files made to deceive, to fill the memory or to hang: each is refused in one line, soon, and nothing of it is scored."""

import gzip
import os
import shutil
import signal
import tracemalloc
from pathlib import Path

import pytest
from pydantic import ValidationError

from retscale.errors import UserError
from retscale.icl import released
from retscale.items.config import JsonlSource
from retscale.pairs import source as pairs
from retscale.study import load, yaml
from retscale.task import beir_folder
from retscale.task.config import FolderSource


@pytest.fixture(autouse=True)
def soon():
    """What hangs fails."""

    def late(*_):
        raise TimeoutError("this took more than 20 s")

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def refused(says: str, call, *arguments) -> str:
    """The one line in which `call` refuses its `arguments`."""
    with pytest.raises(UserError, match=says) as error:
        call(*arguments)
    assert "\n" not in (line := str(error.value)) and len(line) < 1000
    return line


# --- lines of JSON


def long_line(path: Path) -> Path:
    """48 MB on one line; gzipped, 50 kB."""
    line = b'{"_id": "a", "query": "q", "positive": "p", "text": "%s"}\n' % (b"x" * (48 << 20))
    path.write_bytes(gzip.compress(line, 1) if path.suffix == ".gz" else line)
    return path


def read_task(path: Path) -> None:
    (path.parent / "qrels").mkdir()
    (path.parent / "qrels" / "test.tsv").write_text("q\ta\t1\n")
    (path.parent / "queries.jsonl").write_text('{"_id": "q", "text": "t"}\n')
    beir_folder.collect(FolderSource(kind="folder", path=str(path.parent)))


def read_items(path: Path) -> None:
    released.read(path, JsonlSource(kind="jsonl", file=path.name, folder=str(path.parent)), "language_modeling")


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda path: list(pairs.read_file(path)), "pairs.jsonl.gz"),
        (lambda path: list(pairs.read_file(path)), "pairs.jsonl"),
        (read_items, "items.jsonl"),
        (read_task, "corpus.jsonl.gz"),
    ],
)
def test_a_line_without_end_is_refused_in_bounded_memory(read, name, tmp_path):
    path = long_line(tmp_path / name)
    tracemalloc.start()
    refused(f"{name}, line 1: longer than", read, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 << 20


def test_lists_in_lists_of_passages_are_read_without_recursion(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"query": "q", "positive": %s"p"%s}\n' % ("[" * 900, "]" * 900))
    (row,) = pairs.read_file(tmp_path / "x.jsonl")
    assert pairs.texts(row["positive"]) == ["p"]
    refused("a field of texts holds {'text': 't', 'title': 5}", pairs.texts, {"title": 5, "text": "t"})
    refused("a field of texts holds", pairs.texts, {"x": row["positive"]})
    assert pairs.texts([["a", None], {"title": "T", "text": "t"}, ["b"]]) == ["a", "T t", "b"]


def test_a_title_of_many_digits_is_a_text(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": %s, "text": "t"}\n' % ("9" * 400))
    read_task(tmp_path / "corpus.jsonl")
    (tmp_path / "queries.jsonl").unlink()
    shutil.rmtree(tmp_path / "qrels")
    (tmp_path / "corpus.jsonl").write_text('{"_id": %s"a"%s, "text": "t"}\n' % ("[" * 900, "]" * 900))
    refused("line 1: not an object with _id and text", read_task, tmp_path / "corpus.jsonl")


# --- YAML

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
)
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 5000))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(ALIASES, "line 7: more than 1,000,000 values", id="aliases"),
        pytest.param(MERGES, "line 7: more than 1,000,000 values", id="merge keys"),
        pytest.param(CHAIN, "50 levels", id="a chain of aliases"),
        pytest.param("a: " + "[" * 20_000 + "]" * 20_000, "50 levels", id="20,000 lists"),
        pytest.param("{a: " * 20_000 + "}" * 20_000, "50 levels", id="20,000 mappings"),
        pytest.param("a: &a [*a]", r"line 1: \*a stands within what it names", id="itself"),
        pytest.param("a: &a\n  <<: *a", r"line 2: \*a stands within what it names", id="merges itself"),
        pytest.param("a: " + "9" * 6000, "line 1: a number of 6,000 digits", id="6,000 digits"),
        pytest.param("? [a]\n: b", "line 1: a key must be a word", id="a list as a key"),
        pytest.param("? {a: b}\n: c", "line 1: a key must be a word", id="a mapping as a key"),
        pytest.param("a: !!timestamp 2024-13-45", "line 1: the tag .*timestamp", id="an impossible date"),
        pytest.param("a: !!float x", "line 1: the tag .*float", id="a float that is none"),
        pytest.param("a: !!bool maybe", "line 1: the tag .*bool", id="a truth value that is none"),
        pytest.param("a: !!map x", "line 1: the tag .*map", id="a mapping that is none"),
        pytest.param("a: !!int [1]", "line 1: the tag .*int", id="an integer that is none"),
        pytest.param("a: !!python/object/apply:os.system [id]", "line 1: the tag", id="code"),
    ],
)
def test_a_study_that_is_a_bomb_is_refused(text, says, tmp_path):
    (tmp_path / "study.yaml").write_text(text)
    refused(f"study.yaml.*{says}", load.study, tmp_path / "study.yaml")


def test_aliases_and_merge_keys_of_a_plain_study_are_read(tmp_path):
    (tmp_path / "x.yaml").write_text("a: &a {x: 1, y: &y [1, 2]}\nb: {<<: *a, x: 2}\nc: *y\n")
    assert yaml.read(tmp_path / "x.yaml") == {"a": {"x": 1, "y": [1, 2]}, "b": {"x": 2, "y": [1, 2]}, "c": [1, 2]}


def test_an_id_with_a_line_end_is_refused():
    entry = {"id": "fiqa\n", "use": "fiqa"}
    refused(r"the id 'fiqa\\n' is not safe as a file name", load._entry, "task", entry, "tasks.0", "x.yaml")
    with pytest.raises(ValidationError):
        JsonlSource(kind="jsonl", file="x.jsonl", folder="x", sha256="0" * 64 + "\n")
