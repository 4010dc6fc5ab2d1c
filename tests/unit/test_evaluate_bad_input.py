"""What a collection or an encoder may hold that it should not: taken as mteb takes it, or refused by name."""

import json

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
from test_evaluate import elsewhere, encoder, given, spec, tasks  # noqa: F401 - pytest finds the fixtures by their names

from retscale.errors import UserError
from retscale.evaluate import run as stage
from retscale.model.encoder import Encoder
from retscale.task.run import run as make_task

DOCUMENTS = [("a", "w1 w2 w3"), ("A", "w4 w5 w6"), ("a ", "w7 w8 w9"), ("empty", ""), ("blank", "  "), ("b", "w1 w9")]


def collection(folder, documents=DOCUMENTS, queries=(("q", "w4 w5 w6"),), judgements=(("q", "A", 1),), **more):
    """task.json of a collection in the BEIR layout."""
    source, out = folder / "source", folder / "task"
    (source / "qrels").mkdir(parents=True)
    out.mkdir()
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": id, "title": "", "text": text}) + "\n" for id, text in rows]
        (source / f"{name}.jsonl").write_text("".join(lines))
    (source / "qrels/test.tsv").write_text("".join("\t".join(map(str, row)) + "\n" for row in judgements))
    make_task({"id": "bad", "source": {"kind": "folder", "path": str(source)}, **more}, {}, out)
    return out / "task.json"


def evaluated(encoder, task, out) -> pd.DataFrame:
    list(stage.run(spec(["bad"]), given(encoder, task), out))
    return pd.read_parquet(out / "bad.parquet").set_index("query_id")


def test_ids_that_differ_in_case_or_blanks_and_empty_documents_are_documents_of_their_own(encoder, tmp_path):
    found = evaluated(encoder, collection(tmp_path), tmp_path)
    (ranking,), (scores,) = found["doc_ids"], found["scores"]
    assert sorted(ranking) == sorted(id for id, _ in DOCUMENTS)  # fewer than k, and each once
    score = dict(zip(ranking, scores))
    assert score["empty"] == score["blank"] and len({score[id] for id in ("a", "A", "a ")}) == 3
    assert list(ranking).index("empty") < list(ranking).index("blank")  # a tie: the higher id first
    assert found.loc["q", "recall_at_10"] == 1


def test_a_query_without_judgement_is_not_asked(encoder, tmp_path):
    task = collection(tmp_path, queries=(("q", "w4"), ("unjudged", "w5")))
    assert evaluated(encoder, task, tmp_path).index.tolist() == ["q"]
    assert json.loads((tmp_path / "bad.json").read_text())["n_queries"] == 1


def test_a_query_judged_irrelevant_only_scores_nothing_and_counts(encoder, tmp_path):
    task = collection(
        tmp_path, queries=(("q", "w4 w5 w6"), ("none", "w1")), judgements=(("q", "A", 1), ("none", "a", 0))
    )
    found = evaluated(encoder, task, tmp_path)
    assert found.loc["none", ["ndcg_at_10", "recall_at_100"]].tolist() == [0, 0]
    assert json.loads((tmp_path / "bad.json").read_text())["metrics"]["recall_at_100"] == 0.5


@pytest.mark.parametrize("judged_only", [False, True])
def test_judgements_of_unknown_documents_count_as_in_trec_eval(encoder, tmp_path, judged_only):
    """A document that is not there cannot be found: recall, MAP and the ideal ranking of nDCG know of it."""
    judgements = [("q", "A", 1), ("q", "nowhere", 3), ("q", "b", 0), ("q", "gone", 0), ("p", "b", 2), ("p", "no", 1)]
    queries = (("o", "w1"), ("p", "w1 w9"), ("q", "w4 w5 w6"))
    task = collection(tmp_path, queries=queries, judgements=[("o", "a", 1), *judgements], judged_only=judged_only)
    found = evaluated(encoder, task, tmp_path)
    qrels = {"o": {"a": 1}, "p": {"b": 2, "no": 1}, "q": {"A": 1, "nowhere": 3, "b": 0, "gone": 0}}
    run = {q: dict(zip(row.doc_ids, map(float, row.scores))) for q, row in found.iterrows()}
    names = {"ndcg_at_10": "ndcg_cut_10", "recall_at_10": "recall_10", "map_at_100": "map_cut_100"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.10", "map_cut.100"}).evaluate(run)
    for name, other in names.items():
        for query in qrels:
            assert found.loc[query, name] == pytest.approx(theirs[query][other], abs=1e-9), (name, query)
    assert sorted(found.loc["q", "doc_ids"]) == (["A", "b"] if judged_only else sorted(id for id, _ in DOCUMENTS))
    assert found.loc["p", "recall_at_10"] == 0.5 and found.loc["q", "ndcg_at_10"] < 0.5
    assert json.loads(task.read_text())["notes"]["kept"]["judgment of an unknown document"] == 3


@pytest.mark.parametrize(("side", "culprit"), [("queries", "the query 'q'"), ("documents", "the document 'a '")])
def test_an_embedding_that_is_not_finite_names_its_text(encoder, tmp_path, monkeypatch, side, culprit):
    embed = Encoder.embed

    def broken(self, ids, what, replica=0):
        vectors = embed(self, ids, what, replica)
        if f": {side}" in what:
            vectors[min(2, len(vectors) - 1), 0] = np.nan
        return vectors

    monkeypatch.setattr(Encoder, "embed", broken)
    with pytest.raises(UserError, match=f"first that of {culprit}"):
        evaluated(encoder, collection(tmp_path), tmp_path)
    assert not (tmp_path / "bad.json").exists()
