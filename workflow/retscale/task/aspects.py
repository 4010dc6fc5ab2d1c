"""A collection in which an instruction decides which of two documents about a subject is relevant."""

import re
from collections import Counter

import pandas as pd

from retscale.common.copies import plain
from retscale.common.wheel import rows
from retscale.task.collection import Collection
from retscale.task.config import RowsSource
from retscale.task.wheel_rows import clean, field, text_of


def collect(source: RowsSource) -> Collection:
    """Each row gives a subject, `source.query`, and a document for each aspect; half of the queries ask for each.

    The two queries of a subject, ID-og and ID-changed, differ in their instruction alone. p-MRR then asks how far the
    first's document falls under the second's instruction, which makes it irrelevant. A row is left out if a text is
    empty or if a row before it has its subject or one of its documents.
    """
    strip = re.compile(source.strip) if source.strip else None
    instructions, fields = zip(*source.aspects.items())
    queries, corpus, qrels, changed = [], [], [], []
    seen: dict[str, set[str]] = {"subject": set(), "document": set()}
    dropped: Counter[str] = Counter()
    for row in rows(source):
        subject = clean(field(row, source.query, source), strip)
        title = text_of(row, source.title, source, strip)
        documents = [text_of(row, name, source, strip) for name in fields]
        keys = {"subject": {plain(subject)}, "document": {plain(f"{title} {text}") for text in documents}}
        if not subject or not all(documents):
            dropped["empty subject or document"] += 1
        elif len(subject.split()) < source.min_words:
            dropped[f"subject of fewer than {source.min_words} words"] += 1
        elif repeated := [kind for kind in seen if keys[kind] & seen[kind]]:
            dropped[f"{repeated[0]} of an earlier row"] += 1
        elif len(keys["document"]) < len(fields):
            dropped["two documents that are the same"] += 1
        else:
            for kind in seen:
                seen[kind] |= keys[kind]
            id = f"q{len(changed):07d}"
            for form, instruction, text in zip(("og", "changed"), instructions, documents):
                queries.append((f"{id}-{form}", subject, instruction))
                corpus.append((f"d{len(corpus):07d}", title, text))
                qrels.append((f"{id}-{form}", corpus[-1][0], 1))
            changed.append((id, corpus[-2][0]))
    return Collection(
        queries=pd.DataFrame(queries, columns=["query_id", "text", "instruction"]),
        corpus=pd.DataFrame(corpus, columns=["doc_id", "title", "text"]),
        qrels=pd.DataFrame(qrels, columns=["query_id", "doc_id", "score"]),
        dropped={reason: count for reason, count in sorted(dropped.items()) if count},
        instruction_metric="p_mrr",
        changed=pd.DataFrame(changed, columns=["query_id", "doc_id"], dtype="str"),
    )
