"""A retrieval collection in memory, and the subsample that a study may ask for."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from retscale.errors import UserError

LONG = 10**6  # characters


@dataclass
class Collection:
    """queries (query_id, text), corpus (doc_id, title, text), qrels (query_id, doc_id, score).

    Counts by kind: `dropped`, what was left out; `kept`, irregularities that were kept; `assumed`, lines of a source
    whose reading a reader of the scores may want to know about. With `judged_only` a query ranks its judged documents,
    or those of them that `qrels` marks as `candidate`. `instruction_metric` is p_mrr or robustness_at_10 for a task with
    instructions; p-MRR looks at the documents `changed` (query_id, doc_id). Where queries are asked under an instruction,
    it is a further column of theirs, `instruction`. `pool`: of a cut, how many documents were chosen by what, each counted
    where it was first.
    """

    queries: pd.DataFrame
    corpus: pd.DataFrame
    qrels: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    assumed: dict[str, int] = field(default_factory=dict)
    ignore_identical_ids: bool = False
    judged_only: bool = False
    instruction_metric: str | None = None
    changed: pd.DataFrame | None = None
    pool: dict[str, int] = field(default_factory=dict)

    @property
    def notes(self) -> dict[str, dict[str, int]]:
        """Counts of what a reader of the scores should know, by kind."""
        return {"assumed": self.assumed, "dropped": self.dropped, "kept": self.kept} | (
            {"pool": self.pool} if self.pool else {}
        )


def judged_collection(
    source: str, queries: pd.DataFrame, corpus: pd.DataFrame, qrels: pd.DataFrame, **more
) -> Collection:
    """The collection without what affects no score: queries without a judgment, and judgments of unknown queries.

    Raises UserError if most judgments of `source` name an unknown query or document.
    """
    distinct = qrels.drop_duplicates()
    _refuse_unknown(source, queries["query_id"], corpus["doc_id"], distinct)
    is_known, is_judged = distinct["query_id"].isin(queries["query_id"]), queries["query_id"].isin(distinct["query_id"])
    dropped = {
        "query without judgment": int((~is_judged).sum()),
        "judgment of an unknown query": int((~is_known).sum()),
        "repeated judgment": len(qrels) - len(distinct),
    }
    return Collection(
        queries[is_judged].reset_index(drop=True),
        corpus,
        distinct[is_known].reset_index(drop=True),
        {reason: count for reason, count in dropped.items() if count},
        **more,
    )


def _refuse_unknown(source: str, queries: pd.Series, documents: pd.Series, qrels: pd.DataFrame) -> None:
    for kind, ids, judged_ids in (("query", queries, qrels["query_id"]), ("document", documents, qrels["doc_id"])):
        unknown = ~judged_ids.isin(ids)
        if ids.empty or 2 * unknown.sum() <= len(qrels):
            continue
        swapped = (qrels["query_id"].isin(documents) & qrels["doc_id"].isin(queries)).sum()
        hint = (
            f"the columns of query and document seem to be swapped: the other way round, {swapped} name both"
            if 2 * swapped > len(qrels)
            else "are they of another collection?"
        )
        raise UserError(
            f"{source}: {unknown.sum()} of {len(qrels)} judgments name an unknown {kind}, such as "
            f"{judged_ids[unknown].iloc[0]!r}, while the ids are like {ids.iloc[0]!r}; {hint}"
        )


def irregularities(collection: Collection) -> dict[str, int]:
    """Irregularities that a reader of the scores should know about; they are kept, as in trec_eval and mteb.

    A judged document that is not in the corpus can never be found, so it lowers recall and nDCG. Empty texts are
    encoded like any others. Ids are compared byte by byte, so ids that look alike are different.
    """
    queries, corpus, qrels = collection.queries, collection.corpus, collection.qrels
    relevant = qrels["query_id"][qrels["score"] > 0]
    counts = {
        "judgment of an unknown document": ~qrels["doc_id"].isin(corpus["doc_id"]),
        "query without a relevant document": ~queries["query_id"].isin(relevant),
        "empty document": ~(corpus["title"].str.contains(r"\S") | corpus["text"].str.contains(r"\S")),
        "empty query": ~queries["text"].str.contains(r"\S"),
        f"text of more than {LONG:,} characters": corpus["text"].str.len() > LONG,
        "query id like another but for case or blanks": _alike(queries["query_id"]),
        "document id like another but for case or blanks": _alike(corpus["doc_id"]),
    }
    return {irregularity: int(rows.sum()) for irregularity, rows in counts.items() if rows.any()}


def _alike(ids: pd.Series) -> pd.Series:
    return ids.str.strip().str.lower().duplicated()


def check(collection: Collection, task: str) -> None:
    """Raises UserError if ids repeat, a query is judged twice on a document, or no query or document is left."""
    for name, table, key in (("query", collection.queries, "query_id"), ("document", collection.corpus, "doc_id")):
        if table.empty:
            dropped = f" ({collection.dropped})" if collection.dropped else ""
            raise UserError(f"task {task!r} has no {name} left{dropped}; check the fields and limits of its source")
        repeated = table[key][table[key].duplicated()]
        if len(repeated):
            raise UserError(f"task {task!r}: the {name} id {repeated.iloc[0]!r} occurs more than once; make ids unique")
    if (repeated := collection.qrels.duplicated(["query_id", "doc_id"])).any():
        row = collection.qrels[repeated].iloc[0]
        raise UserError(
            f"task {task!r}: query {row.query_id!r}, document {row.doc_id!r} is judged twice; keep one judgment"
        )
    relevant = collection.qrels["doc_id"][collection.qrels["score"] > 0]
    if relevant.empty:
        raise UserError(f"task {task!r}: no judgment is above 0, so no document is relevant; correct the judgments")
    if not relevant.isin(collection.corpus["doc_id"]).any():
        raise UserError(
            f"task {task!r}: none of the {len(relevant)} relevant documents is in the corpus, which begins with "
            f"{collection.corpus['doc_id'].iloc[0]!r}, while they begin with {relevant.iloc[0]!r}; the judgments seem to "
            "be of another collection"
        )


def sample(
    collection: Collection, max_queries: int | None, max_documents: int | None, seed: int, judged_only: bool
) -> Collection:
    """At most `max_queries` queries, and their judged documents filled up at random to `max_documents`.

    A larger limit keeps everything that a smaller one keeps. Judged documents are kept even beyond the limit. With
    `judged_only` no other document is ever ranked, so none is kept. The order of the tables is preserved.
    """
    queries = collection.queries[_random_mask(len(collection.queries), max_queries, seed)]
    qrels = collection.qrels[collection.qrels["query_id"].isin(queries["query_id"])]
    judged = collection.corpus["doc_id"].isin(qrels["doc_id"]).to_numpy()
    keep = judged.copy()
    if not judged_only:
        others = np.flatnonzero(~judged)
        limit = None if max_documents is None else max(0, max_documents - int(judged.sum()))
        keep[others[_random_mask(len(others), limit, seed + 1)]] = True
    return replace(
        collection,
        queries=queries.reset_index(drop=True),
        corpus=collection.corpus[keep].reset_index(drop=True),
        qrels=qrels.reset_index(drop=True),
    )


def _random_mask(count: int, limit: int | None, seed: int) -> np.ndarray:
    """A mask of `count` entries with at most `limit` set."""
    if limit is None or limit >= count:
        return np.ones(count, dtype=bool)
    mask = np.zeros(count, dtype=bool)
    mask[np.random.default_rng(seed).permutation(count)[:limit]] = True
    return mask
