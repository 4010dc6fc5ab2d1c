"""Contrastive entropy: by hand, the same however vectors stream, and no relevant document among the negatives."""

from types import SimpleNamespace

import numpy as np
import pytest

from retscale.evaluate import contrastive
from retscale.evaluate.contrastive import Contrast
from retscale.evaluate.documents import Documents


def unit(rows, d=16, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(rows, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def task(documents=50, queries=6, own=False):
    judged = np.repeat(np.arange(queries - 1), 2)  # the last query has no positive
    rows = np.arange(len(judged)) * 3
    scores = np.tile([1, 2], queries - 1)
    ids = np.array([f"d{i:03d}" for i in range(documents)])
    return SimpleNamespace(
        card=SimpleNamespace(id="t", ignore_identical_ids=own),
        query_ids=np.array([f"q{i}" for i in range(queries)]),
        doc_ids=ids,
        judged_queries=judged,
        judged_documents=rows,
        scores=scores,
        own_document=lambda: np.array([40, *[-1] * (queries - 1)]),
    )


def entropy(study_task, vectors, queries, shard=50):
    contrast = Contrast.of(study_task, Documents.make(study_task.doc_ids))
    for _ in contrast.watch(vectors[a : a + shard] for a in range(0, len(vectors), shard)):
        pass
    return contrast.entropy(queries), contrast


@pytest.mark.parametrize("own", [False, True])
def test_it_is_the_mean_loss_of_positives_among_all_but_relevant_documents(own):
    study_task, vectors, queries = task(own=own), unit(50), unit(6, seed=1)
    losses = []
    for query in range(5):
        relevant = {6 * query, 6 * query + 3}
        others = [row for row in range(50) if row not in relevant and not (own and query == 0 and row == 40)]
        scores = (
            queries[query].astype(float) @ vectors.astype(float)[[6 * query + 3, *others]].T / contrastive.TEMPERATURE
        )
        losses.append(-np.log(np.exp(scores[0]) / np.exp(scores).sum()))
    assert entropy(study_task, vectors, queries)[0] == pytest.approx(np.mean(losses), abs=1e-5)


def test_shards_do_not_matter_and_a_better_encoder_is_surer():
    study_task, vectors, queries = task(), unit(50), unit(6, seed=1)
    whole = entropy(study_task, vectors, queries)[0]
    assert entropy(study_task, vectors, queries, shard=7)[0] == whole
    better = queries.copy()
    better[:5] = vectors[[6 * query + 3 for query in range(5)]]
    assert entropy(study_task, vectors, better)[0] < whole / 10


def test_negatives_are_a_draw_that_is_the_same_for_every_encoder(monkeypatch):
    monkeypatch.setattr(contrastive, "NEGATIVES", 5)
    monkeypatch.setattr(contrastive, "SAMPLE", 30)
    study_task, vectors, queries = task(), unit(50), unit(6, seed=1)
    value, contrast = entropy(study_task, vectors, queries)
    assert value == entropy(study_task, vectors, queries)[0] < np.log(6) * 4
    assert len(contrast.sampled) == 30 and len(contrast.wanted) <= 35
    again = Contrast.of(study_task, Documents.make(study_task.doc_ids))
    assert (again.sampled == contrast.sampled).all()


def test_without_a_positive_or_a_negative_there_is_none():
    study_task = task()
    study_task.scores = np.zeros_like(study_task.scores)
    assert entropy(study_task, unit(50), unit(6))[0] is None
    alone = task(documents=1, queries=2)
    alone.judged_queries, alone.judged_documents, alone.scores = np.array([0]), np.array([0]), np.array([1])
    assert entropy(alone, unit(1), unit(2))[0] is None
