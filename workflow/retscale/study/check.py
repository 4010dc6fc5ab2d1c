"""`retscale check STUDY`: is this study right, and what would it run?"""

import argparse

from retscale import paths
from retscale.clean import orphans as clean
from retscale.cluster import check as cluster
from retscale.cluster import show, slurm, workstation
from retscale.cluster import site as sites
from retscale.collect.config import Spec
from retscale.collect.means import averaged_over
from retscale.common.phrase import counted
from retscale.common.progress import progress
from retscale.common.terminal import answer
from retscale.errors import UserError
from retscale.external.config import Published
from retscale.external.read import read_all
from retscale.icl.average import averages
from retscale.plan.costs import Costs
from retscale.plan.formatting import size
from retscale.plan.why import why
from retscale.reference.config import words
from retscale.study import catalog, load, preflight, source_files, specs
from retscale.study.study import Study


def main(arguments: argparse.Namespace) -> int:
    """Print what the study would run; raises UserError that says what is wrong with it."""
    study = load.study(arguments.study)
    if arguments.profile:
        require_ways(study, arguments.profile)
    preflight.check_wheels(study)
    preflight.check_tracker(study)
    encoders = len(study.evaluated_encoders)
    answer(f"{arguments.study}: {study.file.title}")
    if study.written.base:
        answer(f"base         {study.written.base}: {', '.join(study.written.inherited)}")
    if study.published:
        answer(f"published    {published(study)}")
    else:
        answer(f"checkpoints  {len(study.distinct_checkpoints)}: {', '.join(study.distinct_checkpoints)}")
        answer(f"pairs        {len(study.pairs)}: {', '.join(study.pairs)}")
    for name, trained in study.ladders.items():
        mixture = ", ".join(id if w is None else f"{id} ({w:g})" for id, w in study.mixture(name).items())
        how = f"trained on {mixture}" if mixture else "not trained"
        answer(f"recipe       {name}: {counted(len(trained), 'encoder')}, {how}")
    for line in repeated(study):
        answer(f"seeds        {line}")
    if study.encoders:
        answer(f"encoders     {len(study.encoders)} made elsewhere: {', '.join(study.encoders)}")
    for id, system in study.references.items():
        answer(f"reference    {id}: {words(system)}")
    answer(f"tasks        {len(study.tasks)}: {', '.join(study.tasks)}")
    for name, parts in study.units.items():
        if parts != [name]:
            missing = [part for part in parts if part not in study.tasks]
            no_score = f"no score, nor a mean over all tasks, without {', '.join(missing)}"
            answer(f"group        {name}: {no_score if missing else f'the mean of {len(parts)} tasks, counted as one'}")
    for name, parts in study.groups.items():
        answer(f"group        {name}: the mean of {', '.join(parts)}, beside the mean over all tasks")
    answer(f"mean         over {averaged_over(study)}: {', '.join(study.headline)}")
    if study.in_domain and study.headline != study.in_domain:
        answer(f"in-domain    {', '.join(study.in_domain)}: measured, and not in the mean")
    if study.contrasts:
        answer(f"contrasts    {', '.join(study.contrasts)}: measured, and not in the mean")
    if study.beside:
        answer(f"beside       {', '.join(study.beside)}: measured, and not in the mean")
    if not study.published:
        without = f"; not for {', '.join(sorted(study.retrieval_only))}" if study.retrieval_only else ""
        answer(f"in context   {len(study.icl)}: {', '.join(study.icl) or 'none'}{without}")
    for version in study.file.averages:
        left_out = incomplete_averages(study, version)
        answer(f"averages     {version}, without {left_out}" if left_out else f"averages     {version}")
    if encoders:
        jobs = counted(encoders * len(study.batches), "job")
        answer(f"evaluations  {encoders * len(study.tasks)} of {counted(encoders, 'encoder')} in {jobs}")
    if study.kept_encoders:
        points = len(study.kept_encoders) * len(study.curve_tasks)
        count = counted(len(study.kept_encoders), "kept encoder")
        answer(f"curves       {points} of {count}, in the jobs of the last ones")
    if study.encoders_at_lengths:
        points = study.encoders_at_lengths
        lengths = ", ".join(map(str, sorted({length for *_, length in points})))
        answer(
            f"lengths      {counted(len(points), 'evaluation')} at {lengths} tokens, in the jobs of the encoder's own"
        )
    for line in external(study):
        answer(f"external     {line}")
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


def repeated(study: Study) -> list[str]:
    """One line for each repeat with a further seed."""
    pretrained = [
        f"{repeat.of} is pretrained again with {repeat.seed}" for repeat in study.repeats.checkpoints.values()
    ]
    return pretrained + [
        f"{repeat.of} again with {repeat.seed}: {', '.join(study.trained[id])}"
        for id, repeat in study.repeats.recipes.items()
    ]


def orphans(study: Study) -> str:
    """What lies among its results and logs and is of none of its jobs, in a line; empty if nothing does."""
    try:
        listing = clean.orphans(clean.sharing(study))
    except UserError as error:
        return f"not looked for: {error}"
    if not listing.orphans:
        return ""
    amount = f"{counted(listing.files, 'file')}, {size(listing.bytes)}"
    return f"{amount} that no study names; to list them: retscale clean {study.path} --orphans"


def require_ways(study: Study, profile: str) -> None:
    """UserError names the sizes that are too large for the cluster or this machine, one line each."""
    file = sites.of_profile(profile)
    too_large = show.unfit(show.allotted(Costs(study, paths.folder(study.name)), sites.read(file)))
    if too_large:
        raise UserError(*(f"{file}: {line}" for line in too_large))


def check_cluster(profile: str) -> list[str]:
    """That the site file agrees with Slurm, or what this machine has; UserError names what is wrong."""
    file = sites.of_profile(profile)
    site = sites.read(file)
    if site.this_machine:
        return [f"none: this machine has {workstation.describe(site)}"]
    if wrong := cluster.problems(site, slurm.partitions(), str(file)):
        raise UserError(*wrong)
    return [f"{file} agrees with Slurm"]


def incomplete_averages(study: Study, version: str) -> str:
    """Categories and averages of a gauntlet that will be absent, and the tasks or categories for want of which."""
    scored = [id for id, task in study.icl.items() if task.scored]
    averages_made = averages(dict.fromkeys(scored, (0.0, 0.0)), catalog.gauntlet(version))
    return "; ".join(
        f"{average.name} (no {', '.join(average.missing)})" for average in averages_made if average.missing
    )


def external(study: Study) -> list[str]:
    """One line per published table, which is read and checked as its job will do."""
    configs = [Published(**config) for config in specs.external(study)["tables"]]
    contents, lines = read_all(source_files.external(study), configs), []
    for entry, (rows, skipped) in zip(study.file.external, contents, strict=True):
        models, tasks = ({getattr(row, name) for row in rows} for name in ("model", "task"))
        note = f", {counted(skipped, 'value')} on tasks that this study does not have" if skipped else ""
        lines.append(
            f"{entry.results or entry.table}: {counted(len(models), 'model')} on {len(tasks)} of its tasks{note}"
        )
    return lines


def published(study: Study) -> str:
    """What the results that the study consists of hold, read and checked as their job will do."""
    from retscale.collect.published import tables

    models, *paths = source_files.published(study)
    spec = Spec.model_validate(specs.collect(study))
    checkpoints, scores = tables(spec, spec.published, models, paths, paths[0].parent)
    fitted = checkpoints["role"].eq("fit").sum()
    values = f"{counted(len(scores), 'score')} on {counted(scores['task'].nunique(), 'task')}"
    return f"{counted(len(checkpoints), 'model')}, {fitted} of them in fits, {values}, in {study.published.scores}"


def revisions(study: Study) -> dict[tuple[str, str], list[str]]:
    """(kind, repository) of the hub -> its revisions that checkpoints and training data want.

    Those of mteb's tasks are mteb's own, which the stage `task` compares.
    """
    sources = [("model", checkpoint.source) for checkpoint in study.checkpoints.values()]
    sources += [("dataset", source) for pairs in study.pairs.values() for source in (pairs.source, pairs.collection)]
    by_repo: dict[tuple[str, str], list[str]] = {}
    for kind, source in sources:
        if source is not None and source.kind == "hub":
            by_repo.setdefault((kind, source.repo), []).append(source.revision)
    return by_repo


def check_revisions(by_repo: dict[tuple[str, str], list[str]]) -> str:
    """One line on whether all exist, each repository asked once; UserError names those that do not."""
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
