"""What a study consists of and would run, one line for each part, as `retscale check` prints it."""

from collections.abc import Iterator

from retscale.collect.config import Spec
from retscale.collect.means import averaged_over
from retscale.common.phrase import counted
from retscale.external.config import Published
from retscale.external.read import read_all
from retscale.icl.average import averages
from retscale.reference.config import words
from retscale.study import catalog, source_files, specs
from retscale.study.study import Study


def lines(study: Study) -> Iterator[str]:
    """A label and its text on each line. Published results are read on the way; UserError if they are invalid."""
    yield from _models(study)
    yield from _tasks(study)
    yield from _evaluations(study)
    for line in external(study):
        yield f"external     {line}"


def _models(study: Study) -> Iterator[str]:
    """The base file, and the systems to compare."""
    if study.written.base:
        yield f"base         {study.written.base}: {', '.join(study.written.inherited)}"
    if study.published:
        yield f"published    {published(study)}"
    else:
        yield f"checkpoints  {len(study.distinct_checkpoints)}: {', '.join(study.distinct_checkpoints)}"
        yield f"pairs        {len(study.pairs)}: {', '.join(study.pairs)}"
    for name, trained in study.ladders.items():
        mixture = ", ".join(id if w is None else f"{id} ({w:g})" for id, w in study.mixture(name).items())
        how = f"trained on {mixture}" if mixture else "not trained"
        yield f"recipe       {name}: {counted(len(trained), 'encoder')}, {how}"
    for line in repeated(study):
        yield f"seeds        {line}"
    if study.encoders:
        yield f"encoders     {len(study.encoders)} made elsewhere: {', '.join(study.encoders)}"
    for id, system in study.references.items():
        yield f"reference    {id}: {words(system)}"


def _tasks(study: Study) -> Iterator[str]:
    """The retrieval tasks, which of them are in which mean, and the in-context tasks."""
    yield f"tasks        {len(study.tasks)}: {', '.join(study.tasks)}"
    for name, parts in study.units.items():
        if parts != [name]:
            missing = [part for part in parts if part not in study.tasks]
            no_score = f"no score, nor a mean over all tasks, without {', '.join(missing)}"
            yield f"group        {name}: {no_score if missing else f'the mean of {len(parts)} tasks, counted as one'}"
    for name, parts in study.groups.items():
        yield f"group        {name}: the mean of {', '.join(parts)}, beside the mean over all tasks"
    yield f"mean         over {averaged_over(study)}: {', '.join(study.headline)}"
    if study.in_domain and study.headline != study.in_domain:
        yield f"in-domain    {', '.join(study.in_domain)}: measured, and not in the mean"
    if study.contrasts:
        yield f"contrasts    {', '.join(study.contrasts)}: measured, and not in the mean"
    if study.beside:
        yield f"beside       {', '.join(study.beside)}: measured, and not in the mean"
    if not study.published:
        without = f"; not for {', '.join(sorted(study.retrieval_only))}" if study.retrieval_only else ""
        yield f"in context   {len(study.icl)}: {', '.join(study.icl) or 'none'}{without}"
    for version in study.file.averages:
        left_out = incomplete_averages(study, version)
        yield f"averages     {version}, without {left_out}" if left_out else f"averages     {version}"


def _evaluations(study: Study) -> Iterator[str]:
    """How many evaluations there are, and in how many jobs."""
    if encoders := len(study.evaluated_encoders):
        jobs = counted(encoders * len(study.batches), "job")
        yield f"evaluations  {encoders * len(study.tasks)} of {counted(encoders, 'encoder')} in {jobs}"
    if study.kept_encoders:
        points = len(study.kept_encoders) * len(study.curve_tasks)
        count = counted(len(study.kept_encoders), "kept encoder")
        yield f"curves       {points} of {count}, in the jobs of the last ones"
    if points := study.encoders_at_lengths:
        lengths = ", ".join(map(str, sorted({length for *_, length in points})))
        yield f"lengths      {counted(len(points), 'evaluation')} at {lengths} tokens, in the jobs of the encoder's own"


def repeated(study: Study) -> list[str]:
    """One line for each repeat with a further seed."""
    pretrained = [
        f"{repeat.of} is pretrained again with {repeat.seed}" for repeat in study.repeats.checkpoints.values()
    ]
    return pretrained + [
        f"{repeat.of} again with {repeat.seed}: {', '.join(study.trained[id])}"
        for id, repeat in study.repeats.recipes.items()
    ]


def incomplete_averages(study: Study, version: str) -> str:
    """The categories and averages of a gauntlet that will be absent, each with the tasks or categories that it lacks."""
    scored = [id for id, task in study.icl.items() if task.scored]
    averages_made = averages(dict.fromkeys(scored, (0.0, 0.0)), catalog.gauntlet(version))
    return "; ".join(
        f"{average.name} (no {', '.join(average.missing)})" for average in averages_made if average.missing
    )


def external(study: Study) -> list[str]:
    """One line per published table, which is read and checked as its job will do."""
    configs = [Published(**config) for config in specs.external(study)["tables"]]
    contents, summaries = read_all(source_files.external(study), configs), []
    for entry, (rows, skipped) in zip(study.file.external, contents, strict=True):
        models, tasks = ({getattr(row, name) for row in rows} for name in ("model", "task"))
        note = f", {counted(skipped, 'value')} on tasks that this study does not have" if skipped else ""
        summaries.append(
            f"{entry.results or entry.table}: {counted(len(models), 'model')} on {len(tasks)} of its tasks{note}"
        )
    return summaries


def published(study: Study) -> str:
    """One line on the results of a study of published results, read and checked as their job will do."""
    from retscale.collect.published import tables

    models, *paths = source_files.published(study)
    spec = Spec.model_validate(specs.collect(study))
    checkpoints, scores = tables(spec, spec.published, models, paths, paths[0].parent)
    fitted = checkpoints["role"].eq("fit").sum()
    values = f"{counted(len(scores), 'score')} on {counted(scores['task'].nunique(), 'task')}"
    return f"{counted(len(checkpoints), 'model')}, {fitted} of them in fits, {values}, in {study.published.scores}"
