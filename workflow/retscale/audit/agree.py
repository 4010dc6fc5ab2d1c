"""The second chain: what files say of each other, from the metadata of a figure to the values of single queries."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

from retscale.audit import documents, figures, grid, sources, tables
from retscale.audit.walk import Node, Walk
from retscale.errors import UserError

Check = Callable[[Node, Walk], Iterator[tuple[Path, str]]]
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, OSError, pd.errors.ParserError)

CHECKS: list[Check] = [documents.check, documents.weights, sources.check, grid.check, tables.check, figures.check]


def compare(walked: Walk) -> None:
    """Blame what contradicts others. Only records and files that are what was recorded are asked."""
    blamed = walked.findings.problems.keys()
    # From the results on: what rests on a file that is to blame is not blamed for repeating it.
    for node in reversed(walked.nodes.values()):
        if {node.path, *node.outputs, *node.by_source, *(row.path for row in node.inputs)} & blamed:
            continue
        for check in CHECKS:
            if _blame(check, node, walked):
                break
    if not blamed:  # or else all figures would be named for whatever is wrong behind them
        for node in walked.nodes.values():
            _blame(figures.origin, node, walked)


def _blame(check: Check, node: Node, walked: Walk) -> bool:
    """Blame what a check finds, and the record's output if the check cannot read it; whether there was anything."""
    try:
        findings = list(check(node, walked))
    except UserError as error:
        findings = [(node.primary, f"does not fit its job: {error}")]
    except MALFORMED as error:
        findings = [(node.primary, f"is of another form than such files have ({type(error).__name__}: {error})")]
    for culprit, message in findings:
        walked.findings.blame(culprit, message)
    return bool(findings)
