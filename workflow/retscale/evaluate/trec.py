"""`retscale trec TASK.parquet`: the run of an evaluation in TREC's format, for trec_eval and its kin."""

import argparse
import os
import sys
from collections.abc import Iterator

import pandas as pd

from retscale.common import parquet
from retscale.common.terminal import visible
from retscale.errors import UserError


def main(arguments: argparse.Namespace) -> int:
    """Print the run; UserError if the file is not a run, or holds what the format cannot."""
    try:
        run = parquet.read(arguments.run, {"query_id": "text", "doc_ids": "texts", "scores": "numbers"})
    except UserError as error:
        raise UserError(
            f"{error}; name a run that `retscale evaluate` wrote, a TASK.parquet under results/<study>/evaluate"
        ) from None
    try:
        sys.stdout.writelines(lines(run, "retscale"))
    except BrokenPipeError:  # the reader has stopped reading
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def lines(run: pd.DataFrame, tag: str) -> Iterator[str]:
    """`query Q0 document rank score tag`, ranks from 1; scores are written so that they read back as the same float32."""
    for query, documents, scores in zip(run["query_id"], run["doc_ids"], run["scores"]):
        if len(documents) != len(scores):
            raise UserError(f"the query {query!r} has {len(documents)} documents and {len(scores)} scores")
        for rank, (document, score) in enumerate(zip(documents, scores), 1):
            for id in (query, document):
                check(id)
            yield f"{query} Q0 {document} {rank} {score!s} {tag}\n"


def check(id: str | None) -> None:
    """UserError for an id that the columns of a TREC run, or the terminal that it is printed on, cannot take."""
    if not id or len(id.split()) != 1 or id != id.strip():
        raise UserError(f"the id {id!r} holds white space, which separates the columns of a TREC run; rename it")
    if visible(id) != id:
        raise UserError(f"the id {id!r} holds a control character, which a TREC run cannot; rename it")
