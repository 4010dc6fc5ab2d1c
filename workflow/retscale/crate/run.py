"""`retscale crate STUDY`: a study that has run as a Workflow Run RO-Crate, small whatever the study's size."""

import argparse
import importlib.util
from pathlib import Path

from retscale.common.phrase import counted
from retscale.common.terminal import answer
from retscale.crate import jobs
from retscale.errors import UserError
from retscale.study import load
from retscale.study.results import finished

PACKAGES = ("rocrate", "mlcroissant")


def main(arguments: argparse.Namespace) -> int:
    """Write the crate and say where it is; UserError if the study has not run, or something is there already."""
    if missing := [name for name in PACKAGES if not importlib.util.find_spec(name)]:
        raise UserError(f"a crate needs {' and '.join(missing)}, which is not installed; run: make .venv/crate.ok")
    from retscale.crate.write import write

    study = load.study(arguments.study)
    report = finished(study, arguments.study, ("report",))["report"]
    out = arguments.out or Path(f"{study.name}-crate.zip")
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} is there already; delete it, or name another place with --out")
    records = jobs.behind(report)
    size = write(records, report.parent, arguments.study, out, study.written.base)
    answer(f"{out}: {counted(len(records), 'job')}, {size / 1e6:.1f} MB")
    return 0
