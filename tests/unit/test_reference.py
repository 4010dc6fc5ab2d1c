"""BM25 as a system of its own: its rankings against other implementations, and what it leaves out, counts and refuses."""

import json
from types import SimpleNamespace

import bm25s
import numpy as np
import pandas as pd
import pytest
import pytrec_eval

from retscale.audit import rescore
from retscale.audit.rerun import Rerun
from retscale.errors import UserError
from retscale.evaluate import task_tables, trec
from retscale.evaluate.result import Result
from retscale.reference.config import Reference, Spec, words
from retscale.reference.run import rankings, run
from retscale.task.run import run as make_task

WORDS = ["the", *(f"word{i}" for i in range(49))]


def task_of(folder, corpus, queries, qrels, **card):
    """task.json of a task in the BEIR layout; `card` overrides what it says."""
    source, out = folder / "source", folder / "t"
    (source / "qrels").mkdir(parents=True)
    out.mkdir()
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (source / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (source / "qrels/test.tsv").write_text("\n".join(lines) + "\n")
    make_task({"id": "t", "source": {"kind": "folder", "path": str(source)}}, {}, out)
    path = out / "task.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | card))
    return path


def spec(**system):
    return {"id": "bm25", "system": system, "tasks": {"t": {}}}


def ranked(task, scoring=(), **system):
    """{query: {document: score}}, best first, as the stage stores it; `scoring` are further keys of the spec."""
    out = task.parent
    list(run(spec(**system) | dict(scoring), {"tasks": [task]}, out))
    table = pd.read_parquet(out / "t.parquet")
    rows = zip(table["query_id"], table["doc_ids"], table["scores"])
    return {query: dict(zip(ids, scores)) for query, ids, scores in rows}


@pytest.fixture
def random_task(tmp_path):
    """120 documents with titles and 25 queries of random words, three judgments each."""
    rng = np.random.default_rng(1)
    corpus = [
        {"_id": f"d{i}", "title": rng.choice(WORDS), "text": " ".join(rng.choice(WORDS, rng.integers(3, 30)))}
        for i in range(120)
    ]
    queries = [{"_id": f"q{i}", "text": " ".join(rng.choice(WORDS, 4)) + " unseen"} for i in range(25)]
    qrels = [(f"q{i}", f"d{j}", 1 + int(j) % 2) for i in range(25) for j in rng.choice(120, 3, replace=False)]
    return task_of(tmp_path, corpus, queries, qrels), corpus, queries, qrels


@pytest.mark.parametrize("variant, relevant", [("lucene", 1), ("atire", 2)])
def test_scores_are_those_of_bm25s_and_metrics_those_of_trec_eval(random_task, variant, relevant):
    task, corpus, queries, qrels = random_task
    stored = ranked(task, {"relevant": relevant}, variant=variant, k1=1.2, b=0.75, stopwords="none")
    oracle = bm25s.BM25(method=variant, k1=1.2, b=0.75)
    oracle.index([f"{row['title']} {row['text']}".split() for row in corpus], show_progress=False)
    for row in queries:
        scores = oracle.get_scores([word for word in row["text"].split() if word != "unseen"])
        expected = {corpus[i]["_id"]: scores[i] for i in np.argsort(-scores)[:100] if scores[i] > 0}
        assert list(stored[row["_id"]].values()) == pytest.approx(list(expected.values()), rel=1e-5)
        for id, score in stored[row["_id"]].items():
            assert score == pytest.approx(scores[int(id[1:])], rel=1e-5)

    lines = trec.lines(pd.read_parquet(task.with_name("t.parquet")), "bm25")
    judged = {query: {d: s for q, d, s in qrels if q == query} for query, *_ in qrels}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10", "recall.100"}, relevance_level=relevant)
    oracle = evaluator.evaluate(pytrec_eval.parse_run(lines))
    result = Result.read(task.with_name("t.json"))
    for metric, name in (("ndcg_at_10", "ndcg_cut_10"), ("recall_at_100", "recall_100")):
        assert result.metrics[metric] == pytest.approx(np.mean([values[name] for values in oracle.values()]), abs=1e-12)
    assert (result.checkpoint, result.recipe, result.step, result.unranked) == ("bm25", "reference", None, 0)
    assert result.contrastive_entropy is None and "contrastive_entropy" not in task.with_name("t.json").read_text()


def test_an_audit_scores_it_again_and_names_what_is_forged(random_task):
    task = random_task[0]
    ranked(task)
    job, tables = Rerun("reference", spec(), {}, task.with_name("t.json")), task_tables.read(task)
    assert rescore.wrong(job, tables, 0.0) is None
    result = json.loads(job.target.read_text())
    result["metrics"]["ndcg_at_10"] += 1e-15
    job.target.write_text(json.dumps(result))
    assert "metrics.ndcg_at_10 is" in rescore.wrong(job, tables, 0.0)[1]


def small(folder, **card):
    texts = {"a": "Cats chase mice", "b": "cats chase mice", "c": "dogs bark", "q": "cats", "empty": ""}
    corpus = [{"_id": id, "text": text} for id, text in texts.items()]
    queries = [{"_id": "q", "text": "cats"}, {"_id": "r", "text": "the zebra"}, {"_id": "s", "text": "barking"}]
    qrels = [(query, id, 1) for query, id in (("q", "a"), ("q", "c"), ("q", "q"), ("r", "c"), ("s", "c"))]
    return task_of(folder, corpus, queries, qrels, **card)


def test_ties_go_as_in_trec_eval_and_a_query_without_a_term_ranks_nothing_and_is_counted(tmp_path, capsys):
    task = small(tmp_path)
    stored = ranked(task)
    assert list(stored["q"]) == ["q", "b", "a"] and stored["q"]["b"] == stored["q"]["a"]
    assert stored["r"] == stored["s"] == {}
    result = Result.read(task.with_name("t.json"))
    assert (result.unranked, result.n_queries, result.ties) == (2, 3, 1)
    assert "bm25 on t: nothing is ranked for 2 queries, for want of a shared term" in capsys.readouterr().err
    assert rescore.wrong(Rerun("reference", spec(), {}, task.with_name("t.json")), task_tables.read(task), 0.0) is None


def test_a_stemmer_finds_other_forms_of_a_word_and_is_stated(tmp_path):
    assert list(ranked(small(tmp_path), stemmer="porter")["s"]) == ["c"]
    assert words(Reference(stemmer="porter")) == "BM25 (Lucene's), k1 0.9, b 0.4, stop words english, stemmer porter"
    assert words(Reference(variant="atire", k1=1, b=0, stopwords="none")) == (
        "BM25 (ATIRE's), k1 1, b 0, no stop words, no stemmer"
    )


def test_no_query_finds_its_own_document_where_the_task_says_so(tmp_path):
    assert list(ranked(small(tmp_path, ignore_identical_ids=True))["q"]) == ["b", "a"]


@pytest.mark.parametrize("own, expected", [(False, ["q", "a"]), (True, ["a"])])
def test_a_task_of_candidates_ranks_them_alone(tmp_path, own, expected):
    task = small(tmp_path, judged_only=True, ignore_identical_ids=own)
    stored = ranked(task)
    assert list(stored["q"]) == expected and stored["r"] == {}
    assert rescore.wrong(Rerun("reference", spec(), {}, task.with_name("t.json")), task_tables.read(task), 0.0) is None


def test_a_judged_document_that_is_no_candidate_is_not_ranked(tmp_path):
    task = small(tmp_path, judged_only=True)
    judgments = pd.read_parquet(task.with_name("qrels.parquet"))
    candidate = judgments["doc_id"] != "q"
    judgments.assign(candidate=candidate).to_parquet(task.with_name("qrels.parquet"))
    assert list(ranked(task)["q"]) == ["a"]


def test_candidates_have_the_scores_that_they_have_among_all(random_task):
    task = task_tables.read(random_task[0])
    texts = pd.read_parquet(random_task[0].with_name("corpus.parquet"))
    texts = texts["title"] + " " + texts["text"]
    among_all = rankings(task, texts, Reference(), 1000)
    card = task.card.model_copy(update={"judged_only": True})
    candidates = rankings(
        SimpleNamespace(**vars(task) | {"card": card}, own_document=task.own_document), texts, Reference(), 2
    )
    for q, ((rows, scores), (all_rows, all_scores)) in enumerate(zip(candidates, among_all)):
        judged = set(task.judged_documents[task.judged_queries == q])
        kept = [(row, score) for row, score in zip(all_rows, all_scores) if row in judged][:2]
        assert list(zip(rows, scores)) == kept


def test_a_task_with_instructions_has_its_measure(tmp_path):
    texts = {"a": "cats", "b": "cats dogs", "c": "dogs dogs"} | {f"d{i}": "owls mice" for i in range(100)}
    corpus = [{"_id": id, "text": text} for id, text in texts.items()]
    queries = [{"_id": "1-og", "text": "cats"}, {"_id": "1-changed", "text": "cats dogs owls"}]
    task = task_of(tmp_path, corpus, queries, [("1-og", "a", 1), ("1-changed", "b", 1)], follows="p_mrr")
    pd.DataFrame({"query_id": ["1"], "doc_id": ["a"]}).to_parquet(task.with_name("changed.parquet"))
    stored = ranked(task)
    assert list(stored["1-og"]) == ["a", "b"] and list(stored["1-changed"])[:3] == ["b", "c", "a"]
    assert len(stored["1-changed"]) == 103  # deeper than k, for p-MRR looks at 1,000
    assert Result.read(task.with_name("t.json")).metrics["p_mrr"] == pytest.approx(1 - 1 / 3)


@pytest.mark.parametrize("text", ["", "the of and", "?!"])
def test_a_task_without_a_term_is_refused_by_name(tmp_path, text):
    task = task_of(
        tmp_path,
        [{"_id": "a", "text": text}, {"_id": "b", "text": ""}],
        [{"_id": "q", "text": "cats"}],
        [("q", "a", 1)],
    )
    with pytest.raises(UserError, match=r"the task 't' has no document with a term that BM25 could index; remove the"):
        ranked(task)


def test_a_grade_that_no_judgment_reaches_is_refused(random_task):
    with pytest.raises(UserError, match="relevant is 5, but the judgments of the task 't' reach 2"):
        list(run(spec() | {"relevant": 5}, {"tasks": [random_task[0]]}, random_task[0].parent))


def test_a_spec_holds_what_changes_a_ranking():
    with pytest.raises(ValueError, match="storage"):
        Spec.model_validate(spec() | {"storage": "float16"})
