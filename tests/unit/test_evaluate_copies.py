"""Documents of equal tokens: encoded once, of one score to the bit, ranked by id, however the work is cut."""

import json

import numpy as np
import pandas as pd
import pytest
from test_evaluate import WORDS, elsewhere, encoder, given, spec  # noqa: F401 - pytest finds the fixtures by their names

from retscale.evaluate import run as stage
from retscale.evaluate import vectors
from retscale.model.distinct import digests, distinct
from retscale.model.encoder import Encoder, load_encoder
from retscale.task.run import run as make_task

BUDGETS = (64, 256, 1550, 4096, 16384)


def collection(folder, seed: int, **more):
    """300 documents, ten of them three times; a query's only relevant document is the middle one of three by id.

    The last of three is longer than the encoder reads, and so another text of the same tokens.
    """
    rng = np.random.default_rng(seed)
    text = lambda n: " ".join(rng.choice(WORDS, n))
    documents = [text(rng.integers(3, 20)) for _ in range(300)]
    documents[9] = text(20)
    for i in range(10):
        documents[100 + i] = documents[i]
        documents[200 + i] = f"{documents[i]} {text(3)}" if i == 9 else documents[i]
    queries = [documents[i] if i % 2 else text(6) for i in range(10)]
    source, out = folder / "source", folder / "task"
    (source / "qrels").mkdir(parents=True)
    out.mkdir()
    for name, prefix, texts in (("corpus", "d", documents), ("queries", "q", queries)):
        rows = [{"_id": f"{prefix}{i:03d}", "title": "", "text": text} for i, text in enumerate(texts)]
        (source / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = [(q, d, int(d == q + 100)) for q in range(10) for d in (q, q + 100, q + 200, q + 50, q + 51)]
    (source / "qrels/test.tsv").write_text("".join(f"q{q:03d}\td{d:03d}\t{s}\n" for q, d, s in judged))
    make_task({"id": "t", "source": {"kind": "folder", "path": str(source)}, **more}, {}, out)
    return out / "task.json"


def evaluated(encoder, task, out, **more) -> tuple[dict, pd.DataFrame]:
    out.mkdir()
    list(stage.run(spec(["t"], **more), given(encoder, task), out))
    return json.loads((out / "t.json").read_text())["metrics"], pd.read_parquet(out / "t.parquet")


@pytest.mark.parametrize("judged_only", [False, True])
@pytest.mark.parametrize("seed", [0, 1])
def test_copies_tie_and_no_metric_depends_on_the_batch(encoder, tmp_path, monkeypatch, judged_only, seed):
    task = collection(tmp_path, seed, judged_only=judged_only)
    cuts = [(budget, 2**16) for budget in BUDGETS] + [(64, 7)]
    metrics = []
    for budget, shard in cuts:
        monkeypatch.setattr(vectors, "VECTORS_A_SHARD", shard)
        found, table = evaluated(encoder, task, tmp_path / f"{budget}-{shard}", tokens_per_batch=budget)
        metrics.append(found)
        seen = 0
        for ranked, scores in zip(table["doc_ids"], table["scores"]):
            assert scores.max() <= 1
            rank = {id: i for i, id in enumerate(ranked)}
            for i in range(10):
                places = [rank[id] for id in (f"d{200 + i}", f"d{100 + i}", f"d{i:03d}") if id in rank]
                if len(places) == 3:
                    seen += 1
                    assert len(set(scores[places])) == 1 and places == sorted(places)
        assert seen >= 10
    assert all(found == metrics[0] for found in metrics)


def test_a_corpus_is_encoded_without_its_copies(encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 100)
    encoded, embed = [], Encoder.embed
    monkeypatch.setattr(Encoder, "embed", lambda self, ids, *rest: encoded.append(len(ids)) or embed(self, ids, *rest))
    evaluated(encoder, collection(tmp_path, 0), tmp_path / "out")
    assert encoded == [10, 100, 100, 80]


def test_equal_tokens_of_a_call_have_one_vector(encoder):
    model = load_encoder(encoder, "fp32", 64)
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, rng.integers(3, 20))) for _ in range(60)]
    ids = model.tokens([*texts, *texts[::-1], *texts], "passage")
    made = model.embed(ids, "texts")
    assert (made[:60] == made[120:]).all() and (made[:60] == made[60:120][::-1]).all()
    np.testing.assert_array_equal(made[:60], model.embed(ids[:60], "texts"))


def test_sequences_are_numbered_as_they_first_occur():
    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 3, rng.integers(0, 5)).astype(np.int32) for _ in range(400)]
    firsts, number = distinct(digests(ids))
    seen = list(dict.fromkeys(tuple(x.tolist()) for x in ids))
    assert [tuple(ids[i].tolist()) for i in firsts] == seen
    assert [seen[n] for n in number] == [tuple(x.tolist()) for x in ids]
    assert [len(x) for x in distinct(digests([]))] == [0, 0]
