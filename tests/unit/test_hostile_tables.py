"""Parquet files and lines of gzip made to fill the memory, to hang or to crash: refused in one line, soon."""

import gzip
import json
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from retscale import cli
from retscale.collect.results import query_rows
from retscale.common import jsonl, parquet
from retscale.common.terminal import visible
from retscale.errors import UserError
from retscale.evaluate import trec
from retscale.pairs import source as pairs

pytestmark = pytest.mark.usefixtures("soon")

ESCAPE = "\x1b]0;mine\x07\u202e\nverdict   verified"


def refused(says: str, call, *arguments) -> str:
    """The one line in which `call` refuses its `arguments`, soon."""
    start = time.process_time()
    with pytest.raises(UserError, match=says) as error:
        call(*arguments)
    line = str(error.value)
    assert "\n" not in line and len(line) < 1000 and time.process_time() - start < 5
    return line


def repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def write(path, **columns):
    pq.write_table(pa.table(columns), path, compression="zstd", write_statistics=False, dictionary_pagesize_limit=2**28)
    return path


def rows(path):
    return list(pairs.read_file(path))


# --- bombs


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ({"query": ["a" * 300_000_000]}, "has .* bytes and unfolds to 300,0.* or more"),
        ({"query": repeated("a" * 2_000_000, 1_000_000)}, "has .* bytes and unfolds to 536,0.* or more"),
        ({"query": repeated("a" * 2**25, 1_000_000)}, "a dictionary of 33,554,436 bytes"),
        ({"query": pa.nulls(100_000_000, pa.string())}, "has .* bytes and unfolds to 800,.* or more"),
        ({"query": pa.nulls(100_000_000, pa.null())}, "has .* bytes and unfolds to 800,.* or more"),
        ({"query": pa.array([[None] * 50_000_000], pa.list_(pa.int8()))}, "has .* bytes and unfolds to 400,.* or more"),
    ],
    ids=["a page", "a dictionary", "a large dictionary", "empty texts", "nothing", "a list of nothing"],
)
def test_a_bomb_is_refused(columns, says, tmp_path):
    path = write(tmp_path / "x.parquet", **columns)
    assert path.stat().st_size < 2**20
    refused(says, rows, path)
    refused(says, parquet.read, path)


def test_large_values_come_few_at_a_time(tmp_path):
    """Each row of a batch costs as much as the longest value of the dictionary."""
    path = write(tmp_path / "x.parquet", query=repeated("a" * 2**22, 120), positive=["p"] * 120)
    assert parquet.rows_at_a_time(path) == 63
    with pytest.raises(UserError, match="unfolds to"):
        for batch in parquet.batches(path):
            assert batch.nbytes < 2**28


def test_the_size_of_a_dictionary_is_read_from_its_page(tmp_path):
    for length in (1, 100, 10_000, 1_000_000):
        path = write(tmp_path / f"{length}.parquet", a=[1.5] * 3, query=repeated("a" * length, 3))
        chunk = pq.ParquetFile(path).metadata.row_group(0).column(1)
        with path.open("rb") as file:
            assert parquet._dictionary(file, chunk) == length + 4
    path = tmp_path / "plain.parquet"
    pq.write_table(pa.table({"query": ["a"]}), path, use_dictionary=False)
    with path.open("rb") as file:
        assert parquet._dictionary(file, pq.ParquetFile(path).metadata.row_group(0).column(0)) == 0


def test_a_plain_table_is_read_as_pandas_reads_it(tmp_path):
    lists = {"ids": [["a"], []], "scores": [[1.5], []]}
    table = pd.DataFrame({"query_id": ["q", "é"], "n": [1, 2], "x": [0.5, np.nan], "b": [True, False]} | lists)
    table.to_parquet(tmp_path / "x.parquet", index=False)
    pd.testing.assert_frame_equal(parquet.read(tmp_path / "x.parquet"), pd.read_parquet(tmp_path / "x.parquet"))
    some = {"x": "number", "query_id": "text"}
    one = pd.read_parquet(tmp_path / "x.parquet", columns=list(some))
    pd.testing.assert_frame_equal(parquet.read(tmp_path / "x.parquet", some), one)
    packed = parquet.read(write(tmp_path / "y.parquet", a=repeated("é", 3)), {"a": "text"})
    pd.testing.assert_frame_equal(packed, pd.DataFrame({"a": ["é"] * 3}))
    table[:0].to_parquet(tmp_path / "x.parquet", index=False)
    assert list(parquet.read(tmp_path / "x.parquet", some)) == ["x", "query_id"]


# --- files in ruins, and of another form


@pytest.fixture
def whole(tmp_path):
    """A table of pairs that is also a run."""
    return write(
        tmp_path / "x.parquet",
        query=["q"] * 50,
        positive=[f"p{n}" for n in range(50)],
        query_id=[f"q{n}" for n in range(50)],
        doc_ids=[["d"]] * 50,
        scores=[[1.5]] * 50,
        ndcg_at_10=[0.5] * 50,
    )


def commands(path):
    return (["trec", str(path)], ["compare", str(path), str(path)])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"PAR1\xff\xff\xff\x7fPAR1", b"{}", b"\0" * 1000])
def test_what_is_no_parquet_is_refused(content, tmp_path, capsys):
    (path := tmp_path / "x.parquet").write_bytes(content)
    refused("x.parquet", rows, path)
    for call in commands(path):
        assert cli.main(call) == 1
        assert capsys.readouterr().err.count("\n") == 1


def test_a_cut_or_changed_file_is_refused_or_read(whole, tmp_path, capsys):
    content, random, path = whole.read_bytes(), np.random.default_rng(0), tmp_path / "y.parquet"
    for number in range(300):
        changed = bytearray(content if number % 3 else content[: random.integers(len(content))])
        for place in random.integers(len(content) // 2 if number % 2 else 0, len(content), 4):
            if place < len(changed):
                changed[place] = random.integers(256)
        path.write_bytes(changed)
        for read in (rows, parquet.read, lambda path: query_rows(path, 50, {"ndcg_at_10": 0.5})):
            try:
                read(path)
            except UserError as error:
                assert "\n" not in str(error)
        for call in commands(path)[:1]:
            assert cli.main(call) in (0, 1)
    capsys.readouterr()


BAD = pa.StringArray.from_buffers(2, pa.py_buffer(np.array([0, 1, 2], np.int32)), pa.py_buffer(b"\xff\xfe"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"query_id": [1, 2]}, "query_id holds int64, not text"),
        ({"query_id": ["q", None]}, "query_id is empty in 1 of 2 rows"),
        ({"query_id": [{"a": "b"}] * 2}, "query_id holds struct<a: string>, not text"),
        ({"query_id": BAD}, "cannot read .*: 'utf-?8'.* codec can't decode|Invalid UTF"),
        ({"doc_ids": ["d", "e"]}, "doc_ids holds string, not texts"),
        ({"doc_ids": [[["d"]], [["e"]]]}, "doc_ids holds list<.*list<.*>, not texts"),
        ({"doc_ids": [["d"], None]}, "doc_ids is empty in 1 of 2 rows"),
        ({"doc_ids": [["d"], [None]]}, "the id None holds white space"),
        ({"doc_ids": [["d"], ["d", "e"]]}, "has 2 documents and 1 scores"),
        ({"scores": [1.5, 1.0]}, "scores holds double, not numbers"),
        ({"scores": [["a"], ["b"]]}, "scores holds list<.*string>, not numbers"),
        ({"scores": None}, "has no scores; it has query_id, doc_ids"),
    ],
)
def test_a_run_of_another_form_is_refused(change, says, tmp_path):
    run = {"query_id": ["q", "r"], "doc_ids": [["d"], ["e"]], "scores": [[1.5], [1.0]]} | change
    path = write(tmp_path / "x.parquet", **{name: column for name, column in run.items() if column is not None})
    refused(says, trec.main, SimpleNamespace(run=path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ndcg_at_10": ["a", "b"]}, "ndcg_at_10 holds string, not number"),
        ({"ndcg_at_10": [[0.5], [0.5]]}, "ndcg_at_10 holds list<.*>, not number"),
        ({"ndcg_at_10": [np.inf, 0.5]}, "ndcg_at_10 is more than 1,000,000"),
        ({"ndcg_at_10": [1e308, -1e308]}, "ndcg_at_10 is more than 1,000,000"),
        ({"query_id": ["q", "q"]}, "has two rows for one query"),
        ({"query_id": [None, "q"]}, "query_id is empty in 1 of 2 rows"),
    ],
)
def test_a_result_of_another_form_is_refused(change, says, tmp_path, capsys):
    path = write(tmp_path / "x.parquet", **{"query_id": ["q", "r"], "ndcg_at_10": [0.5, 0.4]} | change)
    assert cli.main(["compare", str(path), str(path)]) == 1
    error = capsys.readouterr().err
    assert pytest.importorskip("re").search(says, error) and error.count("\n") == 1
    if "more than" not in says:
        refused("per-query scores|two rows|distinct queries", query_rows, path, 2, {"ndcg_at_10": 0.45})


@pytest.mark.parametrize("about", ["[]", "[" * 20_000, '{"a": ' + "9" * 6000 + "}", "\xff", '{"task": "\\u001b[31m"}'])
def test_what_lies_beside_a_result_is_read_with_care(about, tmp_path, capsys):
    for name in "ab":
        (tmp_path / name).mkdir()
        write(tmp_path / name / "t.parquet", query_id=["q", "r"], ndcg_at_10=[0.5, 0.4])
        (tmp_path / name / "t.json").write_text(about if name == "a" else "{}", encoding="latin1")
    assert cli.main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "t"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error


def test_what_pandas_is_told_of_a_table_is_not_believed(whole):
    table = pq.read_table(whole)
    strange = '{"index_columns": ["no"], "columns": [], "column_indexes": [5]}'
    for said in ("{}", "[]", "x", '{"index_columns": 5}', strange):
        pq.write_table(table.replace_schema_metadata({"pandas": said}), whole)
        try:
            parquet.read(whole)
        except UserError as error:
            assert "cannot read" in str(error)


@pytest.mark.parametrize(
    "columns",
    [
        {"query": [1], "positive": ["p"]},
        {"query": [{"a": [1]}], "positive": ["p"]},
        {"query": ["q"], "positive": pa.array([2**62], pa.timestamp("ms"))},
        {"query": ["q"], "positive": [b"\xff"]},
        {"query": ["q"], "other": ["p"]},
        {"query": BAD, "positive": ["p", "q"]},
    ],
)
def test_pairs_of_another_form_are_refused(columns, tmp_path, capsys):
    path, out = write(tmp_path / "x.parquet", **columns), tmp_path / "out" / "pairs.json"
    spec = json.dumps({"id": "x", "source": {"kind": "file", "path": str(path)}})
    assert cli.main(["pairs", "--spec", spec, "--out", str(out)]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert len(errors) == 1 and not out.exists()


# --- names


def test_texts_of_queries_are_one_line_each(tmp_path, capsys):
    for name, values in {"a": [0.5, 0.9], "b": [0.4, 0.1]}.items():
        (tmp_path / "evaluate" / name).mkdir(parents=True)
        table = pd.DataFrame({"query_id": ["q\n1", "q2"], "ndcg_at_10": values})
        table.to_parquet(tmp_path / "evaluate" / name / "t.parquet")
    (tmp_path / "task" / "t").mkdir(parents=True)
    texts = pd.DataFrame({"query_id": ["q\n1", "q2"], "text": [ESCAPE, "größe, 中文"]})
    texts.to_parquet(tmp_path / "task" / "t" / "queries.parquet")
    assert cli.main(["compare", str(tmp_path / "evaluate/a"), str(tmp_path / "evaluate/b"), "t"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) == 10 and all(line == visible(line) for line in lines)
    assert any(r"q\n1  \x1b]0;mine" in line for line in lines)
    assert any(line.endswith("q2  größe, 中文") for line in lines)


@pytest.mark.parametrize("id", ["d\x1b[31m", "d\x9b", "\u202ed", "d\x7f"])
@pytest.mark.parametrize("column", ["query_id", "doc_ids"])
def test_a_run_whose_ids_are_no_ids_is_refused(tmp_path, capsys, id, column):
    run = {"query_id": ["q"], "doc_ids": [["d"]], "scores": [[1.5]]} | {column: [id if column == "query_id" else [id]]}
    pd.DataFrame(run).to_parquet(tmp_path / "t.parquet")
    assert cli.main(["trec", str(tmp_path / "t.parquet")]) == 1
    error = capsys.readouterr().err
    assert "holds a control character" in error and error[:-1] == visible(error[:-1])


# --- lines


def test_a_billion_blank_lines_are_not_waited_for(tmp_path):
    (path := tmp_path / "x.jsonl.gz").write_bytes(gzip.compress(b"\n" * 10**7, 1) * 10)
    refused("line 10,?001: more than 10,000 blank lines in a row", rows, path)
    (path := tmp_path / "y.jsonl").write_text('{"a": 1}\n\n\r\n  \n' * 5000 + "\n" * 100)
    assert len(list(jsonl.lines(path))) == 5000
