"""`retscale lineage FIGURE`: a page that shows all that a figure or a table was made from."""

import argparse
from collections import Counter
from pathlib import Path

import matplotlib

from retscale.common.phrase import counted
from retscale.common.terminal import answer
from retscale.errors import UserError
from retscale.figure import style
from retscale.figure.config import FigureConfig
from retscale.lineage.draw import Page, draw
from retscale.lineage.graph import Known, behind, graph, primary
from retscale.lineage.sources import licences, sources
from retscale.provenance import record
from retscale.provenance.publish import publish, workspace

NOTES = [
    "A box stands for results of a stage, an arrow for what was read; an arrow that follows from others is left out.",
    "Beside a name from outside: the first digits of the sha256 of what was read from there.",
]


def main(arguments: argparse.Namespace) -> int:
    """Draw it and print where it is; UserError if the file is not an output of a study, or a record is missing."""
    target, out = primary(arguments.output), arguments.out
    if out.suffix not in FORMATS:
        raise UserError(f"--out: {out} must end with one of {', '.join(FORMATS)}")
    with matplotlib.rc_context(style.rc(FigureConfig())):
        figure = draw(page(target))
        with workspace(out.parent, out.name) as work:
            figure.savefig(work / out.name, metadata=FORMATS[out.suffix] | {"Title": f"Lineage of {target}"})
            publish(work, out.parent, [out.name])
    answer(str(out))
    return 0


# Metadata by format: without dates, so that the same records give the same bytes.
FORMATS = {
    ".svg": {"Date": None, "Creator": "retscale"},
    ".pdf": {"CreationDate": None, "ModDate": None, "Creator": "retscale"},
    ".png": {"Software": None},
}


def page(target: Path) -> Page:
    """Of a declared output."""
    records = behind(target)
    own = records[record.path_of(target)]
    about = [
        f"root {record.digest(own)}",
        f"{counted(len(records), 'record')}; code of {', '.join(commits(records))}",
        *NOTES,
    ]
    return Page(f"What {target} was made from", about, graph(records), sources(records, licences(target)))


def commits(records: dict[Path, Known]) -> list[str]:
    """Each commit of the code, with the number of its records where there are several."""
    counts = Counter(
        content["git"]["commit"][:12] + ", edited" * bool(content["git"]["dirty"]) for content in records.values()
    )
    return [f"commit {name}" + (f" ({count})" if len(counts) > 1 else "") for name, count in counts.most_common()]
