"""pairs.parquet and passages.parquet -> negatives.parquet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retscale.errors import UserError
from retscale.mine.choose import choose, generator, hardest
from retscale.mine.config import Job, MineConfig
from retscale.mine.rank import Rank, by_bm25, by_encoder, by_given
from retscale.progress import progress
from retscale.text.copies import marks


def run(spec: dict, inputs: dict, out: Path) -> dict:
    """Notes: queries, passages, negatives a query, queries with too few candidates, random passages filled in."""
    config = Job.model_validate(spec)
    folder = Path(inputs["pairs"]).parent
    rank = by_bm25
    if config.method == "given":
        rank = by_given(folder / "given.parquet")
    elif config.method == "encoder":
        if "encoder" not in inputs:
            raise UserError("mine: `method: encoder` needs --encoder, the encoder.json of an encoder")
        from retscale.model.encoder import load_encoder

        rank = by_encoder(load_encoder(inputs["encoder"], config.precision, config.tokens_per_batch), out)
    table, facts = mine(
        pd.read_parquet(folder / "pairs.parquet"), pd.read_parquet(folder / "passages.parquet"), config, rank
    )
    pq.write_table(table, out / "negatives.parquet")
    return facts


def mine(
    pairs: pd.DataFrame, passages: pd.DataFrame, config: MineConfig, rank: Rank = by_bm25
) -> tuple[pa.Table, dict]:
    """Negatives of every query of `pairs` (query_id, query, passage_id) among `passages` (passage_id, text).

    Never a negative: a positive of the query, or a copy of one. A query with
    fewer than `negatives` candidates is filled up with passages drawn at random, whose score is 0.
    """
    passages = passages.sort_values("passage_id", ignore_index=True)  # ties go by id
    check(pairs, passages)
    queries = pairs.sort_values(["query_id", "passage_id"]).groupby("query_id")
    queries = queries.agg(query=("query", "first"), positives=("passage_id", list))
    number = pd.Index(passages["passage_id"])
    positives = [number.get_indexer(ids) for ids in queries["positives"]]
    spared = copies(passages["text"], positives)
    ranking = rank(passages, queries["query"], positives, spared, config)

    found = np.empty((len(queries), config.negatives), np.int32)
    scores = np.zeros(found.shape, np.float32)
    known = np.empty(len(queries), int)  # negatives that are candidates, not fillers
    for i, (ranked, values, positive) in enumerate(progress(ranking, "mine", len(queries), "query")):
        query_id = queries.index[i]
        kept, passed = hardest(values, config.skip, config.margin, positive)
        try:
            found[i] = choose(
                ranked[kept],
                np.union1d(spared[i], ranked[passed]),
                len(passages),
                config.negatives,
                config.choose == "random",
                generator(config.seed, query_id),
            )
        except ValueError as error:
            raise UserError(f"mine: query {query_id}: {error}; lower mine.negatives or give more passages") from None
        known[i] = min(len(kept), config.negatives)
        scores[i, : known[i]] = values[np.isin(ranked, found[i, : known[i]])]  # both in the order of the ranking
    lacking = config.negatives - known
    facts = {
        "queries": len(queries),
        "passages": len(passages),
        "negatives": config.negatives,
        "short": int((lacking > 0).sum()),
        "filled": int(lacking.sum()),
    }
    return negatives_table(queries.index, passages["passage_id"], found, scores), facts


def check(pairs: pd.DataFrame, passages: pd.DataFrame) -> None:
    """Refuse tables in which a query, a passage or a pair's passage cannot be told."""
    if (twice := passages["passage_id"].duplicated()).any():
        raise UserError(f"mine: passage {passages['passage_id'][twice].iloc[0]} stands twice in passages.parquet")
    if (unknown := ~pairs["passage_id"].isin(passages["passage_id"])).any():
        row = pairs[unknown].iloc[0]
        raise UserError(f"mine: query {row.query_id}: its passage {row.passage_id} is not in passages.parquet")
    texts = pairs.drop_duplicates(["query_id", "query"])
    if (twice := texts["query_id"].duplicated()).any():
        raise UserError(f"mine: query {texts['query_id'][twice].iloc[0]} stands in pairs.parquet with two texts")


def copies(texts: pd.Series, positives: list[np.ndarray]) -> list[np.ndarray]:
    """Each query's positives and all passages equal to one of them, as sorted row numbers."""
    keys = marks(texts)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    spared = []
    for rows in positives:
        first, last = (np.searchsorted(ordered, keys[rows], side) for side in ("left", "right"))
        spared.append(np.unique(np.concatenate([order[a:b] for a, b in zip(first, last)])))
    return spared


def negatives_table(query_ids: pd.Index, ids: pd.Series, found: np.ndarray, scores: np.ndarray) -> pa.Table:
    """query_id, negatives (list of passage ids) and scores (list of float32); `found` (queries, n) are row numbers."""
    starts = np.arange(0, found.size + 1, found.shape[1], dtype=np.int32)
    named = pa.array(ids, pa.string()).take(pa.array(found.ravel()))
    return pa.table(
        {
            "query_id": pa.array(query_ids, pa.string()),
            "negatives": pa.ListArray.from_arrays(starts, named),
            "scores": pa.ListArray.from_arrays(starts, pa.array(scores.ravel())),
        }
    )
