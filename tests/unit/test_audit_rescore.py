"""Stored rankings scored again: what is right passes exactly, and whatever is forged is named."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_evaluate_search import random_task, vectors

from retscale.audit import mirror, rescore, spot_check
from retscale.audit.rerun import Rerun
from retscale.audit.walk import Node
from retscale.evaluate.config import Spec
from retscale.evaluate.documents import Documents
from retscale.evaluate.scored import per_query, summary
from retscale.evaluate.search import rank_candidates, top_k
from retscale.provenance import record

SPEC = {"checkpoint": "c", "recipe": "r", "precision": "fp32", "tokens_per_batch": 64, "relevant": 2}
SPEC |= {"metrics": ["recall_at_50"], "tasks": {"t": {}}}


@pytest.fixture(params=[False, True], ids=["all documents", "judged only"])
def evaluation(request, tmp_path):
    """An evaluation as the stage writes it, with its task."""
    rng = np.random.default_rng(3)
    task = random_task(rng, judged_only=request.param)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    if request.param:
        pairs = task.judged_queries, task.judged_documents
        ranked = rank_candidates(queries, [documents], Documents.make(task.doc_ids), pairs, 100)
    else:
        ranked = top_k(queries, [documents], Documents.make(task.doc_ids), 100)
    job = Rerun("evaluate", SPEC, {}, tmp_path / "t.json")
    config = Spec.model_validate(SPEC)
    write(job, per_query(task, *ranked, config.names, config.relevant), task, config)
    return job, task


def write(job: Rerun, table: pd.DataFrame, task, config=None) -> None:
    table.to_parquet(job.target.with_suffix(".parquet"), index=False)
    config = config or Spec.model_validate(SPEC)
    job.target.write_text(json.dumps(summary(config, task, table) | {"contrastive_entropy": 0.5}))


def edit(job: Rerun, change) -> None:
    """Store what `change` returns for the stored table, and change nothing else."""
    path = job.target.with_suffix(".parquet")
    change(pd.read_parquet(path)).to_parquet(path, index=False)


def rescored(evaluation) -> tuple[str, str]:
    wrong = rescore.wrong(*evaluation, 0.0)
    assert wrong
    return wrong[0].name, wrong[1]


def test_what_was_ranked_and_scored_is_right(evaluation):
    assert rescore.wrong(*evaluation, 0.0) is None


def test_a_forged_score_is_named(evaluation):
    job, _ = evaluation
    result = json.loads(job.target.read_text())
    before = result["metrics"]["ndcg_at_10"]
    result["metrics"]["ndcg_at_10"] += 1e-15
    job.target.write_text(json.dumps(result))
    name, why = rescored(evaluation)
    assert name == "t.json" and f"metrics.ndcg_at_10 is {before + 1e-15!r}, made again {before!r}" in why


@pytest.mark.parametrize("key, value", [("ties", 0), ("n_documents", 199), ("k", 1000), ("recipe", "other")])
def test_a_forged_fact_is_named(evaluation, key, value):
    job, _ = evaluation
    job.target.write_text(json.dumps(json.loads(job.target.read_text()) | {key: value}))
    name, why = rescored(evaluation)
    assert name == "t.json" and f": {key} is {value}, made again" in why


def test_a_forged_value_of_a_query_is_named_though_the_mean_fits(evaluation):
    def change(table):
        table.loc[4, "recall_at_50"] += 0.25
        return table

    edit(evaluation[0], change)
    name, why = rescored(evaluation)
    assert name == "t.parquet" and "row 5, recall_at_50 is" in why


def last_first(table):
    """The last document of each query becomes the first, and its score goes with it."""
    for column in ("doc_ids", "scores"):
        table[column] = [np.roll(values, 1) for values in table[column]]
    return table


def other_order(table):
    """The documents change places, the scores do not."""
    table["doc_ids"] = [ids[::-1] for ids in table["doc_ids"]]
    return table


@pytest.mark.parametrize(
    "change, why",
    [(last_first, "does not rank the documents of the query 'q"), (other_order, "")],
    ids=["last", "other"],
)
def test_a_forged_ranking_is_named(evaluation, change, why):
    edit(evaluation[0], change)
    name, said = rescored(evaluation)
    assert name == "t.parquet" and why in said


def test_a_forged_ranking_whose_scores_are_ordered_is_named_by_what_it_scores(evaluation):
    def change(table):
        table["doc_ids"] = [ids[::-1] for ids in table["doc_ids"]]
        table["scores"] = [np.linspace(1, 0, len(scores), dtype=np.float32) for scores in table["scores"]]
        return table

    edit(evaluation[0], change)
    name, why = rescored(evaluation)
    assert name == "t.parquet" and why.startswith("is not what its ranking scores: row ") and ", made again " in why


def repeat(table):
    ids, scores = table.at[2, "doc_ids"].copy(), table.at[2, "scores"].copy()
    ids[1], scores[1] = ids[0], scores[0]
    table.at[2, "doc_ids"], table.at[2, "scores"] = ids, scores
    return table


def rename(table):
    ids = table.at[2, "doc_ids"].copy()
    ids[1] = "elsewhere"
    table.at[2, "doc_ids"] = ids
    return table


def cut(table):
    table.at[2, "scores"] = table.at[2, "scores"][:-1]
    return table


@pytest.mark.parametrize(
    "change, why",
    [
        (repeat, "does not rank"),
        (rename, "documents that are none of the task"),
        (cut, "not one score for each"),
        (lambda table: table.drop(index=3), "the queries are not those of the task"),
        (lambda table: table.drop(columns="doc_ids"), "doc_ids"),
        (lambda table: table.assign(extra=1.0), "columns"),
    ],
)
def test_what_is_no_ranking_of_the_task_is_named(evaluation, change, why):
    edit(evaluation[0], change)
    assert why in rescored(evaluation)[1]


def test_a_document_that_is_ranked_twice_is_named(evaluation):
    job, task = evaluation
    table = pd.read_parquet(job.target.with_suffix(".parquet"))
    rows, scores = rescore.arrays(table, task, 100)
    rows[2, 2], scores[2, :3] = rows[2, 0], (0.9, 0.8, 0.7)
    assert "twice" in rescore.flaw_of(rows, scores, task)


def test_a_query_is_not_its_own_document(evaluation):
    job, task = evaluation
    own = replace(task, card=task.card.model_copy(update={"ignore_identical_ids": True}))
    assert rescore.wrong(job, own, 0.0) is None
    table = pd.read_parquet(job.target.with_suffix(".parquet"))
    rows, scores = rescore.arrays(table, task, 100)
    itself = replace(own, query_ids=task.doc_ids[rows[:, 0]])
    assert "itself" in rescore.flaw_of(rows, scores, itself)


def test_a_document_that_is_not_judged_is_named(evaluation):
    job, task = evaluation
    table = pd.read_parquet(job.target.with_suffix(".parquet"))
    rows, scores = rescore.arrays(table, task, 100)
    judged = replace(task, card=task.card.model_copy(update={"judged_only": True}))
    fewer = replace(judged, candidate=task.judged_documents != rows[0, 0])
    assert "not judged" in rescore.flaw_of(rows, scores, fewer)


def test_damage_is_named_and_no_traceback(evaluation):
    job, _ = evaluation
    path: Path = job.target.with_suffix(".parquet")
    path.write_bytes(path.read_bytes()[:500])
    name, why = rescored(evaluation)
    assert name == "t.parquet" and "cannot be scored" in why
    path.unlink()
    assert "there is no file" in rescored(evaluation)[1]


def test_the_distance_of_two_evaluations(evaluation):
    table = pd.read_parquet(evaluation[0].target.with_suffix(".parquet"))
    other = table.copy()
    assert spot_check.distances(table, other) == (0, 0)
    other["ndcg_at_10"] += 0.125
    other["scores"] = [scores + np.float32(0.25) for scores in other["scores"]]
    assert spot_check.distances(table, other) == (0.25, pytest.approx(0.125))
    other["doc_ids"] = [[f"{id}x" for id in ids] for ids in other["doc_ids"]]
    assert spot_check.distances(table, other)[0] == 0  # no document in common
    assert spot_check.distances(table, other[:-1]) == (np.inf, np.inf)


def test_an_evaluation_made_again_elsewhere_may_be_near(evaluation, tmp_path):
    """As far as float32 rounds, or bfloat16; a mean that moves is too far."""
    job, _ = evaluation
    stored, home = job.target.with_suffix(".parquet"), tmp_path / "mirror"
    node = Node(record.path_of(job.target), {"stage": "evaluate", "spec": dict(SPEC)}, "", None)
    table, now = pd.read_parquet(stored), mirror.place(stored, home)
    now.parent.mkdir(parents=True)

    def near(further: float, better: float, precision: str = "fp32") -> tuple[bool, str]:
        node.spec["precision"] = precision
        other = table.assign(scores=[scores + np.float32(further) for scores in table["scores"]])
        other.assign(ndcg_at_10=table["ndcg_at_10"] + better).to_parquet(now, index=False)
        return spot_check.near(node, home)

    assert near(5e-5, 0.009) == (True, "cosines differ by 5e-05 (0.0001 may be), means by 0.009 (0.01 may be)")
    assert not near(0.01, 0.0)[0] and near(0.01, 0.0, "bf16")[0] and not near(0.0, 0.011)[0]
