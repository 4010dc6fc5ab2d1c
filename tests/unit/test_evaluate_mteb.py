"""A task of mteb gives the tables that mteb evaluates, and our scores are those that mteb itself computes."""

import numpy as np
import pandas as pd
import pytest

mteb = pytest.importorskip("mteb")

from datasets import Dataset
from mteb._evaluators import RetrievalEvaluator
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from mteb.models import SearchEncoderWrapper
from mteb.timing import TimingStack

from retscale.errors import UserError
from retscale.evaluate import run as evaluate
from retscale.evaluate import task_tables
from retscale.task import mteb_task
from retscale.task.config import MtebSource
from retscale.task.run import write

REVISION = "0" * 40
SOURCE = MtebSource(kind="mteb", name="Tiny", revision=REVISION)


def tiny(ignore_identical_ids: bool = False, candidates: bool = False):
    """60 documents and 15 queries of random letters, some texts twice, some query ids also document ids."""
    rng = np.random.default_rng(0)
    letters = lambda n: " ".join(rng.choice(list("abcdefgh"), n))  # noqa: E731
    documents = [{"id": f"x{i}", "title": letters(2) if i % 3 else "", "text": letters(4)} for i in range(60)]
    documents[7] = documents[3] | {"id": "x7"}
    queries = [{"id": f"x{i}" if i < 5 else f"q{i}", "text": letters(5)} for i in range(15)]
    relevant = {q["id"]: {f"x{d}": int(rng.integers(0, 3)) for d in rng.choice(60, 6, False)} for q in queries[:-1]}
    ranked = {q: sorted({*judged, "x1", "x2", "x3", "x7"}) for q, judged in relevant.items()}

    class Tiny(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Tiny",
            description="",
            type="Retrieval",
            dataset={"path": "none", "revision": REVISION},
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            category="t2t",
        )

        def load_data(self, **_):
            data = {
                "corpus": Dataset.from_list(documents),
                "queries": Dataset.from_list(queries),
                "relevant_docs": relevant,
            }
            data["top_ranked"] = ranked if candidates else None
            self.dataset, self.data_loaded = {"default": {"test": data}}, True

    task = Tiny()
    task.ignore_identical_ids = ignore_identical_ids
    return task


def embed(texts, side="", what="") -> np.ndarray:
    """Unit vectors of letter counts."""
    counts = np.array([[text.count(c) for c in "abcdefgh"] for text in texts], np.float32) + 0.01
    return counts / np.linalg.norm(counts, axis=1, keepdims=True)


class Encoder:
    """The same vectors behind mteb's protocol."""

    mteb_model_meta = None

    def encode(self, inputs, **_):
        return embed([text for batch in inputs for text in batch["text"]])

    def similarity(self, a, b):
        import torch

        return torch.as_tensor(a) @ torch.as_tensor(b).T

    similarity_pairwise = similarity


def mtebs_scores(task) -> dict[str, dict]:
    task.load_data()
    data = task.dataset["default"]["test"]
    evaluator = RetrievalEvaluator(
        data["corpus"],
        data["queries"],
        task_metadata=task.metadata,
        hf_split="test",
        hf_subset="default",
        top_ranked=data["top_ranked"],
        top_k=1000,
        timer=TimingStack(),
    )
    found = evaluator(SearchEncoderWrapper(Encoder()), encode_kwargs={})
    found = {query: ranking for query, ranking in found.items() if query in data["relevant_docs"]}
    return evaluator.evaluate(data["relevant_docs"], found, [10, 100], task.ignore_identical_ids).all_scores


@pytest.mark.parametrize(("identical", "candidates"), [(False, False), (True, False), (False, True)])
def test_our_scores_are_mtebs_own(identical, candidates, tmp_path):
    write("tiny", mteb_task.from_task(tiny(identical, candidates), SOURCE), candidates, tmp_path)
    task = task_tables.read(tmp_path / "task.json")
    ours = evaluate.per_query(task, *evaluate.rank(task, embed, 100)).set_index("query_id")
    theirs = pd.DataFrame(mtebs_scores(tiny(identical, candidates))).T.loc[ours.index]
    assert len(ours) == 14 and 0 < ours["ndcg_at_10"].mean() < 1
    for name, other in (("ndcg_at_10", "ndcg_cut_10"), ("recall_at_10", "recall_10"), ("recall_at_100", "recall_100")):
        np.testing.assert_allclose(ours[name], theirs[other], atol=1e-6, err_msg=name)
    if identical:
        assert not any(id in ranking for id, ranking in ours["doc_ids"].items())


def test_a_revision_or_split_that_mteb_does_not_evaluate_is_refused():
    with pytest.raises(UserError, match="at revision 0000"):
        mteb_task.from_task(tiny(), SOURCE.model_copy(update={"revision": "1" * 40}))
    with pytest.raises(UserError, match="it has: default/test"):
        mteb_task.from_task(tiny(), SOURCE.model_copy(update={"split": "dev"}))
    with pytest.raises(UserError, match="no task 'NoSuchTask'"):
        mteb_task.collect(SOURCE.model_copy(update={"name": "NoSuchTask"}))
