"""A folder in the BEIR layout: every way in which it is written or spoilt is read, counted, or refused by name."""

import gzip
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from retscale.common import jsonl
from retscale.errors import UserError
from retscale.task import beir_folder
from retscale.task.config import FolderSource
from retscale.task.run import run

CORPUS = '{"_id": "a", "title": "T", "text": "é x"}\n{"_id": "b", "text": "y"}\n'
QUERIES = '{"_id": "1", "text": "q"}\n{"_id": "2", "text": "unjudged"}\n'
QRELS = "query-id\tcorpus-id\tscore\n1\tb\t2\n1\ta\t0\n"


def folder(at: Path, corpus=CORPUS, queries=QUERIES, qrels=QRELS, suffix="") -> Path:
    (at / "qrels").mkdir(parents=True)
    for name, text in {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels}.items():
        data = text if isinstance(text, bytes) else text.encode()
        (at / f"{name}{suffix}").write_bytes(gzip.compress(data) if suffix else data)
    return at


def made(at: Path, **spec) -> dict:
    """task.json, with the three tables under their names."""
    out = at / "out"
    out.mkdir()
    notes = run({"id": "t", "source": {"kind": "folder", "path": str(at)}, **spec}, {}, out)
    tables = {name: pd.read_parquet(out / f"{name}.parquet") for name in ("corpus", "queries", "qrels")}
    return json.loads((out / "task.json").read_text()) | tables | {"record": notes}


def values(task: dict) -> list:
    return [task[name].values.tolist() for name in ("corpus", "queries", "qrels")]


PLAIN = [[["a", "T", "é x"], ["b", "", "y"]], [["1", "q"]], [["1", "b", 2], ["1", "a", 0]]]


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"suffix": ".gz"},
        {"corpus": "\n" + CORPUS.replace("\n", "\n\n"), "qrels": QRELS + "\n"},
        {
            "corpus": CORPUS.replace("\n", "\r\n"),
            "queries": QUERIES.replace("\n", "\r\n"),
            "qrels": QRELS.replace("\n", "\r\n"),
        },
        {"corpus": b"\xef\xbb\xbf" + CORPUS.encode(), "queries": "\ufeff" + QUERIES, "qrels": "\ufeff" + QRELS},
        {"qrels": QRELS.split("\n", 1)[1]},
        {"qrels": "1 0 b 2\n1 0 a 0\n"},
        {"qrels": "1\tQ0\tb\t2.0\n1\tQ0\ta\t0.0"},
        {"qrels": "qid\tdocid\trelevance\n1\tb\t2\n1\ta\t0\n"},
        {"corpus": CORPUS.replace('"T"', '"T", "metadata": {"year": 3}').replace('"b",', '"b", "title": null,')},
        {"queries": QUERIES.replace('"1"', "1")},
    ],
    ids=[
        "plain",
        "gz",
        "blank lines",
        "crlf",
        "byte-order mark",
        "no header",
        "trec",
        "trec by tabs",
        "other header",
        "metadata",
        "number",
    ],
)
def test_however_it_is_written_it_is_the_same_collection(tmp_path, written):
    task = made(folder(tmp_path / "x", **written))
    assert values(task) == PLAIN
    assert task["notes"] == {"assumed": {}, "dropped": {"query without judgment": 1}, "kept": {}}


HEADER = "corpus-id\tquery-id\tscore\nb\t1\t2\na\t1\t0\n"


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"qrels": HEADER}, {"test.tsv: columns by the header (corpus-id, query-id, score)": 2}),
        ({"qrels": "\ufeff\n" + HEADER}, {"test.tsv: columns by the header (corpus-id, query-id, score)": 2}),
        (
            {"qrels": HEADER.upper().replace("A\t", "a\t").replace("B\t", "b\t")},
            {"test.tsv: columns by the header (CORPUS-ID, QUERY-ID, SCORE)": 2},
        ),
        ({"qrels": HEADER.replace("\t", " ")}, {"test.tsv: columns by the header (corpus-id, query-id, score)": 2}),
        (
            {"qrels": "Score\tDoc ID\tqid\n2\tb\t1\n0\ta\t1\n"},
            {"test.tsv: columns by the header (Score, Doc ID, qid)": 2},
        ),
        (
            {"qrels": "topic iter docno rel\n1 0 b 2\n1 0 a 0\n"},
            {"test.tsv: columns by the header (topic, iter, docno, rel)": 2},
        ),
        (
            {"qrels": "qid\tpid\tgrade\tby\n1\tb\t2\tme\n1\ta\t0\t\n"},
            {"test.tsv: columns by the header (qid, pid, grade, by)": 2},
        ),
        ({"qrels": "cid\tqid\tlabel\nb\t1\t2\na\t1\t0\n"}, {"test.tsv: column cid taken as the document": 2}),
        ({"qrels": "query-id\tcorpus-id\tgain\n1\tb\t2\n1\ta\t0\n"}, {"test.tsv: column gain taken as the score": 2}),
        (
            {"qrels": "left\tright\tscore\n1\tb\t2\n1\ta\t0\n"},
            {
                "test.tsv: columns by position, since the header (left, right, score) names neither query nor document": 2
            },
        ),
        ({"qrels": "query-id\tcorpus-id\tgrade\n1\tb\t2\t\n1\ta\t0\n"}, {}),
        ({"qrels": "\n\n" + QRELS}, {}),
        ({"qrels": '"query-id"\t"corpus-id"\t"score"\n1\tb\t2\n1\ta\t0\n'}, {}),
        ({"qrels": QRELS.replace("\t", ",")}, {"test.tsv: columns separated by commas": 2}),
        ({"qrels": '1, "b", 2\n1, "a", 0\n'}, {"test.tsv: columns separated by commas": 2}),
        ({"corpus": CORPUS.replace("_id", "id")}, {"corpus.jsonl: `id` read as `_id`": 2}),
        (
            {"queries": QUERIES.replace("_id", "id").replace("text", "query")},
            {"queries.jsonl: `query` read as `text`": 2, "queries.jsonl: `id` read as `_id`": 2},
        ),
    ],
)
def test_what_columns_and_keys_are_taken_for_is_said(tmp_path, written, says, capsys):
    task = made(folder(tmp_path / "x", **written))
    assert values(task) == PLAIN
    assert task["notes"]["assumed"] == task["record"]["assumed"] == says
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        *(f"task t: assumed: {what} ({n})" for what, n in says.items()),
        "task t: dropped: query without judgment (1)",
    ]


def test_ids_with_commas_between_blanks_are_whole(tmp_path):
    corpus, queries = CORPUS.replace('"b"', '"b,2"'), QUERIES.replace('"1"', '"1,1"')
    task = made(folder(tmp_path / "x", corpus, queries, "1,1 0 b,2 2\n1,1 0 a 0\n"))
    assert task["qrels"].values.tolist() == [["1,1", "b,2", 2], ["1,1", "a", 0]] and task["notes"]["assumed"] == {}


def test_a_title_stands_alone_and_may_be_a_number(tmp_path):
    corpus = '{"_id": "a", "title": "T"}\n{"_id": "b", "title": 1984, "text": "y"}\n{"id": 3, "title": "U", "metadata": {}}\n'
    task = made(folder(tmp_path / "x", corpus))
    assert task["corpus"].values.tolist() == [["a", "T", ""], ["b", "1984", "y"], ["3", "U", ""]]
    assert task["notes"]["assumed"] == {
        "corpus.jsonl: title without text": 2,
        "corpus.jsonl: title that is a number": 1,
        "corpus.jsonl: `id` read as `_id`": 1,
    }


def bad(text: str, **part) -> pytest.param:
    return pytest.param(part, text, id=text)


@pytest.mark.parametrize(
    ("part", "says"),
    [
        bad(
            "corpus.jsonl, line 3: not UTF-8, byte 0xe9 at 25",
            corpus=CORPUS.encode() + b'{"_id": "c", "text": "caf\xe9"}',
        ),
        bad(
            "corpus.jsonl, line 2: not an object with _id and text", corpus=CORPUS.replace('"text": "y"', '"txt": "y"')
        ),
        bad("corpus.jsonl, line 2: not an object with _id", corpus=CORPUS.replace('"_id": "b", ', "")),
        bad("line 2: not an object with _id and text (the id None is", corpus=CORPUS.replace('"b"', "null")),
        bad("line 2: not an object with _id and text (the id '' is", corpus=CORPUS.replace('"b"', '""')),
        bad(
            "line 2: not an object with _id and text (no 'text' among _id, title, contents)",
            corpus=CORPUS.replace('"text": "y"', '"title": "T", "contents": "y"'),
        ),
        bad(
            "line 1: not an object with _id and text (no 'text' among _id, title)",
            queries=QUERIES.replace("text", "title"),
        ),
        bad("line 2: not an object with _id and text (title", corpus=CORPUS.replace('"b",', '"b", "title": NaN,')),
        bad("title and text must be strings", corpus=CORPUS.replace('"y"', '["y"]')),
        bad("line 2: not an object with _id and text (title and text must be", corpus=CORPUS.replace('"y"', "0")),
        bad("line 1: not an object with _id and text (title and text must be", corpus=CORPUS.replace('"T"', "[]")),
        bad("line 2: not JSON: 'utf-8' codec can't encode", corpus=CORPUS.replace('"y"', r'"\ud800"')),
        bad("line 3: not an object but a list", corpus=CORPUS + "[1, 2]\n"),
        bad("line 2: not JSON", queries=QUERIES.replace("}\n", "}\n{", 1)),
        bad("line 1: longer than 100 bytes", corpus=f"[{CORPUS.replace(chr(10), ' ')}{' ' * 100}]"),
        bad(
            "line 2: expected query, document and score separated by tabs (the score 1.5", qrels="1\tb\t2\n1\ta\t1.5\n"
        ),
        bad(
            "line 1: expected query, document and score separated by tabs (the score 20261121101500000000 is",
            qrels="1\tb\t20261121101500000000\n",
        ),
        bad("line 1: expected query, document and score separated by tabs (could not", qrels="1\tb\tmany\n"),
        bad("line 2: expected query, document and score", qrels="1\tb\t2\nb\n"),
        bad(
            "line 1: expected query, document and score separated by tabs (the header (query-id, corpus-id) names no score)",
            qrels="query-id\tcorpus-id\n1\tb\n",
        ),
        bad(
            "line 1: expected query, document and score separated by tabs (the header (qid, docid, document, rel) names more than one document)",
            qrels="qid\tdocid\tdocument\trel\n1\tb\ty\t2\n",
        ),
        bad(
            "line 3: expected query, document and score separated by tabs (2 columns under a header of 3)",
            qrels="query-id\tcorpus-id\tscore\n1\tb\t2\n1\ta\t\n",
        ),
        bad(
            "line 2: expected query, document and score separated by tabs (4 columns under a header of 3)",
            qrels="query-id\tcorpus-id\tscore\n1\tb\t2\tx\n",
        ),
        bad("line 4: expected query, document and score separated by tabs (could not", qrels=QRELS + QRELS),
        bad(
            "test.tsv: 2 of 2 judgments name an unknown query, such as 'b', while the ids are like '1'; the columns of query and document seem to be swapped: the other way round, 2 name both",
            qrels=HEADER.split("\n", 1)[1],
        ),
        bad(
            "test.tsv: 2 of 3 judgments name an unknown document, such as 'a.txt', while the ids are like 'a'; are they of another collection?",
            qrels=QRELS.replace("a", "a.txt") + "1\tz\t1\n",
        ),
        bad("the document id 'a' occurs more than once", corpus=CORPUS.replace('"b"', '"a"')),
        bad("the query id '1' occurs more than once", queries=QUERIES.replace('"2"', '"1"')),
        bad("query '1', document 'b' is judged twice", qrels=QRELS + "1\tb\t1\n"),
        bad("1 of 1 judgments name an unknown document, such as 'B', while the ids are like 'a'", qrels="1\tB\t1\n"),
        bad(
            "none of the 1 relevant documents is in the corpus, which begins with 'a', while they begin with 'B'",
            qrels="1\ta\t0\n1\tB\t1\n",
        ),
        bad("no judgment is above 0", qrels="1\tb\t0\n"),
        bad("1 of 1 judgments name an unknown query, such as '9', while the ids are like '1'", qrels="9\tb\t1\n"),
        bad("has no query left ({'query without judgment': 2})", qrels=""),
        bad("has no query left ({'judgment of an unknown query': 2})", queries=""),
        bad("has no document left", corpus=""),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, part, says, monkeypatch):
    monkeypatch.setattr(jsonl, "LINE", 100)
    with pytest.raises(UserError, match=re.escape(says)) as error:
        made(folder(tmp_path / "x", **part))
    assert "\n" not in str(error.value)


def test_a_cut_or_false_gzip_is_refused(tmp_path):
    at = folder(tmp_path / "x", suffix=".gz")
    path = at / "corpus.jsonl.gz"
    for spoilt in (path.read_bytes()[:-6], path.read_bytes()[:10] + b"\xff" * 20, CORPUS.encode()):
        path.write_bytes(spoilt)
        with pytest.raises(UserError, match=r"cannot read .*corpus\.jsonl\.gz beyond line"):
            beir_folder.collect(FolderSource(kind="folder", path=str(at)))


def test_a_file_twice_or_missing_is_named(tmp_path):
    at = folder(tmp_path / "x")
    source = FolderSource(kind="folder", path=str(at))
    (at / "corpus.jsonl.gz").write_bytes(gzip.compress(CORPUS.encode()))
    with pytest.raises(UserError, match=r"both .*corpus\.jsonl and corpus\.jsonl\.gz"):
        beir_folder.collect(source)
    for name in ("corpus.jsonl.gz", "corpus.jsonl"):
        (at / name).unlink()
    with pytest.raises(UserError, match=r"neither .*corpus\.jsonl nor corpus\.jsonl\.gz"):
        beir_folder.collect(source)
    with pytest.raises(UserError, match=r"no .*dev\.tsv, nor with \.gz; splits there: test"):
        beir_folder.collect(source.model_copy(update={"split": "dev"}))


def test_a_folder_at_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(folder(tmp_path / "x").parent))
    source = FolderSource(kind="folder", path="~/x")
    assert len(source.files()) == 3 and len(beir_folder.collect(source).corpus) == 2


def test_what_is_odd_is_kept_and_counted_and_what_no_score_needs_is_left_out_and_counted(tmp_path):
    corpus = ["a", "A", "a ", "empty", "blank", "long"]
    texts = ["x", "y", "z", "", " \n", "w" * (10**6 + 1)]
    corpus = "".join(json.dumps({"_id": id, "text": text}) + "\n" for id, text in zip(corpus, texts))
    queries = "".join(f'{{"_id": "{id}", "text": "{text}"}}\n' for id, text in (("1", "q"), ("2", ""), ("3", "r")))
    qrels = "1\ta\t1\n1\ta\t1\n1\tgone\t1\n1\tlost\t0\n2\tA\t0\n9\ta\t1\n9\tb\t1\n"
    task = made(folder(tmp_path / "x", corpus, queries, qrels))
    assert task["corpus"]["doc_id"].tolist() == ["a", "A", "a ", "empty", "blank", "long"]
    assert task["queries"]["query_id"].tolist() == ["1", "2"]
    assert task["qrels"]["query_id"].tolist() == ["1", "1", "1", "2"]
    assert task["notes"] == {
        "assumed": {},
        "dropped": {
            "query without judgment": 1,
            "judgment of an unknown query": 2,
            "repeated judgment": 1,
        },
        "kept": {
            "judgment of an unknown document": 2,
            "query without a relevant document": 1,
            "empty document": 2,
            "empty query": 1,
            "text of more than 1,000,000 characters": 1,
            "document id like another but for case or blanks": 2,
        },
    }
    assert task["record"]["dropped"] == task["notes"]["dropped"] and task["record"]["kept"] == task["notes"]["kept"]
    assert set(task["record"]["read"]) == {"corpus.jsonl", "queries.jsonl", "test.tsv"}


def test_half_of_the_judgements_may_name_nothing(tmp_path):
    task = made(folder(tmp_path / "x", qrels=QRELS + "1\tlost\t1\n9\tb\t1\n"))
    assert task["notes"]["dropped"]["judgment of an unknown query"] == 1
    assert task["notes"]["kept"]["judgment of an unknown document"] == 1


SIZES = {  # documents, queries with judgements, judgements, empty documents: of their PROVENANCE and of SciFact's paper
    "ir-classic/cranfield": (1400, 225, 1837, 2),
    "ir-classic/cisi": (1460, 76, 3114, 0),
    "ir-classic/med": (1033, 30, 696, 0),
    "beir-scifact": (5183, 300, 339, 0),
}


@pytest.mark.parametrize("name", SIZES)
def test_real_collections_have_their_published_sizes(name, shared, tmp_path):
    run({"id": "t", "source": {"kind": "folder", "path": str(shared / name)}}, {}, tmp_path)
    facts = json.loads((tmp_path / "task.json").read_text())
    empty = facts["notes"]["kept"].pop("empty document", 0)
    assert (facts["documents"], facts["queries"], facts["judgements"], empty) == SIZES[name]
    assert facts["notes"]["kept"] == {}


def test_columns_swapped_under_their_names_are_the_same_real_collection(shared, tmp_path):
    scifact = shared / "beir-scifact"
    at = tmp_path / "x"
    (at / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl"):
        (at / name).symlink_to(scifact / name)
    rows = [line.split("\t") for line in (scifact / "qrels/test.tsv").read_text().splitlines() if line.strip()]
    (at / "qrels/test.tsv").write_text("".join(f"{document}\t{query}\t{score}\n" for query, document, score in rows))
    (at / "qrels/bare.tsv").write_text(
        "".join(f"{document}\t{query}\t{score}\n" for query, document, score in rows[1:])
    )
    task = made(at)
    assert task["qrels"].astype(str).values.tolist() == rows[1:] and task["queries"].shape == (300, 2)
    with pytest.raises(UserError, match=r"seem to be swapped: the other way round, 339 name both"):
        beir_folder.collect(FolderSource(kind="folder", path=str(at), split="bare"))
