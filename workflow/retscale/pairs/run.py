"""Source rows -> pairs.parquet, passages.parquet, pairs.json."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from retscale.common.copies import plain
from retscale.common.files import sha256
from retscale.common.progress import progress
from retscale.errors import UserError
from retscale.pairs import held_out
from retscale.pairs.card import PairsCard
from retscale.pairs.config import Spec
from retscale.pairs.exclude import Excluder
from retscale.pairs.source import open_rows, passages_in, triples


def identifier(letter: str, text: str) -> str:
    """An id that depends only on the text (up to `plain`): the same in every order and subset."""
    return letter + hashlib.sha256(plain(text).encode()).hexdigest()[:16]


def select(
    source: Iterable[tuple[str, str, list[str]]], excluder: Excluder, collection_texts: Iterable[str] | None = None
) -> tuple[pd.DataFrame, dict[str, str], pd.DataFrame, Counter, Counter]:
    """Usable pairs (query_id, query, passage_id) in the source's order, the passages {id: text} with those of
    `collection_texts`, and the negatives that the rows give (query_id, passage_id).

    Texts that are equal up to `plain` are one. A row that repeats a pair may give further negatives. A row
    that overlaps a test gives nothing. Also returns the rows left out by reason (each row under its first reason) and
    the rows that overlap each test (a row may overlap several).
    """
    pairs, passages, queries, given_negatives = {}, {}, {}, {}
    excluded, overlap = Counter(), Counter()
    refused: set[str] = set()

    def add_passage(text: str) -> str | None:
        """Add a passage beside the positives and return its id, or None if it may not be used; each is judged only once."""
        if not plain(text):
            return None
        id = identifier("p", text)
        if id not in passages and id not in refused:
            if excluder.reasons("", text):
                refused.add(id)
            else:
                passages[id] = text.strip()
        return id if id in passages else None

    for query, passage, negatives in progress(source, "pairs", unit="rows"):
        query, passage = query.strip(), passage.strip()
        if not plain(query) or not plain(passage):
            excluded["empty"] += 1
            continue
        ids = identifier("q", query), identifier("p", passage)
        if ids in pairs:
            excluded["duplicate"] += 1
        elif reasons := excluder.reasons(query, passage):
            excluded[reasons[0]] += 1
            overlap.update(reason.split(" in ", 1)[1] for reason in reasons)
            continue
        pairs[ids] = None
        queries.setdefault(ids[0], query)
        passages.setdefault(ids[1], passage)
        given_negatives.setdefault(ids[0], {}).update(dict.fromkeys(filter(None, map(add_passage, negatives))))
    for text in progress(collection_texts, "passages", unit="passages") if collection_texts is not None else ():
        add_passage(text)
    table = pd.DataFrame(
        {
            "query_id": [q for q, _ in pairs],
            "query": [queries[q] for q, _ in pairs],
            "passage_id": [p for _, p in pairs],
        },
        dtype="str",
    )
    negatives = pd.DataFrame(
        {"query_id": list(given_negatives), "passage_id": [list(ids) for ids in given_negatives.values()]}
    ).explode("passage_id")
    return table, passages, negatives.dropna().astype("str"), excluded, overlap


def run(values: dict, inputs: dict, out: Path) -> dict:
    spec = Spec.model_validate(values)
    tests = held_out.read(spec.exclude, spec.held_out, inputs.get("tests", []))
    rows_of_pairs, revision = open_rows(spec.source)
    collection_texts, collection_revision = open_rows(spec.collection) if spec.collection else (None, None)
    if spec.collection:
        collection_texts = passages_in(collection_texts, spec.collection)
    pairs, passages, given_negatives, excluded, overlap = select(
        triples(rows_of_pairs, spec.source), Excluder(tests, spec.near_words, spec.near_share), collection_texts
    )
    n_rows = len(pairs) + sum(excluded.values())
    if pairs.empty:
        raise UserError(f"none of {n_rows} rows gives a training pair; left out: {dict(excluded)}")
    usable = len(pairs)
    if spec.max_pairs is not None and spec.max_pairs < usable:
        chosen = np.random.default_rng(spec.seed).permutation(usable)[: spec.max_pairs]
        pairs = pairs.iloc[np.sort(chosen)].reset_index(drop=True)
    collection = pd.DataFrame(sorted(passages.items()), columns=["passage_id", "text"], dtype="str")
    pairs.to_parquet(out / "pairs.parquet", index=False)
    collection.to_parquet(out / "passages.parquet", index=False)
    names = ["pairs.parquet", "passages.parquet"]
    if spec.source.negatives:
        given_negatives[given_negatives["query_id"].isin(pairs["query_id"])].to_parquet(
            out / "given.parquet", index=False
        )
        names.append("given.parquet")
    card = {
        "id": spec.id,
        "rows": n_rows,
        "excluded": dict(sorted(excluded.items())),
        "held_out": {name: len(set(tests[name])) for name in sorted(tests)},
        "overlap": {name: overlap[name] for name in sorted(tests)},
        "usable": usable,
        "pairs": len(pairs),
        "queries": pairs["query_id"].nunique(),
        "positives": pairs["passage_id"].nunique(),
        "passages": len(collection),
        "revision": revision,
        "collection_revision": collection_revision,
        "files": {name: sha256(out / name) for name in names},
    }
    PairsCard.write(out / "pairs.json", card)
    return {name: card[name] for name in ("rows", "excluded", "held_out", "overlap", "pairs", "passages")}
