import json
import os
import subprocess
import sys
from collections import Counter
from math import log
from typing import get_args

import numpy as np
import pandas as pd
import pytest

from retscale.common import seeds
from retscale.errors import UserError
from retscale.evaluate import search, vectors
from retscale.mine import dense
from retscale.mine.bm25 import Index
from retscale.mine.choose import choose, hardest
from retscale.mine.config import MineConfig, Stemmer, StopWords
from retscale.mine.rank import by_encoder, by_given
from retscale.mine.run import mine, shortage
from retscale.mine.terms import ENGLISH, stop_words

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
    by_query, _ = mined(queries, passages, k1=1.2, b=0.75, top=30, negatives=10)
    for i, (id, query, positive) in enumerate(queries):
        expected = lucene(query, texts, 1.2, 0.75)
        expected[i] = -1
        order = np.argsort(-expected, kind="stable")[:10]
        got = [int(passage[1:]) for passage in by_query[id]["negatives"]]
        np.testing.assert_allclose(by_query[id]["scores"], expected[order], rtol=1e-5)
        # float32 may order a near tie otherwise; the oracle's scores of what was chosen must be the best ones
        np.testing.assert_allclose(expected[got], expected[order], rtol=1e-5)
        assert positive not in by_query[id]["negatives"]


def test_positives_and_their_copies_are_never_negatives():
    by_query, _ = mined([("q", "cats mice", "p0")], negatives=2)
    assert by_query["q"]["negatives"] == ["p5", "p1"]


def test_every_positive_of_a_query_is_excluded():
    by_query, _ = mined([("q", "cats", "p1"), ("q", "cats", "p5"), ("r", "cats", "p3")], negatives=2)
    assert by_query["q"]["negatives"] == ["p0", "p2"]
    assert "p1" in by_query["r"]["negatives"]


def test_what_is_not_found_is_missing_and_counted():
    by_query, facts = mined([("q", "stock", "p3"), ("r", "zebra", "p0"), ("s", "cats", "p0")], negatives=2)
    assert by_query["q"]["negatives"] == ["p4"] and by_query["q"]["scores"][0] > 0
    assert by_query["r"]["negatives"] == by_query["r"]["scores"] == [] and len(by_query["s"]["negatives"]) == 2
    assert (facts["short"], facts["missing"]) == (2, 3)
    assert shortage({**facts, "queries": 5000, "short": 12}) == (
        "mine: 12 of 5,000 queries (0.2%) have fewer than 2 negatives; 3 are missing, which recipes with "
        "`too_few: fill` replace by random passages"
    )


def test_ties_go_by_passage_id():
    passages = {f"p{i}": "same words here" for i in (3, 1, 2)} | {"p0": "other"}
    # Equal texts are one passage after the pairs stage, so these differ in a word that does not score.
    passages = {id: f"{text} x{id}" for id, text in passages.items()}
    by_query, _ = mined([("q", "same words", "p0")], passages, negatives=2, top=2)
    assert by_query["q"]["negatives"] == ["p1", "p2"]


def test_random_choice_is_seeded_and_in_rank_order():
    candidates = np.arange(50)[::-1].copy()
    one = choose(candidates, 10, True, seeds.of_query(1, "q"))
    assert one.tolist() == choose(candidates, 10, True, seeds.of_query(1, "q")).tolist()
    assert one.tolist() != choose(candidates, 10, True, seeds.of_query(2, "q")).tolist()
    assert one.tolist() != candidates[:10].tolist() == choose(candidates, 10, False, None).tolist()
    assert (np.diff(one) < 0).all() and choose(candidates[:3], 10, True, seeds.of_query(1, "q")).tolist() == [
        49,
        48,
        47,
    ]


def test_top_must_cover_the_negatives():
    with pytest.raises(ValueError, match=r"top \(20\) must be at least skip \+ negatives \(10 \+ 15\)"):
        MineConfig(top=20, skip=10)


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


# A collection with Zipf's law: long lists, short ones, words in a query twice, passages without a word, ties.
SIZES = {"passages": 5000, "words": 800, "queries": 60}


@pytest.fixture(scope="module")
def zipf():
    random = np.random.default_rng(7)
    share = 1 / np.arange(1, SIZES["words"] + 1)
    names = np.array([f"w{i}" for i in range(SIZES["words"])])

    def texts(count, most):
        return [" ".join(random.choice(names, random.integers(0, most), p=share / share.sum())) for _ in range(count)]

    passages = texts(SIZES["passages"], 40)
    passages[100:110] = [passages[99]] * 10
    queries = [*texts(SIZES["queries"] - 3, 8), "w0", "w1 w1 w500", "unknown"]
    excluded = [np.sort(random.choice(len(passages), random.integers(0, 5), replace=False)) for _ in queries]
    return passages, queries, excluded


CONFIGS = [{}, {"variant": "robertson", "k1": 1.5, "b": 0.75}, {"variant": "atire", "stopwords": "english", "b": 0}]


@pytest.mark.parametrize("config", CONFIGS, ids=["lucene", "robertson", "atire"])
def test_scores_and_ranking_are_those_of_bm25s(zipf, config):
    import bm25s

    passages, queries, _ = zipf
    config = MineConfig.model_validate({"stopwords": "none", **config})
    index = Index(passages, config)
    stop = "english" if config.stopwords == "english" else None
    tokens = bm25s.tokenize(passages, stopwords=stop, show_progress=False)
    peer = bm25s.BM25(k1=config.k1, b=config.b, method=config.variant, backend="numpy")
    peer.index(tokens, show_progress=False)
    none = [np.array([], int)] * len(queries)
    for query, (rows, scores) in zip(queries, index.top(queries, none, 100), strict=True):
        words = list(bm25s.tokenize(query, stopwords=stop, return_ids=False, show_progress=False)[0])
        expected = peer.get_scores(words) if any(w in peer.vocab_dict for w in words) else np.zeros(len(passages))
        order = np.lexsort((np.arange(len(passages)), -expected))[: min(100, (expected > 0).sum())]
        assert len(rows) == len(order)
        np.testing.assert_allclose(scores, expected[order], rtol=1e-5)
        np.testing.assert_allclose(scores, expected[rows], rtol=1e-5)  # so the ranking differs in ties at most
        assert (np.diff(scores) <= 0).all() and (np.diff(rows)[np.diff(scores) == 0] > 0).all()


def test_scores_are_those_of_a_sparse_matrix(zipf):
    from scipy.sparse import csr_array

    passages, queries, _ = zipf
    index = Index(passages, MineConfig(stopwords="none"))
    lists = csr_array((index.gains, index.passages, index.starts), (len(index.bounds), len(passages)), dtype=np.float64)
    for query in queries:
        _, words, weights = index._query_terms([query])
        expected = (csr_array((weights, words, [0, len(words)]), (1, len(index.bounds)), dtype=float) @ lists).toarray()
        np.testing.assert_allclose(index.scores(query, np.arange(len(passages))), expected[0], rtol=1e-6)


@pytest.mark.parametrize("block, threads", [(64, 1), (1000, 3), (2**16, 2)])
@pytest.mark.parametrize("config", CONFIGS, ids=["lucene", "robertson", "atire"])
def test_the_compiled_search_finds_the_same_bits_in_any_blocks_and_threads(zipf, config, block, threads):
    passages, queries, excluded = zipf
    index = Index(passages, MineConfig.model_validate({"stopwords": "none", **config}))
    for k in (1, 10, 4000):
        expected = list(index.top(queries, excluded, k, compiled=False))
        results = list(index.top(queries, excluded, k, compiled=True, block=block, threads=threads))
        assert len(results) == len(expected)
        for (passages_, scores), (expected_passages, expected_scores) in zip(results, expected):
            assert passages_.tolist() == expected_passages.tolist()
            assert scores.tobytes() == expected_scores.tobytes()


def test_what_is_excluded_is_not_found_and_nothing_else_changes(zipf):
    passages, queries, excluded = zipf
    index = Index(passages, MineConfig(stopwords="none"))
    with_all = index.top(queries, [np.array([], int)] * len(queries), 2000)
    for (rows, scores), without, (rest, rest_scores) in zip(with_all, excluded, index.top(queries, excluded, 2000)):
        keep = ~np.isin(rows, without)
        n = min(keep.sum(), 1990)
        assert rest[:n].tolist() == rows[keep][:n].tolist() and rest_scores[:n].tobytes() == scores[keep][:n].tobytes()


def test_lists_are_looked_up_and_scanned_when_they_are_long(zipf):
    """A rare word beside one that nearly every passage holds: the case that the search cuts short."""
    passages = [f"{'rare ' if i % 500 == 3 else ''}common {'x ' * (i % 7)}word{i % 13}" for i in range(20_000)]
    index = Index(passages, MineConfig())
    queries, none = ["rare common", "common", "rare word3 common common"], [np.array([], int)] * 3
    expected = list(index.top(queries, none, 10, compiled=False))
    for (rows, scores), (same, same_scores) in zip(index.top(queries, none, 10, compiled=True, block=4096), expected):
        assert rows.tolist() == same.tolist() and scores.tobytes() == same_scores.tobytes()


def test_a_passage_holds_no_other_chunks_words(monkeypatch, zipf):
    passages, _, _ = zipf
    whole = Index(passages, MineConfig())
    monkeypatch.setattr("retscale.mine.bm25.CHUNK", 999)
    for name in ("starts", "passages", "gains", "bounds"):
        assert getattr(Index(passages, MineConfig()), name).tobytes() == getattr(whole, name).tobytes()


def test_words_and_stop_words_are_those_of_bm25s():
    import bm25s
    from bm25s.stopwords import STOPWORDS_EN

    text = "The naïve co-op's 3rd re_try: A b cd ÜBER don't, 12 e.g. x1 Σίσυφος\u200bok"
    assert set(ENGLISH) == set(STOPWORDS_EN)
    terms = Index([text], MineConfig()).terms
    words = bm25s.tokenize(text, return_ids=False, show_progress=False)[0]
    assert list(terms.names) == sorted(word.replace("ς", "σ") for word in words)
    assert [number for number in terms.numbers(text) if number >= 0] == [
        terms.names[w.replace("ς", "σ")] for w in words
    ]


@pytest.mark.parametrize(
    "query, answer, other",
    [
        ("東京の天気は", "今日の東京の天気は晴れです。", "大阪へ行きました。"),
        ("กรุงเทพ", "ฉันอยู่ที่กรุงเทพมหานคร", "เชียงใหม่สวยมาก"),
        ("서울 날씨", "오늘 서울의 날씨는 맑다", "부산에 갔다"),
        ("हिन्दी किताब", "यह हिन्दी की किताब है", "वह घर जाता है"),
        ("cafe\u0301", "a café", "a cafe"),
        ("ＧＰＵ", "a gpu", "a cpu"),
        ("STRASSE", "die Straße", "der Weg"),
    ],
)
def test_words_of_any_script_are_found(query, answer, other):
    index = Index([other, answer], MineConfig())
    [(rows, scores)] = index.top([query], [np.array([], int)], 2)
    assert rows.tolist() == [1] and scores[0] > 0


def test_stems_and_stop_words_by_language():
    texts = ["die Häuser der Stadt", "ein Haus und ein Garten", "der Wald"]
    none = [np.array([], int)]
    plain, german = (
        Index(texts, MineConfig(stopwords=s, stemmer=t)) for s, t in (("none", "none"), ("german", "german"))
    )
    assert [rows.tolist() for rows, _ in plain.top(["das haus der Wälder"], none, 3)] == [[1, 2, 0]]
    assert [rows.tolist() for rows, _ in german.top(["das haus der Wälder"], none, 3)] == [[2, 0, 1]]
    assert set(german.terms.names) == {"haus", "stadt", "gart", "wald"}
    english = Index(["was running", "run on"], MineConfig(stemmer="english"))
    assert set(english.terms.names) == {"run"}  # a stop word is one before it is stemmed, and no word is stemmed to one


def test_threads_share_a_stemmer(zipf):
    passages, queries, excluded = zipf
    config = MineConfig(stemmer="english")
    one, many = (list(Index(passages, config).top(queries * 50, excluded * 50, 10, threads=n)) for n in (1, 8))
    assert all(a.tolist() == b.tolist() and x.tobytes() == y.tobytes() for (a, x), (b, y) in zip(one, many))


def test_every_language_is_there():
    for language in get_args(StopWords):
        assert language == "none" or len(stop_words(language)) > 30, language
    for stemmer in get_args(Stemmer):
        assert Index(["word"], MineConfig(stemmer=stemmer)).count == 1
    assert "an" in stop_words("german") and not {"d", "aujourd"} & {*stop_words("french")} - {"d"}


@pytest.mark.parametrize("stemmer, expected", [("none", 0.6569), ("porter", 0.6713)])
def test_ndcg_on_scifact_is_as_published(shared, stemmer, expected):
    """Of BM25 with k1 .9 and b .4, title and text as one field; .671 is with Porter's stemmer."""
    folder = shared / "beir-scifact"
    documents, queries = (
        [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in ("corpus", "queries")
    )
    qrels = pd.read_csv(folder / "qrels" / "test.tsv", sep="\t", dtype=str)
    number = {document["_id"]: i for i, document in enumerate(documents)}
    relevant = qrels[qrels["score"] != "0"].groupby("query-id")["corpus-id"].agg(lambda ids: [number[id] for id in ids])
    texts = {query["_id"]: query["text"] for query in queries}
    index = Index([f"{d['title']} {d['text']}" for d in documents], MineConfig(stemmer=stemmer))
    discounts = 1 / np.log2(np.arange(2, 12))
    scores = []
    for ids, (rows, _) in zip(relevant, index.top([texts[id] for id in relevant.index], [np.array([], int)] * 300, 10)):
        scores.append(discounts[: len(rows)][np.isin(rows, ids)].sum() / discounts[: len(ids)].sum())
    assert len(scores) == 300 and np.mean(scores) == pytest.approx(expected, abs=5e-4)


def test_skip_passes_over_the_best():
    best = mined([("q", "cats mice dogs", "p4")], negatives=5)[0]["q"]
    by_query, facts = mined([("q", "cats mice dogs", "p4")], negatives=3, skip=2)
    assert by_query["q"]["negatives"] == best["negatives"][2:5] and facts["passed"] == 2
    fewer, facts = mined([("q", "cats mice dogs", "p4")], negatives=4, skip=2)
    assert fewer["q"]["negatives"] == by_query["q"]["negatives"] and (facts["short"], facts["missing"]) == (1, 1)


def test_margin_passes_over_what_scores_above_a_share_of_the_lowest_positive():
    everything = {
        row: score
        for query in [mined([("q", "cats mice dogs", "p4")], negatives=5)[0]["q"]]
        for row, score in zip(query["negatives"], query["scores"])
    }
    by_query, _ = mined([("q", "cats mice dogs", "p5"), ("q", "cats mice dogs", "p1")], negatives=2, margin=0.9)
    limit = 0.9 * min(everything["p1"], everything["p5"])
    allowed = [id for id, score in everything.items() if id not in ("p1", "p5") and score <= limit]
    scoring = [(id, score) for id, score in zip(by_query["q"]["negatives"], by_query["q"]["scores"]) if score > 0]
    assert [id for id, _ in scoring] == allowed[:2] and 0 < len(scoring)
    assert all(everything.get(id, 0) <= limit for id in by_query["q"]["negatives"])


def test_hardest_by_rank_and_margin():
    scores = np.array([9.0, 8, 8, 5, 1], np.float32)
    assert hardest(scores, 1, None, 0).tolist() == [1, 2, 3, 4]
    assert hardest(scores, 0, 0.8, 10).tolist() == [1, 2, 3, 4]  # 8 is just 80%
    assert hardest(scores, 2, 0.7, 10).tolist() == [3, 4]
    assert hardest(-scores, 0, 0.5, -2).tolist() == [0, 1, 2, 3]  # -1 is better than the positive


@pytest.mark.parametrize(
    "pairs, passages, message",
    [
        ([("q", "cats", "p9")], [("p0", "cats")], "query q: its passage p9 is missing from passages.parquet"),
        ([("q", "cats", "p0")], [("p0", "cats"), ("p0", "dogs")], "passage p0 occurs twice in passages.parquet"),
        (
            [("q", "cats", "p0"), ("q", "dogs", "p0")],
            [("p0", "cats")],
            "query q has two texts in pairs.parquet",
        ),
    ],
    ids=["unknown passage", "passage twice", "query with two texts"],
)
def test_bad_tables_are_refused(pairs, passages, message):
    pairs = pd.DataFrame(pairs, columns=["query_id", "query", "passage_id"])
    passages = pd.DataFrame(passages, columns=["passage_id", "text"])
    with pytest.raises(UserError, match=message):
        mine(pairs, passages, MineConfig(negatives=1))


def test_a_pair_given_twice_and_queries_or_passages_without_words_do_no_harm():
    passages = {"p0": "", "p1": "...", "p2": "a", "p3": "cats"}
    by_query, facts = mined([("q", "?", "p3"), ("q", "?", "p3"), ("r", "cats", "p0")], passages, negatives=1)
    assert by_query["q"]["scores"] == [] and by_query["r"]["negatives"] == ["p3"] and facts["queries"] == 2
    nothing, facts = mined([("q", "cats", "p0")], {"p0": "", "p1": "?"}, negatives=1)
    assert nothing["q"]["negatives"] == [] and facts["missing"] == 1


class Letters:
    """An encoder without weights: a text's vector depends on its letters and its side."""

    models = (None,)  # one replica

    def tokens(self, texts, side):
        return [np.frombuffer(f"{side[0]}{text}".encode(), np.uint8).astype(np.int32) for text in texts]

    def embed(self, ids, what, replica=0):
        texts = [bytes(x.tolist()).decode() for x in ids]
        counts = np.array([[text[1:].count(letter) for letter in "abcdefghijklmnopqrst"] for text in texts], np.float32)
        counts[:, 0] += [1 if text[0] == "q" else 2 for text in texts]
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def embed(texts, side):
    encoder = Letters()
    return np.concatenate([encoder.embed(encoder.tokens([text], side), "") for text in texts])


def test_an_encoders_ranking_is_that_of_a_full_sort(monkeypatch, tmp_path):
    random = np.random.default_rng(2)
    texts = ["".join(random.choice(list("abcdefghijklmnopqrst"), random.integers(1, 12))) for _ in range(300)]
    texts[50:60] = [texts[7]] * 10  # ties
    texts[100:150] = [texts[8]] * 50  # more than the candidates of a search
    queries = texts[:40] + ["zzz"]
    positives = [random.choice(300, random.integers(1, 3), replace=False) for _ in queries]
    excluded = [np.unique(np.concatenate([rows, random.choice(300, 9)])) for rows in positives]
    scores = embed(queries, "query").astype(float) @ embed(texts, "passage").astype(float).T
    passages = pd.DataFrame({"passage_id": [f"p{i:03d}" for i in range(300)], "text": texts})
    asked = pd.Series(queries, [f"q{i}" for i in range(len(queries))])
    made = []
    for shard, cells, top in ((300, 2**24, 20), (37, 500, 20), (64, 700, 300)):
        monkeypatch.setattr(vectors, "VECTORS_A_SHARD", shard)
        monkeypatch.setattr(search, "CELLS", cells)
        rows, values, positive = dense.nearest(Letters(), passages, asked, positives, excluded, top, tmp_path)
        made.append((rows[:, :20].tolist(), values[:, :20].tobytes(), positive.tobytes()))
        for q in range(len(queries)):
            free = np.setdiff1d(np.arange(300), excluded[q])
            ranked = rows[q][rows[q] >= 0]
            assert set(ranked) <= set(free) and len(ranked) == len(set(ranked)) == min(top, len(free))
            best = np.sort(scores[q, free])[::-1][:top]
            np.testing.assert_allclose(scores[q, ranked], best, rtol=1e-6)
            np.testing.assert_allclose(values[q][: len(ranked)], best, rtol=1e-6)
            assert (np.diff(ranked)[np.diff(values[q][: len(ranked)]) == 0] > 0).all()
            assert positive[q] == pytest.approx(scores[q, positives[q]].min(), rel=1e-6)
    assert made[0] == made[1] == made[2]
    assert not list(tmp_path.iterdir())


def test_copies_tie_and_go_by_id_wherever_they_lie(monkeypatch, tmp_path):
    """A real encoder's vectors depend by rounding on the batch; here the rounding is coarse."""

    class Rounding(Letters):
        def embed(self, ids, what, replica=0):
            self.calls = getattr(self, "calls", 0) + 1
            made = super().embed(ids, what)
            made[:, 1] += 1e-3 * self.calls + 1e-4 * np.arange(len(made))
            return made / np.linalg.norm(made, axis=1, keepdims=True)

    monkeypatch.setattr(vectors, "VECTORS_A_SHARD", 4)
    texts = ["abc", "b", "bcd", "de", "abc", "fgh", "aj", "abc", "kl", "cdb", "abc", "bcd"]
    passages = pd.DataFrame({"passage_id": [f"p{i:02d}" for i in range(12)], "text": texts})
    queries = pd.Series(["abcc"], ["q"])
    rows, scores, _ = dense.nearest(Rounding(), passages, queries, [np.array([6])], [np.array([6])], 12, tmp_path)
    assert [row for row in rows[0] if texts[row] == "abc"] == [0, 4, 7, 10] == rows[0][:4].tolist()
    for text in set(texts) - {"aj"}:
        assert len({score for row, score in zip(rows[0], scores[0]) if row >= 0 and texts[row] == text}) == 1


def test_negatives_of_an_encoder_keep_below_the_positives_score(tmp_path):
    passages = {"p0": "abc", "p1": "abcd", "p2": "abcde", "p3": "ghi", "p4": "ABC", "p5": "a"}
    pairs, collection = frames([("q", "abc", "p0")], passages)
    rank = by_encoder(Letters(), tmp_path)
    table, _ = mine(pairs, collection, MineConfig(method="encoder", encoder="x", negatives=2), rank)
    assert table.to_pylist()[0]["negatives"] == ["p1", "p2"]  # p4 is a copy of the positive
    close = MineConfig(method="encoder", encoder="x", negatives=2, margin=0.9)
    row = mine(pairs, collection, close, rank)[0].to_pylist()[0]
    score = {id: float(embed(["abc"], "query")[0] @ embed([text], "passage")[0]) for id, text in passages.items()}
    assert max(row["scores"]) <= 0.9 * score["p0"] < score["p1"] and "p1" not in row["negatives"]


@pytest.mark.parametrize(("side", "culprit"), [("queries", "the query 'q'"), ("passages", "the document 'p")])
def test_an_embedding_that_is_not_finite_is_named(side, culprit, tmp_path):
    class Broken(Letters):
        def embed(self, ids, what, replica=0):
            made = super().embed(ids, what)
            if side in what:
                made[-1, 3] = np.nan
            return made

    pairs, collection = frames([("q", "cats", "p0")])
    with pytest.raises(UserError, match=f"1 of . embeddings are not finite, first that of {culprit}"):
        config = MineConfig(method="encoder", encoder="x", negatives=1)
        mine(pairs, collection, config, by_encoder(Broken(), tmp_path))


def test_given_negatives_keep_their_order_and_no_positive_is_among_them(tmp_path):
    rows = [("q", "p5"), ("q", "p2"), ("q", "p0"), ("q", "p1"), ("r", "p4")]
    pd.DataFrame(rows, columns=["query_id", "passage_id"]).to_parquet(tmp_path / "given.parquet")
    pairs, passages = frames([("q", "cats", "p0"), ("r", "dogs", "p3"), ("s", "rain", "p5")])
    rank = by_given(tmp_path / "given.parquet")
    table, facts = mine(pairs, passages, MineConfig(method="given", negatives=2), rank)
    negatives = {row["query_id"]: row["negatives"] for row in table.to_pylist()}
    assert negatives == {"q": ["p5", "p1"], "r": ["p4"], "s": []}  # p2 is a copy of p0
    assert facts["missing"] == 3 and set(np.concatenate(table["scores"].to_pylist())) == {0}


def test_a_given_negative_that_is_no_passage_is_refused(tmp_path):
    given = pd.DataFrame([("q", "p2"), ("q", "gone")], columns=["query_id", "passage_id"])
    given.to_parquet(tmp_path / "given.parquet")
    pairs, passages = frames([("q", "cats", "p0")])
    with pytest.raises(UserError, match="query q: its negative gone is missing from passages.parquet"):
        mine(pairs, passages, MineConfig(method="given", negatives=1), by_given(tmp_path / "given.parquet"))


def test_given_negatives_must_be_there(tmp_path):
    with pytest.raises(UserError, match="`method: given`, but the data set .* gives no negatives"):
        by_given(tmp_path / "given.parquet")


@pytest.mark.parametrize(
    "config", [{"method": "encoder"}, {"encoder": "x"}, {"method": "given", "margin": 0.9}, {"guide": "x"}]
)
def test_settings_must_fit_the_method(config):
    with pytest.raises(
        ValueError, match="goes with `method: encoder`|a `margin` needs a `guide`|scores for the `margin`"
    ):
        MineConfig.model_validate(config)
