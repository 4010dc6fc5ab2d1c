"""pairs.parquet and passages.parquet -> negatives.parquet."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retscale.errors import UserError
from retscale.mine.bm25 import Index
from retscale.mine.choose import best, choose, generator
from retscale.mine.config import MineConfig
from retscale.pairs.normalise import key
from retscale.progress import progress

SCHEMA = pa.schema(
    [("query_id", pa.string()), ("negatives", pa.list_(pa.string())), ("scores", pa.list_(pa.float32()))]
)


def mine(pairs: pd.DataFrame, passages: pd.DataFrame, config: MineConfig) -> tuple[pa.Table, dict]:
    """Negatives of every query of `pairs` (query_id, query, passage_id) among `passages` (passage_id, text).

    Never a negative: a positive of the query, or a copy of one (equal up to case, punctuation and title). A query with
    fewer than `negatives` scoring candidates is filled up with passages drawn at random, whose score is 0.
    """
    passages = passages.sort_values("passage_id", ignore_index=True)  # ties go by id
    row = {id: i for i, id in enumerate(passages["passage_id"])}
    copies: dict[str, list[int]] = {}
    keys = [key(text) for text in passages["text"]]
    for i, text in enumerate(keys):
        copies.setdefault(text, []).append(i)
    ids = passages["passage_id"].to_numpy()
    queries = pairs.groupby("query_id", sort=True).agg(query=("query", "first"), positives=("passage_id", list))
    scored = Index(passages["text"].tolist(), config).scores(queries["query"].tolist())
    found, filled, short = [], 0, 0
    for query_id, positives, scores in progress(
        zip(queries.index, queries["positives"], scored), "mine", len(queries), "query"
    ):
        forbidden = np.unique([i for id in positives for i in copies[keys[row[id]]]])
        candidates = best(scores, forbidden, config.top)
        try:
            chosen = choose(
                candidates,
                forbidden,
                len(ids),
                config.negatives,
                config.choose == "random",
                generator(config.seed, query_id),
            )
        except ValueError as error:
            raise UserError(f"mine: query {query_id}: {error}; lower mine.negatives or give more passages") from None
        lacking = max(0, config.negatives - len(candidates))
        filled, short = filled + lacking, short + (lacking > 0)
        chosen_scores = scores[chosen]
        chosen_scores[config.negatives - lacking :] = 0
        found.append({"query_id": query_id, "negatives": ids[chosen].tolist(), "scores": chosen_scores.tolist()})
    facts = {
        "queries": len(found),
        "passages": len(ids),
        "negatives": config.negatives,
        "short": short,
        "filled": filled,
    }
    return pa.Table.from_pylist(found, schema=SCHEMA), facts


def run(spec: dict, inputs: dict, out: Path) -> dict:
    """Notes: queries, passages, negatives a query, queries with too few scoring passages, random passages filled in."""
    folder = Path(inputs["pairs"]).parent
    table, facts = mine(
        pd.read_parquet(folder / "pairs.parquet"),
        pd.read_parquet(folder / "passages.parquet"),
        MineConfig.model_validate(spec),
    )
    pq.write_table(table, out / "negatives.parquet")
    return facts
