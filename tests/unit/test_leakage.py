"""Overlap of tasks with the training data against a naive comparison of sets of words."""

import json

import artifacts
import numpy as np
import pandas as pd
import pytest

from retscale.common.copies import key, untitled
from retscale.common.words import words
from retscale.errors import UserError
from retscale.leakage import fingerprints as module
from retscale.leakage.run import run

WORDS = [f"word{i}" for i in range(40)]


def training(folder, id, pairs, extra=()):
    """A data set's files: (query, positive) pairs and further passages."""
    folder = folder / "pairs" / id
    folder.mkdir(parents=True)
    passages = {text: f"p{i}" for i, text in enumerate(dict.fromkeys([*(p for _, p in pairs), *extra]))}
    rows = [(f"q{i}", query, passages[positive]) for i, (query, positive) in enumerate(pairs)]
    pd.DataFrame(rows, columns=["query_id", "query", "passage_id"], dtype="str").to_parquet(folder / "pairs.parquet")
    collection = pd.DataFrame(
        [(id, text) for text, id in passages.items()], columns=["passage_id", "text"], dtype="str"
    )
    collection.to_parquet(folder / "passages.parquet")
    (folder / "pairs.json").write_text(json.dumps(artifacts.pairs(id=id)))
    return folder / "pairs.json"


def task(folder, id, queries, documents):
    """A task's files; documents are (title, text)."""
    folder = folder / "task" / id
    folder.mkdir(parents=True)
    rows = [(f"t{i}", text) for i, text in enumerate(queries)]
    pd.DataFrame(rows, columns=["query_id", "text"], dtype="str").to_parquet(folder / "queries.parquet")
    rows = [(f"d{i}", title, text) for i, (title, text) in enumerate(documents)]
    pd.DataFrame(rows, columns=["doc_id", "title", "text"], dtype="str").to_parquet(folder / "corpus.parquet")
    (folder / "task.json").write_text(json.dumps(artifacts.task(id=id, queries=len(queries), documents=len(documents))))
    return folder / "task.json"


def measured(tmp_path, pairs, tasks):
    out = tmp_path / "leakage"
    out.mkdir()
    spec = {"tasks": {path.parent.name: {} for path in tasks}}
    assert list(run(spec, {"pairs": pairs, "tasks": tasks}, out)) == list(spec["tasks"])
    return {
        name: (json.loads((out / f"{name}.json").read_text()), pd.read_parquet(out / f"{name}.parquet"))
        for name in spec["tasks"]
    }


def grams(text):
    tokens = words(untitled(text))
    return {tuple(tokens[i : i + 13]) for i in range(len(tokens) - 12)}


def test_counts_and_ids_are_those_of_a_naive_comparison(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 7)  # so that texts of several chunks meet
    random = np.random.default_rng(5)

    def text(low, high):
        return " ".join(random.choice(WORDS, random.integers(low, high)))

    def stolen(source):
        """A piece of a text amid other words; a piece of 12 words is no leak."""
        tokens = source.split()
        length = random.integers(10, 18)
        start = random.integers(0, max(1, len(tokens) - length))
        return " ".join([text(1, 6), *tokens[start : start + length], text(1, 6)])

    sets = {name: [(text(3, 25), text(20, 60)) for _ in range(40)] for name in ("one", "two")}
    queries = [text(3, 25) for _ in range(30)]
    documents = [(text(0, 3), text(20, 50)) for _ in range(50)]
    for i in range(0, 20, 2):
        source = random.choice(["one", "two"])
        queries[i] = random.choice([sets[source][i][0].upper(), stolen(sets[source][i][1]), stolen(sets[source][i][0])])
        documents[i] = random.choice(
            [
                ["", stolen(sets[source][i][1])],
                ["A title", sets[source][i][1] + "!"],
                ["", f"Head -- {sets[source][i][1]}"],
            ]
        )
    titled = sets["one"][3][1].split()
    documents[1] = (" ".join(titled[:2]), " ".join(titled[2:]))  # equal only with its title
    documents[3] = ("", text(12, 13))
    paths = [training(tmp_path, name, pairs, extra=[documents[5][1]]) for name, pairs in sets.items()]
    facts, table = measured(tmp_path, paths, [task(tmp_path, "t", queries, documents)])["t"]

    parts = {"queries": [("t", "", q) for q in queries], "documents": [("d", *d) for d in documents]}
    seen = 0
    for row in facts["overlap"]:
        whole = [f"{title} {text}".strip() for _, title, text in parts[row["part"]]]
        assert row["texts"] == len(whole)
        for place, side in enumerate(("queries", "positives")):
            known = [pair[place] for pair in sets[row["pairs"]]]
            keys, runs = {key(k) for k in known}, set().union(*map(grams, known))
            exact = [key(text) in keys or key(full) in keys for (_, _, text), full in zip(parts[row["part"]], whole)]
            run = [bool(grams(full) & runs) for full in whole]
            assert (row["exact"][side], row["run"][side]) == (sum(exact), sum(run)), (row, side)
            seen += sum(exact) + sum(run)
            matches = table.query("pairs == @row['pairs'] and training == @side and part == @row['part']")
            letter = parts[row["part"]][0][0]
            assert matches["id"].tolist() == [f"{letter}{i}" for i, hit in enumerate(map(max, exact, run)) if hit]
            assert matches["exact"].sum() == sum(exact) and matches["run"].sum() == sum(run)
    assert len(facts["overlap"]) == 4 and seen > 20 and facts["words"] == 13


def test_a_passage_that_is_no_positive_is_no_leak(tmp_path):
    paths = [training(tmp_path, "one", [("a question", "its answer")], extra=["a passage of no query"])]
    facts, _ = measured(tmp_path, paths, [task(tmp_path, "t", ["a question"], [("", "a passage of no query")])])["t"]
    assert [row["exact"] for row in facts["overlap"]] == [
        {"queries": 1, "positives": 0},
        {"queries": 0, "positives": 0},
    ]


def test_a_run_does_not_reach_across_texts_or_unknown_words(tmp_path):
    text = " ".join(f"w{i}" for i in range(13))
    paths = [training(tmp_path, "one", [("w6", text)])]  # so w6 is the first word that gets a number
    broken = text.replace("w6", "unknown")
    split = [(text.rsplit(" ", 6)[0]), " ".join(text.split()[-6:])]
    made = task(tmp_path, "t", [*split, broken, f"before {text} after"], [("w0 w1", " ".join(text.split()[2:]))])
    facts, table = measured(tmp_path, paths, [made])["t"]
    assert table[table["run"]][["part", "id"]].values.tolist() == [["queries", "t3"], ["documents", "d0"]]


def test_a_task_is_measured_alike_alone_and_among_others(tmp_path):
    paths = [training(tmp_path, "one", [("what is it", "it is this"), ("who", "me")])]
    tasks = [task(tmp_path, name, [f"what is {name}", "who"], [("", "me"), ("", "")]) for name in ("it", "that")]
    both = measured(tmp_path, paths, tasks)
    (tmp_path / "leakage").rename(tmp_path / "before")
    alone = measured(tmp_path, paths, tasks[1:])
    assert alone["that"][0] == both["that"][0]
    names = [f"that.{suffix}" for suffix in ("json", "parquet")]
    assert [(tmp_path / "before" / n).read_bytes() for n in names] == [
        (tmp_path / "leakage" / n).read_bytes() for n in names
    ]


def test_tasks_are_found_by_their_ids_whatever_their_order(tmp_path):
    data = training(tmp_path, "one", [("what is x", "x")])
    tasks = [task(tmp_path, name, [f"about {name}"], [("", "y")]) for name in ("a", "b")]
    (tmp_path / "out").mkdir()
    assert list(run({"tasks": {"a": {}, "b": {}}}, {"pairs": [data], "tasks": tasks[::-1]}, tmp_path / "out")) == [
        "a",
        "b",
    ]
    with pytest.raises(UserError, match="--tasks: no task.json of b, which the spec names; given: a"):
        list(run({"tasks": {"a": {}, "b": {}}}, {"pairs": [data], "tasks": tasks[:1]}, tmp_path / "out"))
