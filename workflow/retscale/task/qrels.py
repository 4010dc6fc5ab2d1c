"""Judgments from lines of text: which column is the query, which the document, and which the score."""

import csv
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from retscale.errors import UserError

GRADE = 10**9  # a larger number is not a grade but an id or a date in the wrong column
ROLES = ("query", "document", "score")
NAMES = {  # what a header may call a column, in lower-case letters and digits
    **dict.fromkeys(("query", "queryid", "qid", "topic", "topicid"), "query"),
    **dict.fromkeys(("corpus", "corpusid", "doc", "docid", "docno", "did", "document", "documentid"), "document"),
    **dict.fromkeys(("passage", "passageid", "pid"), "document"),
    **dict.fromkeys(("score", "relevance", "rel", "label", "grade", "judgement", "judgment"), "score"),
}

Cells = list[str]


def judgments(lines: Iterable[tuple[int, str]], path: Path, assumed: Counter[str]) -> Iterator[tuple[str, str, int]]:
    """Query, document and score of each of the `lines` (number, text) of the file `path`.

    Columns are separated by tabs, spaces or commas, and identified by the header. Without a header, or with one that
    names neither query nor document, they are identified by position: three, or TREC's four. `assumed` counts lines by
    how they were read, where that is not obvious. Raises UserError that names the first line that cannot be read.
    """
    split, pick = _split, None
    notes: list[str] = []
    for number, line in lines:
        try:
            if pick is None:
                split = _split_commas if _by_commas(line) else _split
                notes += ["columns separated by commas"] * (split is _split_commas)
                header = split(line)
                if roles := _roles(header):
                    pick, header_notes = _by_name(header, roles)
                    notes += header_notes
                    continue
                pick = _by_position
            query, document, score = pick(split(line))
            if not (float(score).is_integer() and abs(float(score)) < GRADE):
                raise ValueError(f"the score {score} is not an integer of fewer than ten digits")
        except (ValueError, IndexError, csv.Error) as error:
            raise UserError(
                f"{path}, line {number}: expected query, document and score separated by tabs ({error})"
            ) from None
        if notes:
            assumed.update(f"{path.name}: {note}" for note in notes)
        yield query, document, int(float(score))


def _by_commas(line: str) -> bool:
    """Whether the first line of a file separates its columns this way; an id may contain a comma too."""
    if "\t" in line:
        return False
    cells = _split_commas(line)
    return len(cells) >= len(ROLES) and (_is_number(cells[-1]) or bool(_roles(cells)))


def _split_commas(line: str) -> Cells:
    return _whole([cell.strip() for cell in next(csv.reader([line], skipinitialspace=True))])


def _split(line: str) -> Cells:
    return _whole(line.split("\t") if "\t" in line else line.split())


def _whole(cells: Cells) -> Cells:
    """Without empty columns at the end."""
    while cells and not cells[-1].strip():
        cells.pop()
    return cells


def _roles(cells: Cells) -> list[str | None]:
    """The role that each column's name says; empty if the line is no header."""
    roles = [NAMES.get(re.sub("[^a-z0-9]", "", cell.lower())) for cell in cells]
    return roles if any(roles) and not _is_number(cells[-1]) else []


def _by_name(header: Cells, roles: list[str | None]) -> tuple[Callable[[Cells], Cells], list[str]]:
    """How to take query, document and score from a line below `header`, and what to report about it."""
    names = ", ".join(cell.strip() for cell in header)
    if set(roles[:-1]) == {None} and roles[-1] == "score" and len(roles) in (3, 4):
        return _by_position, [f"columns by position, since the header ({names}) names neither query nor document"]
    absent = [role for role in ROLES if role not in roles]
    notes = []
    if len(absent) == 1 and len(roles) == len(ROLES):
        column = header[roles.index(None)].strip()
        notes.append(f"column {column} taken as the {absent[0]}")
        roles = [role or absent[0] for role in roles]
    for role in ROLES:
        if (times := roles.count(role)) != 1:
            raise ValueError(f"the header ({names}) names {'no' if not times else 'more than one'} {role}")
    columns = [roles.index(role) for role in ROLES]
    if not notes and roles != list(ROLES):
        notes.append(f"columns by the header ({names})")

    def pick(cells: Cells) -> Cells:
        if not max(columns) < len(cells) <= len(header):
            raise ValueError(f"{len(cells)} columns under a header of {len(header)}")
        return [cells[column] for column in columns]

    return pick, notes


def _by_position(cells: Cells) -> Cells:
    return cells if len(cells) == 3 else [cells[0], *cells[2:]]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
