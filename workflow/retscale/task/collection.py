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
    whose reading a reader of the scores may want to know about. With `judged_only` a query ranks
    its judged documents, or those of them that `qrels` marks as `candidate`. `follows` names the measure, p_mrr or
    robustness_at_10, of a task with instructions; p-MRR looks at the documents `changed` (query_id, doc_id).
    """

    queries: pd.DataFrame
    corpus: pd.DataFrame
    qrels: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    kept: dict[str, int] = field(default_factory=dict)
    assumed: dict[str, int] = field(default_factory=dict)
    ignore_identical_ids: bool = False
    judged_only: bool = False
    follows: str | None = None
    changed: pd.DataFrame | None = None

    @property
    def notes(self) -> dict[str, dict[str, int]]:
        """Counts of what a reader of the scores should know, by kind."""
        return {"assumed": self.assumed, "dropped": self.dropped, "kept": self.kept}


def judged(where: str, queries: pd.DataFrame, corpus: pd.DataFrame, qrels: pd.DataFrame, **more) -> Collection:
    """The collection without what affects no score: queries without a judgment, and judgments of unknown queries.

    Raises UserError if most judgments of `where` name an unknown query or document.
    """
    once = qrels.drop_duplicates()
    _refuse_unknown(where, queries["query_id"], corpus["doc_id"], once)
    known, asked = once["query_id"].isin(queries["query_id"]), queries["query_id"].isin(once["query_id"])
    dropped = {
        "query without judgment": int((~asked).sum()),
        "judgment of an unknown query": int((~known).sum()),
        "repeated judgment": len(qrels) - len(once),
    }
    return Collection(
        queries[asked].reset_index(drop=True),
        corpus,
        once[known].reset_index(drop=True),
        {reason: count for reason, count in dropped.items() if count},
        **more,
    )


def _refuse_unknown(where: str, queries: pd.Series, documents: pd.Series, qrels: pd.DataFrame) -> None:
    for what, ids, named in (("query", queries, qrels["query_id"]), ("document", documents, qrels["doc_id"])):
        unknown = ~named.isin(ids)
        if ids.empty or 2 * unknown.sum() <= len(qrels):
            continue
        swapped = (qrels["query_id"].isin(documents) & qrels["doc_id"].isin(queries)).sum()
        hint = (
            f"the columns of query and document seem to be swapped: the other way round, {swapped} name both"
            if 2 * swapped > len(qrels)
            else "are they of another collection?"
        )
        raise UserError(
            f"{where}: {unknown.sum()} of {len(qrels)} judgments name an unknown {what}, such as "
            f"{named[unknown].iloc[0]!r}, while the ids are like {ids.iloc[0]!r}; {hint}"
        )


def odd(found: Collection) -> dict[str, int]:
    """Irregularities that a reader of the scores should know about; they are kept, as in trec_eval and mteb.

    A judged document that is not in the corpus can never be found, so it lowers recall and nDCG. Empty texts are
    encoded like any others. Ids are compared byte by byte, so ids that look alike are different.
    """
    queries, corpus, qrels = found.queries, found.corpus, found.qrels
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
    return {what: int(rows.sum()) for what, rows in counts.items() if rows.any()}


def _alike(ids: pd.Series) -> pd.Series:
    return ids.str.strip().str.lower().duplicated()


def check(found: Collection, task: str) -> None:
    """Raises UserError if ids repeat, a query is judged twice on a document, or no query or document is left."""
    for name, table, key in (("query", found.queries, "query_id"), ("document", found.corpus, "doc_id")):
        if table.empty:
            gone = f" ({found.dropped})" if found.dropped else ""
            raise UserError(f"task {task!r} has no {name} left{gone}; check the fields and limits of its source")
        twice = table[key][table[key].duplicated()]
        if len(twice):
            raise UserError(f"task {task!r}: the {name} id {twice.iloc[0]!r} occurs more than once; make ids unique")
    if (twice := found.qrels.duplicated(["query_id", "doc_id"])).any():
        row = found.qrels[twice].iloc[0]
        raise UserError(
            f"task {task!r}: query {row.query_id!r}, document {row.doc_id!r} is judged twice; keep one judgment"
        )
    relevant = found.qrels["doc_id"][found.qrels["score"] > 0]
    if relevant.empty:
        raise UserError(f"task {task!r}: no judgment is above 0, so no document is relevant; correct the judgments")
    if not relevant.isin(found.corpus["doc_id"]).any():
        raise UserError(
            f"task {task!r}: none of the {len(relevant)} relevant documents is in the corpus, which begins with "
            f"{found.corpus['doc_id'].iloc[0]!r}, while they begin with {relevant.iloc[0]!r}; the judgments seem to "
            "be of another collection"
        )


def sample(
    found: Collection, max_queries: int | None, max_documents: int | None, seed: int, judged_only: bool
) -> Collection:
    """At most `max_queries` queries, and their judged documents filled up at random to `max_documents`.

    A larger limit keeps everything that a smaller one keeps. Judged documents are kept even beyond the limit. With
    `judged_only` no other document is ever ranked, so none is kept. The order of the tables is preserved.
    """
    queries = found.queries[_chosen(len(found.queries), max_queries, seed)]
    qrels = found.qrels[found.qrels["query_id"].isin(queries["query_id"])]
    judged = found.corpus["doc_id"].isin(qrels["doc_id"]).to_numpy()
    keep = judged.copy()
    if not judged_only:
        others = np.flatnonzero(~judged)
        room = None if max_documents is None else max(0, max_documents - int(judged.sum()))
        keep[others[_chosen(len(others), room, seed + 1)]] = True
    return replace(
        found,
        queries=queries.reset_index(drop=True),
        corpus=found.corpus[keep].reset_index(drop=True),
        qrels=qrels.reset_index(drop=True),
    )


def _chosen(count: int, limit: int | None, seed: int) -> np.ndarray:
    """A mask of `count` entries with at most `limit` set."""
    if limit is None or limit >= count:
        return np.ones(count, dtype=bool)
    mask = np.zeros(count, dtype=bool)
    mask[np.random.default_rng(seed).permutation(count)[:limit]] = True
    return mask
