"""`retscale check STUDY`: is this study right, and what would it run?"""

import argparse

from retscale import paths
from retscale.clean import orphans as clean
from retscale.cluster import check as cluster
from retscale.cluster import show, slurm, workstation
from retscale.cluster import site as sites
from retscale.common.phrase import counted
from retscale.common.progress import progress
from retscale.common.terminal import answer
from retscale.errors import UserError
from retscale.plan.costs import Costs
from retscale.plan.formatting import size
from retscale.plan.why import why
from retscale.study import load, overview, preflight
from retscale.study.study import Study


def main(arguments: argparse.Namespace) -> int:
    """Print what the study would run; raises UserError that says what is wrong with it."""
    study = load.study(arguments.study)
    if arguments.profile:
        require_resources(study, arguments.profile)
    preflight.check_wheels(study)
    preflight.check_tracker(study)
    answer(f"{arguments.study}: {study.file.title}")
    for line in overview.lines(study):
        answer(line)
    if by_repo := revisions(study):
        answer(f"revisions    {check_revisions(by_repo)}")
    if arguments.profile:
        for line in check_cluster(arguments.profile):
            answer(f"cluster      {line}")
    if line := orphans(study):
        answer(f"orphans      {line}")
    preflight.check_files(study)
    if arguments.why:
        reasons = why(study, paths.folder(study.name))
        for line in ["", "would run, and why:", *reasons] if reasons else ["", "nothing would run again"]:
            answer(line)
    return 0


def orphans(study: Study) -> str:
    """One line on files among the results and logs that belong to no job of a study; empty if there are none."""
    try:
        listing = clean.orphans(clean.sharing(study))
    except UserError as error:
        return f"not looked for: {error}"
    if not listing.orphans:
        return ""
    amount = f"{counted(listing.files, 'file')}, {size(listing.bytes)}"
    return f"{amount} that no study names; to list them: retscale clean {study.path} --orphans"


def require_resources(study: Study, profile: str) -> None:
    """UserError if no allotment of the cluster or this machine holds some sizes, with one line for each."""
    file = sites.of_profile(profile)
    too_large = show.unfit(show.allotted(Costs(study, paths.folder(study.name)), sites.read(file)))
    if too_large:
        raise UserError(*(f"{file}: {line}" for line in too_large))


def check_cluster(profile: str) -> list[str]:
    """One line: the site file agrees with Slurm, or what this machine has. UserError if the site file is wrong."""
    file = sites.of_profile(profile)
    site = sites.read(file)
    if site.this_machine:
        return [f"none: this machine has {workstation.describe(site)}"]
    if wrong := cluster.problems(site, slurm.partitions(), str(file)):
        raise UserError(*wrong)
    return [f"{file} agrees with Slurm"]


def revisions(study: Study) -> dict[tuple[str, str], list[str]]:
    """(kind, repository) of the hub -> its revisions that checkpoints and training data name.

    Revisions of tasks from mteb are left out: the stage `task` compares them with those of the installed mteb.
    """
    sources = [("model", checkpoint.source) for checkpoint in study.checkpoints.values()]
    sources += [("dataset", source) for pairs in study.pairs.values() for source in (pairs.source, pairs.collection)]
    by_repo: dict[tuple[str, str], list[str]] = {}
    for kind, source in sources:
        if source is not None and source.kind == "hub":
            by_repo.setdefault((kind, source.repo), []).append(source.revision)
    return by_repo


def check_revisions(by_repo: dict[tuple[str, str], list[str]]) -> str:
    """One line: whether all revisions exist; each repository is asked once. UserError names missing ones."""
    from retscale.hub.refusals import NO_NETWORK
    from retscale.hub.revisions import missing

    problems = []
    try:
        for (kind, repo), names in progress(by_repo.items(), "revisions", len(by_repo), "repositories"):
            problems += missing(repo, names, kind)
    except NO_NETWORK:
        return "not looked up: the hub cannot be reached"
    if problems:
        raise UserError(*problems)
    count = sum(len(set(names)) for names in by_repo.values())
    return f"{'it exists' if count == 1 else f'all {count} exist'}, in {counted(len(by_repo), 'repository')}"
