import json
import os
import subprocess
import sys
from collections import Counter
from math import log

import numpy as np
import pandas as pd
import pytest

from retscale.errors import UserError
from retscale.mine.choose import best, choose, generator
from retscale.mine.config import MineConfig
from retscale.mine.run import mine

PASSAGES = {
    "p0": "cats chase mice",
    "p1": "cats and dogs fight cats",
    "p2": "Title -- Cats chase mice!",  # p0 again
    "p3": "dogs bark",
    "p4": "stock prices rise",
    "p5": "mice fear cats more than dogs fear rain",
}


def frames(pairs, passages=PASSAGES):
    return (
        pd.DataFrame(pairs, columns=["query_id", "query", "passage_id"]),
        pd.DataFrame(passages.items(), columns=["passage_id", "text"]),
    )


def mined(pairs, passages=PASSAGES, **config):
    table, facts = mine(*frames(pairs, passages), MineConfig.model_validate({"stopwords": "none", **config}))
    return {row["query_id"]: row for row in table.to_pylist()}, facts


def lucene(query, texts, k1, b):
    """BM25 as Lucene scores it, by the formula."""
    words = [text.lower().split() for text in texts]
    mean = sum(map(len, words)) / len(words)
    scores = []
    for passage in words:
        counts, score = Counter(passage), 0.0
        for word in query.lower().split():
            df = sum(word in other for other in words)
            idf = log(1 + (len(words) - df + 0.5) / (df + 0.5))
            score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(passage) / mean)) if df else 0
        scores.append(score)
    return np.array(scores)


def test_scores_are_lucenes_bm25():
    random = np.random.default_rng(0)
    vocabulary = [f"word{i}" for i in range(60)]
    texts = [" ".join(random.choice(vocabulary, random.integers(3, 30))) for _ in range(80)]
    passages = {f"p{i:03d}": text for i, text in enumerate(texts)}
    queries = [(f"q{i}", " ".join(random.choice(vocabulary, 4)) + " unseen", f"p{i:03d}") for i in range(20)]
    found, _ = mined(queries, passages, k1=1.2, b=0.75, top=30, negatives=10)
    for i, (id, query, positive) in enumerate(queries):
        expected = lucene(query, texts, 1.2, 0.75)
        expected[i] = -1
        order = np.argsort(-expected, kind="stable")[:10]
        got = [int(passage[1:]) for passage in found[id]["negatives"]]
        np.testing.assert_allclose(found[id]["scores"], expected[order], rtol=1e-5)
        # float32 may order a near tie otherwise; the oracle's scores of what was chosen must be the best ones
        np.testing.assert_allclose(expected[got], expected[order], rtol=1e-5)
        assert positive not in found[id]["negatives"]


def test_positives_and_their_copies_are_never_negatives():
    found, _ = mined([("q", "cats mice", "p0")], negatives=2)
    assert found["q"]["negatives"] == ["p5", "p1"]


def test_every_positive_of_a_query_is_spared():
    found, _ = mined([("q", "cats", "p1"), ("q", "cats", "p5"), ("r", "cats", "p3")], negatives=2)
    assert found["q"]["negatives"] == ["p0", "p2"]
    assert "p1" in found["r"]["negatives"]


def test_zero_scores_are_only_fillers_and_counted():
    found, facts = mined([("q", "stock", "p3")], negatives=3, seed=1)
    assert found["q"]["negatives"][0] == "p4" and found["q"]["scores"][0] > 0 and found["q"]["scores"][1:] == [0, 0]
    assert "p3" not in found["q"]["negatives"] and len(set(found["q"]["negatives"])) == 3
    assert (facts["short"], facts["filled"]) == (1, 2)


def test_a_query_without_any_known_word_is_filled():
    found, facts = mined([("q", "zebra", "p0")], negatives=2)
    assert not {"p0", "p2"} & set(found["q"]["negatives"]) and facts["filled"] == 2


def test_fillers_belong_to_the_query_whatever_else_is_mined():
    alone, _ = mined([("q", "zebra", "p0")], negatives=3)
    among, _ = mined([("a", "zebra", "p1"), ("q", "zebra", "p0"), ("z", "cats", "p3")], negatives=3)
    assert alone["q"] == among["q"]


def test_too_few_passages_is_an_error():
    with pytest.raises(UserError, match="query q: only 4 passages may be negatives, 5 are asked"):
        mined([("q", "cats", "p0")], negatives=5)


def test_ties_go_by_passage_id():
    passages = {f"p{i}": "same words here" for i in (3, 1, 2)} | {"p0": "other"}
    # Equal texts are one passage after the pairs stage, so these differ in a word that does not score.
    passages = {id: f"{text} x{id}" for id, text in passages.items()}
    found, _ = mined([("q", "same words", "p0")], passages, negatives=2, top=2)
    assert found["q"]["negatives"] == ["p1", "p2"]


def test_best_keeps_the_lowest_index_of_those_that_tie_at_the_end():
    assert best(np.array([1, 3, 2, 2, 2, 0.0]), np.array([], int), 2).tolist() == [1, 2]
    assert best(np.array([1, 3, 2, 2, 2, 0.0]), np.array([1]), 3).tolist() == [2, 3, 4]
    assert best(np.array([0, 0, 1.0]), np.array([], int), 3).tolist() == [2]
    assert best(np.array([0, 0, 1.0, 0]), np.array([], int), 2).tolist() == [2]
    assert best(np.array([0, 5, 1.0]), np.array([], int), 100).tolist() == [1, 2]


def test_random_choice_is_seeded_and_in_rank_order():
    candidates, none = np.arange(50)[::-1].copy(), np.array([], int)
    one = choose(candidates, none, 50, 10, True, generator(1, "q"))
    assert one.tolist() == choose(candidates, none, 50, 10, True, generator(1, "q")).tolist()
    assert one.tolist() != choose(candidates, none, 50, 10, True, generator(2, "q")).tolist()
    assert one.tolist() != candidates[:10].tolist() and (np.diff(one) < 0).all()


def test_top_must_cover_the_negatives():
    with pytest.raises(ValueError, match=r"top \(5\) must be at least negatives \(15\)"):
        MineConfig(top=5)


def test_bytes_depend_on_neither_hash_seed_nor_threads(tmp_path):
    random = np.random.default_rng(3)
    words = [f"word{i}" for i in range(200)]
    passages = {f"p{i:04d}": " ".join(random.choice(words, 20)) for i in range(300)}
    pairs, collection = frames(
        [(f"q{i}", " ".join(random.choice(words, 5)), f"p{i:04d}") for i in range(100)], passages
    )
    pairs.to_parquet(tmp_path / "pairs.parquet")
    collection.to_parquet(tmp_path / "passages.parquet")
    program = (
        "import sys, json; from pathlib import Path; from retscale.mine.run import run; "
        "out = Path(sys.argv[1]); out.mkdir(); "
        "print(json.dumps(run({'negatives': 5, 'choose': 'random'}, {'pairs': out.parent / 'pairs.json'}, out)))"
    )
    made = []
    for hash_seed, threads in (("0", "1"), ("1", "2")):
        out = tmp_path / hash_seed
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", program, str(out)], env=environment, capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)["queries"] == 100
        made.append((out / "negatives.parquet").read_bytes())
    assert made[0] == made[1]


def test_row_order_of_the_files_does_not_matter():
    pairs, passages = frames([(f"q{i}", "cats dogs mice", f"p{i}") for i in range(5)])
    config = MineConfig(negatives=3)
    straight, _ = mine(pairs, passages, config)
    shuffled, _ = mine(pairs[::-1].reset_index(drop=True), passages.sample(frac=1, random_state=1), config)
    assert straight.to_pylist() == shuffled.to_pylist()
