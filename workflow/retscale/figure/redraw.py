"""`retscale figure NAME STUDY`: one figure from the results of a study that has run."""

import argparse

from retscale.common.phrase import hint
from retscale.common.terminal import answer
from retscale.errors import UserError
from retscale.figure.figures import FIGURES
from retscale.figure.run import run
from retscale.provenance.publish import publish, workspace
from retscale.study import figure_needs, load, results, specs
from retscale.study.study import Study


def main(arguments: argparse.Namespace) -> int:
    """Draw it and print where its files are; UserError if the study has no such figure, or has not run."""
    study = load.study(arguments.study)
    name = arguments.name
    require_figure(study, name)
    inputs = results.finished(study, arguments.study, ("collect", "fit"))
    if name in study.figures_with_external:
        inputs |= results.finished(study, arguments.study, ("external",))
    with workspace(arguments.out, f"figure-{name}") as work:
        run(specs.figure(study, name), inputs, work)
        files = sorted(path.name for path in work.iterdir())
        publish(work, arguments.out, files)
    for file in files:
        answer(str(arguments.out / file))
    return 0


def require_figure(study: Study, name: str) -> None:
    """UserError if this study has nothing to show in a figure of this name."""
    if name not in FIGURES:
        raise UserError(f"unknown figure {name!r}{hint(name, FIGURES)}")
    if lack := figure_needs.missing_for(study, name):
        raise UserError(f"{study.name} has no figure {name}: {lack}")
    if name not in study.file.figures:
        raise UserError(f"{study.name} has no figure {name}; add it to `figures` of the study")
