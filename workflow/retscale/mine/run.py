"""pairs.parquet and passages.parquet -> negatives.parquet."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from retscale.common import seeds
from retscale.common.copies import fingerprints
from retscale.common.progress import progress
from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.mine.choose import choose, hardest
from retscale.mine.config import MineConfig, Spec
from retscale.mine.rank import Rank, by_bm25, by_encoder, by_given

if TYPE_CHECKING:
    from retscale.model.encoder import Encoder


def run(values: dict, inputs: dict, out: Path) -> dict:
    """Notes: see `mine`."""
    spec = Spec.model_validate(values)
    folder = Path(inputs["pairs"]).parent
    rank, guide = by_bm25, None
    if spec.method == "given":
        rank = by_given(folder / "given.parquet")
    elif spec.method == "encoder":
        rank = by_encoder(encoder("encoder", spec, inputs), out)
    if spec.guide:
        from retscale.mine.guide import guided

        guide = guided(encoder("guide", spec, inputs), out)
    table, counts = mine(
        pd.read_parquet(folder / "pairs.parquet"), pd.read_parquet(folder / "passages.parquet"), spec, rank, guide
    )
    pq.write_table(table.replace_schema_metadata({"facts": json.dumps(counts)}), out / "negatives.parquet")
    if counts["short"]:
        say(shortage(counts))
    return counts


def encoder(name: str, spec: Spec, inputs: dict) -> "Encoder":
    """The encoder whose encoder.json is the input `name`."""
    if name not in inputs:
        raise UserError(f"mine: this spec needs --{name}, the encoder.json of an encoder")
    from retscale.model import accelerator
    from retscale.model.device import use_threads
    from retscale.model.encoder import load_encoder

    accelerator.ready()
    use_threads(spec.threads)
    return load_encoder(inputs[name], spec.precision, spec.tokens_per_batch)


def mine(
    pairs: pd.DataFrame,
    passages: pd.DataFrame,
    config: MineConfig,
    rank: Rank = by_bm25,
    guide: Callable | None = None,
) -> tuple[pa.Table, dict]:
    """Negatives of every query of `pairs` (query_id, query, passage_id) among `passages` (passage_id, text).

    A positive of the query, or a copy of one, is never a negative. A query may have fewer than `negatives`; a recipe
    says what to do then. Counts: queries, passages, negatives per query, ranked passages `passed` over by `skip` and
    `margin`, queries that are `short` of negatives, and negatives that are `missing` in total.
    """
    passages = passages.sort_values("passage_id", ignore_index=True)  # ties go by id
    check(pairs, passages)
    queries = pairs.sort_values(["query_id", "passage_id"]).groupby("query_id")
    queries = queries.agg(query=("query", "first"), positives=("passage_id", list))
    number = pd.Index(passages["passage_id"])
    positives = [number.get_indexer(ids) for ids in queries["positives"]]
    ranking = rank(passages, queries["query"], positives, with_copies(passages["text"], positives), config)
    if guide:
        ranking = guide(ranking, passages, queries["query"], positives)
    rows, scores, passed = [], [], 0
    for query_id, ranked in zip(queries.index, progress(ranking, "mine", len(queries), "queries"), strict=True):
        trusted = hardest(ranked.margin_scores, config.skip, config.margin, ranked.positive_score)
        chosen = choose(trusted, config.negatives, config.choose == "random", seeds.of_query(config.seed, query_id))
        rows.append(ranked.rows[chosen])
        scores.append(ranked.scores[chosen])
        passed += len(ranked.rows) - len(trusted)
    missing = config.negatives - np.array([len(of_query) for of_query in rows])
    counts = {
        "queries": len(queries),
        "passages": len(passages),
        "negatives": config.negatives,
        "passed": passed,
        "short": int((missing > 0).sum()),
        "missing": int(missing.sum()),
    }
    return negatives_table(queries.index, passages["passage_id"], rows, scores), counts


def shortage(counts: dict) -> str:
    """A line about the queries that have too few negatives."""
    share = counts["short"] / counts["queries"]
    return (
        f"mine: {counts['short']:,} of {counts['queries']:,} queries ({share:.1%}) have fewer than "
        f"{counts['negatives']} negatives; {counts['missing']:,} are missing, which recipes with `too_few: fill` replace "
        "by random passages"
    )


def check(pairs: pd.DataFrame, passages: pd.DataFrame) -> None:
    """Raises UserError for tables with duplicate passages, a query with two texts, or a pair without its passage."""
    if (duplicated := passages["passage_id"].duplicated()).any():
        raise UserError(f"mine: passage {passages['passage_id'][duplicated].iloc[0]} occurs twice in passages.parquet")
    if (unknown := ~pairs["passage_id"].isin(passages["passage_id"])).any():
        row = pairs[unknown].iloc[0]
        raise UserError(f"mine: query {row.query_id}: its passage {row.passage_id} is missing from passages.parquet")
    texts = pairs.drop_duplicates(["query_id", "query"])
    if (duplicated := texts["query_id"].duplicated()).any():
        raise UserError(f"mine: query {texts['query_id'][duplicated].iloc[0]} has two texts in pairs.parquet")


def with_copies(texts: pd.Series, positives: list[np.ndarray]) -> list[np.ndarray]:
    """Each query's positives and all passages equal to one of them, as sorted row numbers."""
    keys = fingerprints(texts)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    excluded = []
    for rows in positives:
        first, last = (np.searchsorted(ordered, keys[rows], side) for side in ("left", "right"))
        excluded.append(np.unique(np.concatenate([order[a:b] for a, b in zip(first, last)])))
    return excluded


def negatives_table(query_ids: pd.Index, ids: pd.Series, rows: list[np.ndarray], scores: list[np.ndarray]) -> pa.Table:
    """query_id, negatives (list of passage ids) and scores (list of float32); `rows` are numbers of `ids`."""
    starts = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    negatives = pa.array(ids, pa.string()).take(pa.array(np.concatenate(rows)))
    return pa.table(
        {
            "query_id": pa.array(query_ids, pa.string()),
            "negatives": pa.ListArray.from_arrays(starts, negatives),
            "scores": pa.ListArray.from_arrays(starts, pa.array(np.concatenate(scores), pa.float32())),
        }
    )
