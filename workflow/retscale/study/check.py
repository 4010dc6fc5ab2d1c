"""`retscale check STUDY`: is this study right, and what would it run?"""

import argparse
from pathlib import Path

from retscale import paths
from retscale.collect.means import over
from retscale.errors import UserError
from retscale.external import table
from retscale.external.config import Published
from retscale.icl.average import averages
from retscale.phrase import counted
from retscale.plan.why import why
from retscale.progress import progress
from retscale.study import catalog, here, load, specs
from retscale.study.study import Study
from retscale.terminal import answer


def main(arguments: argparse.Namespace) -> int:
    """Print what the study would run; raises UserError that says what is wrong with it."""
    found = load.study(arguments.study)
    here.check_wheels(found)
    encoders = len(found.evaluated)
    answer(f"{arguments.study}: {found.file.title}")
    answer(f"checkpoints  {len(found.checkpoints)}: {', '.join(found.checkpoints)}")
    answer(f"pairs        {len(found.pairs)}: {', '.join(found.pairs)}")
    for name, trained in found.trained.items():
        mixture = ", ".join(id if w is None else f"{id} ({w:g})" for id, w in found.mixture(name).items())
        answer(f"recipe       {name}: {counted(len(trained), 'encoder')}, trained on {mixture}")
    if found.encoders:
        answer(f"encoders     {len(found.encoders)} made elsewhere: {', '.join(found.encoders)}")
    answer(f"tasks        {len(found.tasks)}: {', '.join(found.tasks)}")
    for name, parts in found.units.items():
        if parts != [name]:
            lacking = [part for part in parts if part not in found.tasks]
            without = f"no score, nor a mean over all tasks, without {', '.join(lacking)}"
            answer(f"group        {name}: {without if lacking else f'the mean of {len(parts)} tasks, counted as one'}")
    for name, parts in found.groups.items():
        answer(f"group        {name}: the mean of {', '.join(parts)}, beside the mean over all tasks")
    answer(f"mean         over {over(specs.collect(found))}: {', '.join(found.headline)}")
    if found.in_domain and found.headline != found.in_domain:
        answer(f"in-domain    {', '.join(found.in_domain)}: measured, and not in the mean")
    answer(f"in context   {len(found.icl)}: {', '.join(found.icl) or 'none'}")
    for version in found.file.averages:
        lost = absent(found, version)
        answer(f"averages     {version}, without {lost}" if lost else f"averages     {version}")
    jobs = counted(encoders * len(found.batches), "job")
    answer(f"evaluations  {encoders * len(found.tasks)} of {counted(encoders, 'encoder')} in {jobs}")
    if found.kept:
        points = len(found.kept) * len(found.curve_tasks)
        kept = counted(len(found.kept), "kept encoder")
        answer(f"curves       {points} of {kept} in {counted(len(found.kept), 'job')}")
    for line in external(found):
        answer(f"external     {line}")
    if asked := revisions(found):
        answer(f"revisions    {check_revisions(asked)}")
    here.check_files(found)
    if arguments.why:
        reasons = why(found, paths.folder(found.name))
        for line in ["", "would run, and why:", *reasons] if reasons else ["", "nothing would run again"]:
            answer(line)
    return 0


def absent(study: Study, version: str) -> str:
    """Categories and averages of a gauntlet that will be absent, and the tasks or categories for want of which."""
    scored = [id for id, task in study.icl.items() if task.scored]
    found = averages(dict.fromkeys(scored, (0.0, 0.0)), catalog.gauntlet(version))
    return "; ".join(f"{one.name} (no {', '.join(one.missing)})" for one in found if one.missing)


def external(found: Study) -> list[str]:
    """One line per published table, which is read and checked as its job will do."""
    paths = [Path(path) for path in found.external]
    told = [Published(**one) for one in specs.external(found)["tables"]]
    lines = []
    for path, (rows, elsewhere) in zip(paths, table.read_all(paths, told), strict=True):
        models, tasks = ({getattr(row, name) for row in rows} for name in ("model", "task"))
        rest = f", {counted(elsewhere, 'value')} on tasks that this study does not have" if elsewhere else ""
        lines.append(f"{path}: {counted(len(models), 'model')} on {len(tasks)} of its tasks{rest}")
    return lines


def revisions(found: Study) -> dict[tuple[str, str], list[str]]:
    """(kind, repository) of the hub -> its revisions that checkpoints and training data want.

    Those of mteb's tasks are mteb's own, which the stage `task` compares.
    """
    sources = [("model", checkpoint.source) for checkpoint in found.checkpoints.values()]
    sources += [("dataset", source) for pairs in found.pairs.values() for source in (pairs.source, pairs.collection)]
    asked: dict[tuple[str, str], list[str]] = {}
    for kind, source in sources:
        if source is not None and source.kind == "hub":
            asked.setdefault((kind, source.repo), []).append(source.revision)
    return asked


def check_revisions(asked: dict[tuple[str, str], list[str]]) -> str:
    """One line on whether all exist, each repository asked once; UserError names those that do not."""
    from retscale.hub.refusals import NO_NETWORK
    from retscale.hub.revisions import missing

    wrong = []
    try:
        for (kind, repo), names in progress(asked.items(), "revisions", len(asked), "repositories"):
            wrong += missing(repo, names, kind)
    except NO_NETWORK:
        return "not looked up: the hub cannot be reached"
    if wrong:
        raise UserError(*wrong)
    count = sum(len(set(names)) for names in asked.values())
    return f"{'it exists' if count == 1 else f'all {count} exist'}, in {counted(len(asked), 'repository')}"
