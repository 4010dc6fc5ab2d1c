"""What is audited: the records that a figure, a table, a report, a folder of results or a study file stands for."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from retscale import paths
from retscale.audit import place
from retscale.audit.place import plain
from retscale.errors import UserError
from retscale.plan.jobs import jobs
from retscale.provenance import record
from retscale.stages import STAGES
from retscale.study import load
from retscale.study.study import Study

SUFFIX = ".record.json"
DEEP = 4  # folders between a file and its record, at most: weights lie below their card


@dataclass(frozen=True)
class Target:
    """`last`: the records that nothing else was made from, so that they stand for all; `others` are audited beside them.

    `asked`: the files that somebody asked about. `whole`: the study is audited as a whole, in the folder of its results.
    """

    last: list[Path]
    others: list[Path] = field(default_factory=list)
    asked: list[Path] = field(default_factory=list)
    study: Study | None = None
    whole: bool = False


def of(path: Path) -> Target:
    """UserError if nothing at `path` can be audited."""
    if path.suffix in (".yaml", ".yml"):
        study = load.study(path)
        return _of_study(study, paths.folder(study.name), path)
    if os.path.isdir(path):
        return _of_folder(plain(path))
    return _of_file(plain(path))


def _of_study(study: Study, folder: Path, file: Path) -> Target:
    outputs = [plain(folder / output) for job in jobs(study) for output in job.makes]
    there = [path for output in outputs if (path := record.path_of(output)).exists() or output.exists()]
    last = _last(folder)
    if not last:
        raise UserError(
            f"{folder} holds no figure and no report to audit; run the study: snakemake --profile local --configfile {file}"
        )
    return Target(last, [path for path in there if path not in last], study=study, whole=True)


def _of_folder(folder: Path) -> Target:
    if last := _last(folder):
        return Target(last, whole=True)
    below_results = not STAGES.keys().isdisjoint(folder.parts)  # or else all the disk might be searched
    if below_results and (records := sorted(folder.rglob(f"*{SUFFIX}"))):
        return Target(records)
    raise UserError(f"{folder} holds no record of a job; name the results of a study, such as results/mini")


def _last(folder: Path) -> list[Path]:
    """The record of the report in a study's results, else those of the figures."""
    results = paths.Results(str(folder))
    report = Path(results.report())
    if record.path_of(report).exists() or report.exists():
        return [record.path_of(report)]
    return sorted(Path(results.figure("x")).parent.glob(f"*{SUFFIX}"))


def _of_file(path: Path) -> Target:
    if path.name.endswith(SUFFIX) and os.path.lexists(path):
        return Target([path])
    if path.name:
        if lister := next(_records_that_list(path), None):
            return Target([lister], asked=[path])
        if os.path.lexists(beside := record.path_of(path)) or _is_output(path):
            return Target([beside], asked=[path])
    raise UserError(f"{path} is not a result of a study: no record beside it lists it")


def _is_output(path: Path) -> bool:
    """Whether a job's output is there, by its place; then its record must be there too."""
    primaries = {stage: path.with_suffix(Path(kind.primary).suffix) for stage, kind in STAGES.items()}
    return os.path.lexists(path) and any(place.of(stage, primary) for stage, primary in primaries.items())


def _records_that_list(path: Path) -> Iterator[Path]:
    """Records beside a file, or in a folder above it, of which it is an output."""
    for folder in list(path.parents)[:DEEP]:
        for candidate in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                outputs = record.parse(candidate)["outputs"]
            except UserError:
                continue
            if any(plain(folder / row["path"]) == path for row in outputs):
                yield candidate


def study_of(folder: Path) -> Study | None:
    """The study whose results lie in `folder`, where its file lies in config/ by its name and can be read."""
    file = Path("config") / f"{folder.name}.yaml"
    if not file.is_file() or plain(folder) != paths.folder(folder.name):
        return None
    try:
        study = load.study(file)
    except UserError:
        return None
    return study if study.name == folder.name else None
