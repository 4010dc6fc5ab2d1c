"""Exact search against a full sort, metrics against pytrec_eval, however the work is cut."""

import artifacts
import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import torch
from threadpoolctl import threadpool_limits

from retscale.errors import UserError
from retscale.evaluate import metrics, products, search
from retscale.evaluate.documents import Documents
from retscale.evaluate.matches import match
from retscale.evaluate.metrics import STANDARD
from retscale.evaluate.products import OnCpu, Products
from retscale.evaluate.scored import per_query
from retscale.evaluate.search import _keys, rank_candidates, top_k
from retscale.evaluate.task_tables import Task
from retscale.evaluate.trec import lines
from retscale.task.card import TaskCard

# Our names and trec_eval's; a reciprocal rank cut at 10 it has not.
THEIRS = {
    "ndcg_at_10": "ndcg_cut.10",
    "ndcg_at_100": "ndcg_cut.100",
    "recall_at_10": "recall.10",
    "recall_at_100": "recall.100",
    "map_at_100": "map_cut.100",
    "map_at_5": "map_cut.5",
    "precision_at_10": "P.10",
    "precision_at_100": "P.100",
}
NAMES = [*THEIRS, "mrr_at_10"]


def excluded(own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of each query and its document in `own`, -1 for none."""
    asked = np.flatnonzero(own >= 0)
    return asked, own[asked]


def random_task(rng, n_queries: int = 30, n_documents: int = 200, judged_only: bool = False) -> Task:
    """Judgements of -1 to 3 on a few documents a query; some queries have no relevant document."""
    doc_ids = np.array([f"{'abC'[i % 3]}{i}" for i in rng.permutation(n_documents)], object)
    judged = [
        (q, d, int(rng.integers(-1, 4)))
        for q in range(n_queries)
        for d in rng.choice(n_documents, rng.integers(1, 30), False)
    ]
    queries, documents, scores = (np.array(column) for column in zip(*judged))
    facts = TaskCard(**artifacts.task(judged_only=judged_only))
    query_ids = np.array([f"q{i}" for i in range(n_queries)], object)
    candidate = np.ones(len(queries), bool)
    return Task(facts, query_ids, [""] * n_queries, doc_ids, queries, documents, scores, candidate, None)


def vectors(rng, n: int, d: int = 6) -> np.ndarray:
    """Small integers in eighths: inner products are exact in any order of summation, within 1, and often tie."""
    return rng.integers(-2, 3, (n, d)).astype(np.float32) / 8


def trec_eval(task: Task, run: dict, relevant: int = 1) -> pd.DataFrame:
    qrels = {}
    for q, d, s in zip(task.judged_queries, task.judged_documents, task.scores):
        qrels.setdefault(task.query_ids[q], {})[task.doc_ids[d]] = int(s)
    measures = {*THEIRS.values(), "recip_rank"}
    returned = pytrec_eval.RelevanceEvaluator(qrels, measures, relevance_level=relevant).evaluate(run)
    return pd.DataFrame(returned).T.loc[task.query_ids]


def whole_run(task: Task, queries: np.ndarray, documents: np.ndarray) -> dict:
    scores = queries @ documents.T
    return {id: {d: float(s) for d, s in zip(task.doc_ids, row)} for id, row in zip(task.query_ids, scores)}


def check_against_trec_eval(task: Task, returned: pd.DataFrame, run: dict, relevant: int = 1) -> None:
    expected = trec_eval(task, run, relevant)
    for ours, theirs in THEIRS.items():
        np.testing.assert_allclose(returned[ours], expected[theirs.replace(".", "_")], atol=1e-12, err_msg=ours)
    reciprocal = expected["recip_rank"].to_numpy()
    np.testing.assert_allclose(returned["mrr_at_10"], np.where(reciprocal >= 0.1, reciprocal, 0), atol=1e-12)


@pytest.mark.parametrize("relevant", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_pytrec_eval_with_ties_and_unjudged_documents(seed, relevant):
    rng = np.random.default_rng(seed)
    task = random_task(rng)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    rows, scores = top_k(queries, [documents], Documents.make(task.doc_ids), 100)
    assert (scores[:, 1:] == scores[:, :-1]).any()
    returned, run = per_query(task, rows, scores, NAMES, relevant), whole_run(task, queries, documents)
    check_against_trec_eval(task, returned, run, relevant)


def test_candidates_only_equal_pytrec_eval_on_the_candidates():
    rng = np.random.default_rng(7)
    task = random_task(rng, judged_only=True)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    pairs = task.judged_queries, task.judged_documents
    rows, scores = rank_candidates(queries, [documents[:90], documents[90:]], Documents.make(task.doc_ids), pairs, 100)
    returned = per_query(task, rows, scores, NAMES)
    judged = pd.DataFrame({"q": task.query_ids[pairs[0]], "d": task.doc_ids[pairs[1]]}).groupby("q")["d"].agg(set)
    whole = whole_run(task, queries, documents)
    check_against_trec_eval(task, returned, {q: {d: s for d, s in whole[q].items() if d in judged[q]} for q in whole})
    assert all(set(row.doc_ids) == judged[row.query_id] for row in returned.itertuples())


def by_sorting(task: Task, queries: np.ndarray, documents: np.ndarray, k: int) -> list[list[str]]:
    scores = queries @ documents.T
    ranked = [sorted(zip(row.tolist(), task.doc_ids), reverse=True)[:k] for row in scores]
    return [[id for _, id in row] for row in ranked]


def cut(documents: np.ndarray, size: int) -> list[np.ndarray]:
    return [documents[i : i + size] for i in range(0, len(documents), size)]


@pytest.mark.parametrize("k", [1, 17, 200, 500])
def test_search_equals_a_full_sort_by_score_then_id_descending(k):
    rng = np.random.default_rng(k)
    task = random_task(rng)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    expected = by_sorting(task, queries, documents, k)
    for size in (200, 64, 13, 1):
        rows, scores = top_k(queries, cut(documents, size), Documents.make(task.doc_ids), k)
        assert [task.doc_ids[row].tolist() for row in rows] == expected
        np.testing.assert_array_equal(scores, np.take_along_axis(queries @ documents.T, rows, 1))
    order = rng.permutation(200)
    rows, _ = top_k(queries, [documents[order]], Documents.make(task.doc_ids[order]), k)
    assert [task.doc_ids[order][row].tolist() for row in rows] == expected


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def copies(n: int = 3000, d: int = 48) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Real vectors, whose products round, a fifth of the documents copies of one and a fifth of another."""
    rng = np.random.default_rng(0)
    queries, documents = (rng.standard_normal((m, d)).astype(np.float32) for m in (30, n))
    documents[::5], documents[1::5] = documents[3], queries[0]
    queries, documents = unit(queries), unit(documents)
    return queries, documents, rng.permutation([f"d{i}" for i in range(n)]).astype(object)


ON = {"as on a CPU": OnCpu, "as on an accelerator": Products}


@pytest.mark.parametrize("kind", ON)
def test_the_same_bits_however_the_work_is_cut(kind, monkeypatch):
    queries, documents, ids = copies()
    monkeypatch.setattr(search, "products_on", lambda device: ON[kind](torch.device(device)))
    named, exclude = Documents.make(ids), np.where(np.arange(30) % 3, -1, np.arange(30) * 100)

    def searched(queries=queries, size=len(documents), exclude=exclude):
        return top_k(queries, cut(documents, size), named, 100, exclude=excluded(exclude))

    whole = searched()
    exact = queries.astype(np.float64) @ documents.T.astype(np.float64)
    exact[exclude >= 0, exclude[exclude >= 0]] = -np.inf
    np.testing.assert_allclose(whole[1], -np.sort(-exact, axis=1)[:, :100], atol=1e-6)
    assert whole[1].max() == 1  # rounding would make it 1.0000001
    # Copies tie to the bit, and stand in the order of their ids.
    tied = whole[1][:, 1:] == whole[1][:, :-1]
    names = ids[whole[0]]
    assert tied[0].sum() > 90 and (names[:, :-1] > names[:, 1:])[tied].all()

    def check(returned):
        np.testing.assert_array_equal(returned[0], whole[0])
        np.testing.assert_array_equal(returned[1], whole[1])

    for size in (1, 64, 1000, 2999):
        check(searched(size=size))
    for threads in (1, 2):
        with threadpool_limits(threads):
            check(searched())
    parts = [searched(queries[some], exclude=exclude[some]) for some in (slice(7), slice(7, 8), slice(8, 30))]
    check([np.concatenate(part) for part in zip(*parts)])
    monkeypatch.setattr(search, "PAIRS", 700)
    monkeypatch.setattr(search, "CELLS", 4 * 3000)
    check(searched())
    for name in ("CELLS", "CELLS_IN_CACHE"):
        monkeypatch.setattr(products, name, 4 * 3000)
    check(searched(size=64))


class Rounding(Products):
    """Matrix products that are wrong by nearly as much as a search allows for; it counts what is computed again."""

    def __init__(self):
        super().__init__(torch.device("cpu"))
        self.again, self.random = 0, np.random.default_rng(0)

    def error(self, shape) -> np.ndarray:
        return self.random.choice([-0.99, 0.99], shape).astype(np.float32) * np.float32(search.ROUNDING)

    def nearest(self, queries, vectors, count):
        scores = queries.numpy() @ vectors.numpy().T
        scores += self.error(scores.shape)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(scores, rows, 1), rows

    def above(self, query, vectors, least):
        scores = vectors.numpy() @ query.numpy()
        return np.flatnonzero(scores + self.error(scores.shape) >= least)

    def of_pairs(self, queries, vectors, query_rows, rows):
        self.again += len(rows)
        return super().of_pairs(queries, vectors, query_rows, rows)


def crowded(order: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Queries and documents in groups, those of a group within a few roundings of each other and of their query."""
    rng = np.random.default_rng(4)
    centers = unit(rng.standard_normal((10, 24)))
    group = rng.integers(0, 10, 2000)
    documents = unit(centers[group] + rng.choice([0, 3e-6, 1e-5], (2000, 1)) * rng.standard_normal((2000, 24)))
    queries = unit(centers + 0.3 * rng.standard_normal((10, 24))).astype(np.float32)
    documents = documents.astype(np.float32)[np.argsort(group, kind="stable") if order == "by group" else slice(None)]
    return queries, documents, rng.permutation([f"d{i:04d}" for i in range(2000)]).astype(object)


@pytest.mark.parametrize("order", ["by group", "mixed"])
@pytest.mark.parametrize("k", [5, 150, 450])
def test_what_is_passed_over_could_not_have_been_ranked(k, order, monkeypatch):
    queries, documents, ids = crowded(order)
    named, rounding = Documents.make(ids), Rounding()
    query, row = np.divmod(np.arange(10 * 2000), 2000)
    tensors = torch.from_numpy(queries), torch.from_numpy(documents)
    scores = Products.of_pairs(rounding, *tensors, query, row).clip(-1, 1).reshape(10, 2000)
    exhaustive = np.array([np.lexsort((named.place, -line))[:k] for line in scores])
    monkeypatch.setattr(search, "products_on", lambda device: rounding)
    for size in (2000, 301, 64, 7):
        rows, returned = top_k(queries, cut(documents, size), named, k)
        np.testing.assert_array_equal(rows, exhaustive)
        np.testing.assert_array_equal(returned, np.take_along_axis(scores, exhaustive, 1))


def test_few_candidates_are_scored_again(monkeypatch):
    """Of the 116 nearest of each shard those that may be among the best 100 of all shards: 100 x (1 + 1/2 + 1/3 ...)."""
    rng = np.random.default_rng(6)
    queries, documents = (unit(rng.standard_normal((n, 16)).astype(np.float32)) for n in (20, 40 * 500))
    rounding = Rounding()
    monkeypatch.setattr(search, "products_on", lambda device: rounding)
    top_k(queries, cut(documents, 500), Documents.make(np.arange(len(documents)).astype(str).astype(object)), 100)
    assert rounding.again / 20 < 1.25 * 100 * sum(1 / shard for shard in range(1, 41)) < 40 * 116 / 8


def draw(rng, n_documents: int, n_vectors: int):
    """Vectors in eighths, some of them equal, and documents many of which share one."""
    number = np.concatenate([np.arange(n_vectors), rng.integers(0, n_vectors, n_documents - n_vectors)])
    ids = rng.permutation([f"d{i:03d}" for i in range(n_documents)]).astype(object)
    return Documents.make(ids, number.astype(np.int32)), vectors(rng, n_vectors, 3)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("k", [1, 5, 40, 300])
def test_documents_that_share_a_vector_are_ranked_as_if_each_had_its_own(seed, k, monkeypatch):
    rng = np.random.default_rng(seed)
    documents, held = draw(rng, 120, (3, 20, 60, 120)[seed % 4])
    asked = vectors(rng, 9, 3)
    barred = np.unique(np.stack([rng.integers(0, 9, 60), rng.integers(0, 120, 60)]), axis=1)
    scores = asked @ held[documents.vector].T
    scores[barred[0], barred[1]] = -np.inf
    expected = [
        [row for _, _, row in sorted(zip(line, documents.ids, range(120)), reverse=True) if line[row] > -np.inf][:k]
        for line in scores
    ]
    for pairs in (2**20, 1):
        monkeypatch.setattr(search, "PAIRS", pairs)
        for size in (500, 7, 1):
            rows, returned = top_k(asked, cut(held, size), documents, k, exclude=(barred[0], barred[1]))
            assert [row[row >= 0].tolist() for row in rows] == expected
            assert rows.shape == (9, min(k, 120)) and (np.isneginf(returned) == (rows < 0)).all()
            np.testing.assert_array_equal(returned[rows >= 0], np.concatenate([s[r] for s, r in zip(scores, expected)]))


def test_candidates_that_share_a_vector_tie_and_go_by_id():
    rng = np.random.default_rng(0)
    documents, held = draw(rng, 120, 20)
    asked = vectors(rng, 9, 3)
    pairs = np.divmod(rng.choice(9 * 120, 500, replace=False), 120)
    scores = asked @ held[documents.vector].T
    for size in (20, 3):
        rows, returned = rank_candidates(asked, cut(held, size), documents, pairs, 30)
        for query in range(9):
            own = pairs[1][pairs[0] == query]
            ranked = sorted(zip(scores[query, own], documents.ids[own], own), reverse=True)[:30]
            assert rows[query][rows[query] >= 0].tolist() == [row for _, _, row in ranked]
            assert returned[query][rows[query] >= 0].tolist() == [score for score, _, _ in ranked]


@pytest.mark.parametrize("pair", [(0, -1), (-1, 0), (0, 4), (2, 0)])
def test_a_candidate_that_is_not_there_is_refused(pair):
    documents = Documents.make(np.array(list("abcd"), object))
    with pytest.raises(IndexError, match="candidates"):
        pairs = np.array([0, pair[0]]), np.array([0, pair[1]])
        rank_candidates(np.eye(2, dtype=np.float32), [np.zeros((4, 2), np.float32)], documents, pairs, 10)


def test_search_equals_faiss_where_nothing_ties():
    faiss = pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    queries, documents = (unit(rng.standard_normal((m, 32)).astype(np.float32)) for m in (30, 5000))
    index = faiss.IndexFlatIP(32)
    index.add(documents)
    scores, rows = index.search(queries, 100)
    named = Documents.make(np.array([f"{i}" for i in range(5000)], object))
    ours = top_k(queries, cut(documents, 999), named, 100)
    np.testing.assert_array_equal(ours[0], rows)
    np.testing.assert_allclose(ours[1], scores, rtol=1e-5)


def test_half_precision_vectors_are_scored_in_single():
    queries, documents, ids = copies()
    half = documents.astype(np.float16)
    returned = top_k(queries, cut(half, 700), Documents.make(ids), 100)
    expected = top_k(queries, [half.astype(np.float32)], Documents.make(ids), 100)
    np.testing.assert_array_equal(returned[0], expected[0])
    assert returned[1].dtype == np.float32


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_embedding_that_is_not_finite_is_named(bad):
    queries, documents, ids = copies()
    documents[2345, 7] = bad
    with pytest.raises(UserError, match=f"first that of the document '{ids[2345]}'"):
        top_k(queries, cut(documents, 1000), Documents.make(ids), 10)
    with pytest.raises(UserError, match=f"first that of the document '{ids[2345]}'"):
        rank_candidates(queries, cut(documents, 1000), Documents.make(ids), (np.array([0]), np.array([5])), 10)


def test_keys_order_as_cosines_do_and_know_one_zero():
    scores = np.array([-1.0000001, -1, -0.5, -1e-30, -0.0, 0.0, 1e-30, 1, 1.0000001], np.float32)
    keys = _keys(scores, np.zeros(len(scores), np.int32))
    assert (np.diff(keys) >= 0).all() and np.flatnonzero(np.diff(keys) == 0).tolist() == [0, 4, 7]
    first, second = _keys(np.ones(2, np.float32), np.array([4, 5], np.int32))
    assert first > second


def test_an_excluded_document_is_never_retrieved():
    rng = np.random.default_rng(3)
    documents, ids = vectors(rng, 20), np.array([f"d{i:02d}" for i in range(20)], object)
    exclude = np.array([4, -1, 0, 19])
    asked, named = documents[[4, 1, 0, 19]], Documents.make(ids)
    rows, scores = top_k(asked, cut(documents, 7), named, 20, exclude=excluded(exclude))
    for row, score, own in zip(rows, scores, exclude):
        kept = set(range(20)) - {own}
        assert set(row.tolist()) - {-1} == kept
        assert np.isneginf(score).sum() == 20 - len(kept)
    assert (rows[[0, 2, 3], -1] == -1).all()


def test_a_metric_counts_what_is_relevant_and_nothing_else():
    ranked = np.array([[4, 2, 9], [2, 4, -1], [0, 1, 2]])
    judged = np.array([0, 0, 0, 1]), np.array([2, 9, 5, 7]), np.array([1, -1, 3, 0])
    matches = match(ranked, *judged)
    assert (matches.row.tolist(), matches.rank.tolist(), matches.gain.tolist()) == ([0], [1], [1])
    assert metrics.values("recall_at_1", matches).tolist() == [0, 0, 0]
    assert metrics.values("recall_at_2", matches).tolist() == [0.5, 0, 0]
    assert metrics.values("mrr_at_10", matches).tolist() == [0.5, 0, 0]
    assert metrics.values("precision_at_10", matches).tolist() == [0.1, 0, 0]
    best = 3 + 1 / np.log2(3)
    np.testing.assert_allclose(metrics.values("ndcg_at_10", matches), [1 / np.log2(3) / best, 0, 0])


def test_a_ranking_without_any_judgement_scores_nothing():
    empty = np.empty(0, np.int64)
    matches = match(np.array([[1, 2]]), empty, empty, empty)
    assert [metrics.values(name, matches).tolist() for name in STANDARD] == [[0.0]] * len(STANDARD)


def test_a_trec_run_gives_the_same_scores(tmp_path):
    rng = np.random.default_rng(11)
    task = random_task(rng)
    queries, documents = vectors(rng, 30) + np.float32(0.1), vectors(rng, 200)
    table = per_query(task, *top_k(queries, [documents], Documents.make(task.doc_ids), 100), NAMES)
    run = {}
    for line in lines(table, "tag"):
        query, _, document, rank, score, _ = line.split(" ")
        run.setdefault(query, {})[document] = float(score)
        assert int(rank) == len(run[query])
    assert all(np.float32(s) == t for q, ss in zip(table.query_id, table.scores) for s, t in zip(run[q].values(), ss))
    check_against_trec_eval(task, table, run)


def test_an_id_that_a_trec_run_cannot_hold_is_refused():
    table = pd.DataFrame({"query_id": ["q 1"], "doc_ids": [["d"]], "scores": [[1.0]]})
    with pytest.raises(UserError, match="'q 1' holds white space"):
        list(lines(table, "tag"))
