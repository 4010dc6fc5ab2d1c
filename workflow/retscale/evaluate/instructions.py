"""Further metrics of tasks whose queries carry instructions: does the ranking follow the instruction?

Both are defined over several queries that ask the same thing under different instructions. Each value stands at one of
them, and the score is the mean of the values.
"""

import numpy as np
import pandas as pd


def robustness(query_ids: np.ndarray, ndcg_at_10: np.ndarray) -> np.ndarray:
    """Robustness@10 (Oh et al. 2024, InstructIR): the least nDCG@10 of the queries QUESTION_... that ask the same."""
    question = [id.split("_")[0] for id in query_ids]
    least = pd.Series(ndcg_at_10).groupby(question).idxmin()
    values = np.full(len(query_ids), np.nan)
    values[least] = ndcg_at_10[least]
    return values


def p_mrr(query_ids: np.ndarray, doc_ids: np.ndarray, rows: np.ndarray, changed: pd.DataFrame) -> np.ndarray:
    """p-MRR (Weller et al. 2024, FollowIR), at each query ID-changed whose first form is ID-og.

    `changed` (query_id: ID, doc_id) are the documents that the changed instruction makes irrelevant. One that falls
    from rank a to b > a counts 1 - a / b, one that rises b / a - 1; a query counts their mean.
    """
    place = pd.Index(query_ids)
    first, second = (place.get_indexer(changed["query_id"] + form) for form in ("-og", "-changed"))
    both = (first >= 0) & (second >= 0)
    documents = pd.Index(doc_ids).get_indexer(changed["doc_id"])[both]
    a, b = (_ranks(rows[queries[both]], documents) for queries in (first, second))
    query_means = pd.Series(np.where(a >= b, b / a - 1, 1 - a / b)).groupby(second[both]).mean()
    scores = np.full(len(query_ids), np.nan)
    scores[query_means.index.to_numpy()] = query_means
    return scores


def _ranks(ranked: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """The rank, from 1, of each of `documents` (n) in its own row of `ranked` (n, k); behind the last if missing."""
    at = (ranked == documents[:, None]) & (ranked >= 0)
    return np.where(at.any(1), at.argmax(1), (ranked >= 0).sum(1)) + 1
