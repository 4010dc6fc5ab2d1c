"""A retrieval collection in memory, and the subsample a study may ask for."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from retscale.errors import UserError


@dataclass
class Collection:
    """queries (query_id, text), corpus (doc_id, title, text), qrels (query_id, doc_id, score) and what was left out."""

    queries: pd.DataFrame
    corpus: pd.DataFrame
    qrels: pd.DataFrame
    dropped: dict[str, int] = field(default_factory=dict)
    ignore_identical_ids: bool = False


def check(found: Collection, task: str) -> None:
    """UserError if ids repeat, a judgement points nowhere, or nothing is left to ask."""
    for name, table, key in (("query", found.queries, "query_id"), ("document", found.corpus, "doc_id")):
        if table.empty:
            raise UserError(f"task {task!r} has no {name} left; look at the fields and limits of its source")
        twice = table[key][table[key].duplicated()]
        if len(twice):
            raise UserError(f"task {task!r}: the {name} id {twice.iloc[0]!r} occurs more than once; make ids unique")
        unknown = found.qrels[key][~found.qrels[key].isin(table[key])]
        if len(unknown):
            raise UserError(f"task {task!r}: a judgement names the unknown {name} {unknown.iloc[0]!r}; mend the qrels")
    if (twice := found.qrels.duplicated(["query_id", "doc_id"])).any():
        row = found.qrels[twice].iloc[0]
        raise UserError(
            f"task {task!r}: query {row.query_id!r}, document {row.doc_id!r} is judged twice; keep one judgement"
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
    return Collection(
        queries.reset_index(drop=True),
        found.corpus[keep].reset_index(drop=True),
        qrels.reset_index(drop=True),
        found.dropped,
        found.ignore_identical_ids,
    )


def _chosen(count: int, limit: int | None, seed: int) -> np.ndarray:
    """A mask of `count` entries with at most `limit` set."""
    if limit is None or limit >= count:
        return np.ones(count, dtype=bool)
    mask = np.zeros(count, dtype=bool)
    mask[np.random.default_rng(seed).permutation(count)[:limit]] = True
    return mask
