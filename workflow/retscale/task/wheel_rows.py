"""A collection from rows that pair queries with documents."""

import re
from collections import Counter

import pandas as pd

from retscale.common.copies import plain
from retscale.common.wheel import WheelSource, rows
from retscale.errors import UserError
from retscale.task.collection import Collection
from retscale.task.config import RowsSource


def collect(source: RowsSource, judged_only: bool) -> Collection:
    """Documents and queries are unique up to `plain`, numbered in order of appearance."""
    strip = re.compile(source.strip) if source.strip else None
    asked = _asked(source)
    documents: dict[str, dict] = {}
    queries: dict[str, dict] = {}
    judgments: dict[tuple[str, str], int] = {}
    dropped: Counter[str] = Counter()
    for row in rows(source):
        title, text = (text_of(row, key, source, strip) for key in (source.title, source.document))
        if not text:
            dropped["empty document"] += 1
            continue
        key = plain(f"{title} {text}")
        if key in documents:
            dropped["duplicate document"] += 1
        document = documents.setdefault(key, {"doc_id": f"d{len(documents):07d}", "title": title, "text": text})
        grade = 1 if source.label is None else int(str(field(row, source.label, source)) == source.relevant)
        row_queries = field(row, source.query, source)
        for query in row_queries if isinstance(row_queries, list) else [row_queries]:
            query = clean(query, strip)
            if not query:
                dropped["empty query"] += 1
            elif asked is not None and plain(query) not in asked:
                dropped["query that is not asked"] += 1
            elif len(query.split()) < source.min_words:
                dropped[f"query of fewer than {source.min_words} words"] += 1
            else:
                entry = queries.setdefault(plain(query), {"query_id": f"q{len(queries):07d}", "text": query})
                pair = entry["query_id"], document["doc_id"]
                judgments[pair] = max(grade, judgments.get(pair, 0))
    qrels = pd.DataFrame([(*pair, grade) for pair, grade in judgments.items()], columns=["query_id", "doc_id", "score"])
    relevant = qrels[qrels["score"] > 0].groupby("query_id").size()
    per_query = relevant.reindex([q["query_id"] for q in queries.values()], fill_value=0)
    usable = per_query > 0
    dropped["query without a relevant document"] = int((~usable).sum())
    if judged_only:
        # Without an irrelevant candidate every ranking is perfect.
        has_irrelevant = per_query < qrels.groupby("query_id").size().reindex(per_query.index, fill_value=0)
        dropped["query without an irrelevant document"] = int((usable & ~has_irrelevant).sum())
        usable &= has_irrelevant
    if source.ambiguous == "drop":
        dropped["ambiguous query"] = int((usable & (per_query > 1)).sum())
        usable &= per_query == 1
    query_ids = set(per_query.index[usable])
    return Collection(
        queries=pd.DataFrame([q for q in queries.values() if q["query_id"] in query_ids], columns=["query_id", "text"]),
        corpus=pd.DataFrame(documents.values(), columns=["doc_id", "title", "text"]),
        qrels=qrels[qrels["query_id"].isin(query_ids)].reset_index(drop=True),
        dropped={reason: count for reason, count in sorted(dropped.items()) if count},
    )


def _asked(source: RowsSource) -> set[str] | None:
    """The queries to keep, normalized by `plain`; None to keep all."""
    if source.asked is None:
        return None
    files = WheelSource(wheel=source.wheel, files=source.asked.files)
    return {plain(str(field(row, source.asked.field, files))) for row in rows(files)}


def field(row: dict, key: str, source: WheelSource) -> object:
    if key not in row:
        raise UserError(
            f"a row of {source.wheel} {source.files} has no field {key!r}; it has: {', '.join(map(str, row))}"
        )
    return row[key]


def text_of(row: dict, key: str | None, source: RowsSource, strip: re.Pattern | None) -> str:
    return clean(field(row, key, source), strip) if key else ""


def clean(text: object, strip: re.Pattern | None) -> str:
    text = "" if text is None else str(text)
    return (strip.sub("", text) if strip else text).strip()
