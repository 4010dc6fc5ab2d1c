"""A collection from a retrieval task of mteb, texts and ids as mteb itself evaluates them."""

import re
import sys
from pathlib import Path

import datasets
import mteb
import pandas as pd
import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK, DatasetCard
from mteb.abstasks import AbsTask, AbsTaskRetrieval

from retscale.errors import UserError
from retscale.hub.listing import printable, quoted
from retscale.hub.snapshot import snapshot
from retscale.task.collection import Collection, judged_collection
from retscale.task.config import MtebSource

DATA = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".arrow", ".gz", ".zst", ".zip")
LONGEST_README, DEEPEST = 2**22, 50  # bytes; levels of YAML
# Metrics of tasks with instructions, by mteb's names.
INSTRUCTION_METRICS = {"p-MRR": "p_mrr", "robustness_at_10": "robustness_at_10"}


def collect(source: MtebSource, instruction: str | None = None, instructed: bool = True) -> Collection:
    """Fetches the files of the task's data set at the pinned revision, verified; then mteb reads that folder.

    Unless `instructed`, queries come without their own instructions; UserError if they have some and get another one,
    `instruction`.
    """
    try:
        task = mteb.get_task(source.name)
    except KeyError as error:
        raise UserError(f"mteb {mteb.__version__} has no task {source.name!r}: {error}") from None
    check_pin(task, source)
    download = snapshot(task.metadata.dataset["path"], source.revision, data_files, kind="dataset")
    check_layout(download.folder / "README.md", task.metadata.dataset["path"])
    dataset = task.metadata.dataset | {"path": str(download.folder)}
    task.metadata = task.metadata.model_copy(update={"dataset": dataset})
    return from_task(task, source, instruction, instructed)


def check_pin(task: AbsTask, source: MtebSource) -> None:
    """UserError unless `source` names the revision that the installed mteb evaluates."""
    pinned = task.metadata.dataset["revision"]
    if pinned != source.revision:
        raise UserError(
            f"mteb {mteb.__version__} evaluates {source.name} at revision {pinned}, not {source.revision}; name its own"
        )


def check_layout(readme: Path, dataset: str) -> None:
    """Raises UserError if the README of a data set takes data from outside its folder, which nothing verifies."""
    if not readme.is_file():
        return
    try:
        if readme.stat().st_size > LONGEST_README:
            raise ValueError("too long")
        card = DatasetCard(_tame(readme.read_text(encoding="utf-8")))
        places = [place for config in card.data.get("configs") or [] for place in _places(config)]
        outside = [place for place in places if place.startswith("/") or ":" in place or ".." in place.split("/")]
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, yaml.YAMLError) as error:
        reason = printable(str(error).partition("\n")[0])
        raise UserError(f"the README.md of {dataset} has a header that cannot be read: {reason}") from None
    if outside:
        raise UserError(
            f"the README.md of {dataset} takes data from {quoted(outside[0])}, which is not in the data set"
        )


def _tame(text: str) -> str:
    """The text of a README; raises ValueError if its header could expand to any size, or nests too deeply."""
    if re.search(r"[\r\n]{100}", text):  # that pattern tries each run of line ends in every way
        raise ValueError("it has too many blank lines")
    header, depth = REGEX_YAML_BLOCK.search(text), 0
    for event in yaml.parse(header[2], Loader=yaml.CSafeLoader) if header else ():
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError(f"it nests deeper than {DEEPEST}")
        if isinstance(event, yaml.ScalarEvent) and (event.value == "<<" or (event.tag or "").endswith(":merge")):
            raise ValueError("it merges mappings")
    return text


def _places(config: dict) -> list[str]:
    """Where a part of a data set takes its data from, in every form that `datasets` reads."""
    files = config.get("data_files", [])
    entries = [files] if isinstance(files, str) else files
    paths = [entry["path"] if isinstance(entry, dict) else entry for entry in entries]
    each = [path for part in paths for path in ([part] if isinstance(part, str) else part)]
    return [config.get("data_dir", ""), *each]


def data_files(names: list[str]) -> list[str]:
    """The data files of a data set, and the README.md that says which of them belong to which part."""
    return [name for name in names if name.endswith(DATA) or name == "README.md"]


def from_task(task: AbsTask, source: MtebSource, instruction: str | None = None, instructed: bool = True) -> Collection:
    """The collection that `task` holds for the split and subset of `source`.

    Where mteb gives each query its candidates (`top_ranked`), a candidate without a judgment gets the score 0, which is
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
        available = ", ".join(f"{subset}/{split}" for subset, splits in task.dataset.items() for split in splits)
        raise UserError(f"{source.name} has no {source.subset}/{source.split}; it has: {available}") from None
    relevant = {query: scores for query, scores in data["relevant_docs"].items() if scores}
    queries, corpus = data["queries"].to_pandas(), data["corpus"].to_pandas()
    texts = queries["text"]
    if "instruction" in queries and instruction:
        raise UserError(f"the queries of {source.name} have instructions of their own; remove `instruction`")
    if "instruction" in queries and instructed:
        # mteb's encoders read the instruction after the query.
        texts = texts.where(queries["instruction"].isna(), texts + " " + queries["instruction"])
    titles = corpus["title"].fillna("") if "title" in corpus else ""
    return judged_collection(
        source.name,
        queries=pd.DataFrame({"query_id": queries["id"], "text": texts}, dtype="str"),
        corpus=pd.DataFrame({"doc_id": corpus["id"], "title": titles, "text": corpus["text"]}, dtype="str"),
        qrels=_judgments(relevant, data.get("top_ranked")),
        ignore_identical_ids=task.ignore_identical_ids,
        judged_only=data.get("top_ranked") is not None,
        instruction_metric=(instruction_metric := INSTRUCTION_METRICS.get(task.metadata.main_score)),
        changed=changed(task, source.subset) if instruction_metric == "p_mrr" else None,
    )


def _judgments(relevant: dict, candidates: dict | None) -> pd.DataFrame:
    """query_id, doc_id and score, sorted, for mteb's own order changes; with `candidates` also whether it is one."""
    if candidates is None:
        rows = [
            (query, document, int(score)) for query, scores in relevant.items() for document, score in scores.items()
        ]
        return pd.DataFrame(sorted(rows), columns=["query_id", "doc_id", "score"])
    rows = []
    for query, scores in relevant.items():
        query_candidates = set(candidates.get(query) or ())
        rows += [
            (query, document, int(scores.get(document, 0)), document in query_candidates)
            for document in {*scores, *query_candidates}
        ]
    return pd.DataFrame(sorted(rows), columns=["query_id", "doc_id", "score", "candidate"])


def changed(task: AbsTask, subset: str) -> pd.DataFrame:
    """query_id and doc_id of the documents that a changed instruction makes irrelevant, which mteb reads when it scores."""
    name = "qrel_diff" if subset == "default" else f"qrel_diff-{subset.removeprefix('eng-')}"
    data = task.metadata.dataset
    rows = datasets.load_dataset(data["path"], name, split="qrel_diff", revision=data["revision"])
    pairs = [(row["query-id"], document) for row in rows for document in row["corpus-ids"]]
    return pd.DataFrame(pairs, columns=["query_id", "doc_id"], dtype="str")
