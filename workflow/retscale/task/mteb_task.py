"""A collection from a retrieval task of mteb, texts and ids as mteb itself evaluates them."""

import sys

import datasets
import mteb
import pandas as pd
from mteb.abstasks import AbsTask, AbsTaskRetrieval

from retscale.errors import UserError
from retscale.hub.snapshot import snapshot
from retscale.task.collection import Collection, judged
from retscale.task.config import MtebSource

DATA = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".arrow", ".gz", ".zst", ".zip")
# Measures of tasks with instructions, by mteb's names.
FOLLOWS = {"p-MRR": "p_mrr", "robustness_at_10": "robustness_at_10"}


def collect(source: MtebSource) -> Collection:
    """Fetches the files of the task's data set at the pinned revision, verified; then mteb reads that folder."""
    try:
        task = mteb.get_task(source.name)
    except KeyError as error:
        raise UserError(f"mteb {mteb.__version__} has no task {source.name!r}: {error}") from None
    check_pin(task, source)
    found = snapshot(task.metadata.dataset["path"], source.revision, data_files, kind="dataset")
    dataset = task.metadata.dataset | {"path": str(found.folder)}
    task.metadata = task.metadata.model_copy(update={"dataset": dataset})
    return from_task(task, source)


def check_pin(task: AbsTask, source: MtebSource) -> None:
    """UserError unless `source` names the revision that the installed mteb evaluates."""
    pinned = task.metadata.dataset["revision"]
    if pinned != source.revision:
        raise UserError(
            f"mteb {mteb.__version__} evaluates {source.name} at revision {pinned}, not {source.revision}; name its own"
        )


def data_files(names: list[str]) -> list[str]:
    """Those of a data set's files that are data, or say which of them belong to which part of it (README.md)."""
    return [name for name in names if name.endswith(DATA) or name == "README.md"]


def from_task(task: AbsTask, source: MtebSource) -> Collection:
    """The collection that `task` holds for the split and subset of `source`.

    Where mteb gives each query its candidates (`top_ranked`), a candidate without a judgement gets the score 0, which is
    what trec_eval makes of it, and a judged document that is no candidate is marked.
    """
    check_pin(task, source)
    if not isinstance(task, AbsTaskRetrieval):
        raise UserError(f"{source.name} is a task of mteb, but not a retrieval task")
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    task.load_data()
    task.convert_v1_dataset_format_to_v2(num_proc=None)
    try:
        data = task.dataset[source.subset][source.split]
    except KeyError:
        found = ", ".join(f"{subset}/{split}" for subset, splits in task.dataset.items() for split in splits)
        raise UserError(f"{source.name} has no {source.subset}/{source.split}; it has: {found}") from None
    relevant = {query: scores for query, scores in data["relevant_docs"].items() if scores}
    queries, corpus = data["queries"].to_pandas(), data["corpus"].to_pandas()
    texts = queries["text"]
    if "instruction" in queries:
        # mteb's encoders read the instruction after the query.
        texts = texts.where(queries["instruction"].isna(), texts + " " + queries["instruction"])
    titles = corpus["title"].fillna("") if "title" in corpus else ""
    return judged(
        source.name,
        queries=pd.DataFrame({"query_id": queries["id"], "text": texts}, dtype="str"),
        corpus=pd.DataFrame({"doc_id": corpus["id"], "title": titles, "text": corpus["text"]}, dtype="str"),
        qrels=_judgements(relevant, data.get("top_ranked")),
        ignore_identical_ids=task.ignore_identical_ids,
        judged_only=data.get("top_ranked") is not None,
        follows=(follows := FOLLOWS.get(task.metadata.main_score)),
        changed=changed(task, source.subset) if follows == "p_mrr" else None,
    )


def _judgements(relevant: dict, candidates: dict | None) -> pd.DataFrame:
    """query_id, doc_id and score, sorted, for mteb's own order changes; with `candidates` also whether it is one."""
    if candidates is None:
        found = [
            (query, document, int(score)) for query, scores in relevant.items() for document, score in scores.items()
        ]
        return pd.DataFrame(sorted(found), columns=["query_id", "doc_id", "score"])
    found = []
    for query, scores in relevant.items():
        offered = set(candidates.get(query) or ())
        found += [
            (query, document, int(scores.get(document, 0)), document in offered) for document in {*scores, *offered}
        ]
    return pd.DataFrame(sorted(found), columns=["query_id", "doc_id", "score", "candidate"])


def changed(task: AbsTask, subset: str) -> pd.DataFrame:
    """query_id and doc_id of the documents that a changed instruction makes irrelevant, which mteb reads when it scores."""
    name = "qrel_diff" if subset == "default" else f"qrel_diff-{subset.removeprefix('eng-')}"
    data = task.metadata.dataset
    rows = datasets.load_dataset(data["path"], name, split="qrel_diff", revision=data["revision"])
    pairs = [(row["query-id"], document) for row in rows for document in row["corpus-ids"]]
    return pd.DataFrame(pairs, columns=["query_id", "doc_id"], dtype="str")
