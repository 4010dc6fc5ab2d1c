"""Files that no job made: they must be those that the job's spec, or the study file, names."""

import os
from collections.abc import Iterator
from pathlib import Path

from retscale.audit.walk import Node, Walk
from retscale.encoder.config import EncoderFolder
from retscale.stages import STAGES
from retscale.study import source_files
from retscale.study.study import Study

NAMED_BY_STUDY = ("tables", "models", "published")  # flags whose files the study file names, and no spec


def check(node: Node, _: Walk) -> Iterator[tuple[Path, str]]:
    """The files that a spec names are all read and no others, as far as they are on this machine."""
    named = {os.path.abspath(path) for path in source_files.files(node.stage, node.spec)}
    if node.stage == "encoder":
        named |= {os.path.abspath(path) for path in EncoderFolder(**node.spec["source"]).files()}
    loose = [row for row in node.inputs if not row.record and row.name not in (*NAMED_BY_STUDY, "card")]
    for row in loose:
        if os.path.abspath(row.path) not in named and row.path.exists():
            yield node.path, f"reads {row.path}, which its spec does not name"
    for path in sorted(named - {os.path.abspath(row.path) for row in node.inputs}):
        yield node.path, f"does not list {path}, which its spec names"


def of_study(study: Study | None, walked: Walk) -> None:
    """The tables of others' results are those that the study file names; a doubt where there is no such file."""
    named = study and {
        os.path.abspath(path) for path in (*source_files.published(study), *source_files.external(study))
    }
    for node in walked.nodes.values():
        for row in node.inputs:
            if row.name not in NAMED_BY_STUDY or row.record or row.name not in STAGES[node.stage].outside:
                continue
            if named is None:
                walked.findings.doubt(f"only the study file names {row.path}; audit the study by its file")
            elif os.path.abspath(row.path) not in named:
                walked.findings.blame(node.path, f"reads {row.path}, which the study file does not name")
