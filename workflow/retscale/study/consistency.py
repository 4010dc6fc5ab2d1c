"""What no single entry of a study can know: entries that contradict or need each other."""

import re

from retscale import paths
from retscale.collect.means import MEAN
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.evaluate.metrics import INSTRUCTION
from retscale.study import catalog, duplicates, explain, figures, names
from retscale.study.study import Study

# What the evaluations of the small tasks, and those of kept encoders and their logs, are called.
OTHER_BATCHES = r"small|kept|step-\d+"


def check(found: Study, file: str) -> None:
    """UserError says which entries do not fit together, and what to do."""
    for part in (
        _ids,
        _checkpoints,
        _training_data,
        _encoders,
        _metric,
        _external,
        _groups,
        duplicates.check,
        _curves,
        _figures,
    ):
        part(found, file)


def _ids(found: Study, file: str) -> None:
    both = found.tasks.keys() & found.icl.keys()
    if both:
        raise UserError(
            f"{file}: {', '.join(sorted(both))}: the same id for a retrieval and an in-context task; ids must differ"
        )
    if both := found.tasks.keys() & {task.group for task in found.tasks.values()}:
        raise UserError(f"{file}: {', '.join(sorted(both))}: the name of a task and of a group of tasks; rename one")
    for where in ("tasks", "icl"):
        for id in getattr(found, where):
            if id.endswith(".record"):
                raise UserError(
                    f"{file}: {where}: the id {id!r} ends as the provenance record of {id[:-7]!r} does; rename it"
                )
    for id, task in found.tasks.items():
        if task.alone and re.fullmatch(OTHER_BATCHES, batch := task.corpus or id):
            raise UserError(
                f"{file}: tasks: {id!r} is evaluated alone, by a job named {batch!r}, which is the name of another job; "
                f"rename {'its `corpus`' if task.corpus else 'it'}"
            )


def _checkpoints(found: Study, file: str) -> None:
    for id, checkpoint in found.checkpoints.items():
        if checkpoint.unsupported:
            raise UserError(f"{file}: the checkpoint {id!r} cannot be loaded: {checkpoint.unsupported}; remove it")
        if checkpoint.source.kind == "pretrain" and found.text is None:
            raise UserError(f"{file}: the checkpoint {id!r} is pretrained here, so the study needs a `text`")
        limit = found.text and found.text.max_tokens
        if checkpoint.source.kind == "pretrain" and limit and checkpoint.source.tokens > limit:
            raise UserError(
                f"{file}: checkpoints ({id}): source.tokens: {checkpoint.source.tokens:,} are more than the text has: "
                f"text.max_tokens is {limit:,}; raise it or lower the checkpoint's"
            )


def _training_data(found: Study, file: str) -> None:
    for id, recipe in found.recipes.items():
        for name in recipe.weights or {}:
            if name not in found.pairs:
                raise explain.unknown(file, f"recipes.{id}.weights", "pairs", name, found.pairs)
    known = names.known(found)
    for id, pairs in found.pairs.items():
        for i, name in enumerate(pairs.tasks):
            if name not in known:
                raise explain.unknown(file, f"pairs ({id}).tasks.{i}", "task", name, known, catalog.listing("task"))
    for id, pairs in found.pairs.items():
        if found.file.mine.method == "given" and not pairs.source.negatives:
            raise UserError(
                f"{file}: mine.method is `given`, but the data set {id!r} gives no negatives: name the field that holds "
                "them as `negatives` of its source, or choose another method"
            )
    for id, recipe in found.recipes.items():
        if recipe.n_negatives > found.file.mine.negatives:
            raise UserError(
                f"{file}: the recipe {id!r} needs {recipe.n_negatives} negatives per query, but `mine.negatives` is "
                f"{found.file.mine.negatives}; raise it or lower the recipe's"
            )


def _encoders(found: Study, file: str) -> None:
    """Encoders made elsewhere, to be scored or to mine with."""
    for name, facts in found.file.mine.encoders().items():
        if facts.is_relative_to(paths.folder(found.name)):
            raise UserError(
                f"{file}: mine.{name} is {facts.parent}, which this study trains itself, on what it mines; train it in another "
                "study and mine with it here"
            )
    for id, encoder in found.encoders.items():
        if encoder.source.folder().is_relative_to(paths.folder(found.name)):
            raise UserError(f"{file}: encoders.{id}: this study trains {encoder.path} itself; remove it")
    if found.encoders and GIVEN in found.recipes:
        raise UserError(f"{file}: recipes: {GIVEN!r} stands for encoders made elsewhere; give the recipe another id")


def _metric(found: Study, file: str) -> None:
    metric, computed = found.file.fit.metric, found.file.evaluate.names
    if metric not in computed and metric not in INSTRUCTION:
        raise UserError(
            f"{file}: fit.metric is {metric}, which no evaluation computes; add it to `evaluate: {{metrics: "
            f"[{metric}]}}`, or choose one of {', '.join(computed)}"
        )


def _external(found: Study, file: str) -> None:
    """Published tables."""
    metric, published = found.file.fit.metric, names.published(found)
    for number, entry in enumerate(found.file.external):
        where = f"external.{number}"
        if entry.metric != metric:
            raise UserError(f"{file}: {where}.metric is {entry.metric}, but fit.metric is {metric}")
        for name, task in entry.tasks.items():
            if task not in published:
                raise explain.unknown(file, f"{where}.tasks.{name}", "task", task, published, catalog.listing("task"))


def _curves(found: Study, file: str) -> None:
    for i, name in enumerate(map(catalog.task_name, found.file.curve_tasks or [])):
        if name not in found.units:
            raise explain.unknown(file, f"curve_tasks.{i}", "task or group of this study", name, found.units)
        if lacking := [task for task in found.units[name] if task not in found.tasks]:
            raise UserError(f"{file}: curve_tasks.{i}: {name} has no score without {', '.join(lacking)}")
    if found.kept and not found.curve_tasks:
        raise UserError(f"{file}: curve_tasks: no group of tasks is complete, so the kept encoders would have no score")


def _figures(found: Study, file: str) -> None:
    for name in found.file.figures if "figures" in found.file.model_fields_set else ():
        if reason := figures.lacks(found, name):
            raise UserError(f"{file}: figures.{name} would be empty: {reason}; remove it")


def _groups(found: Study, file: str) -> None:
    """The study's own groups are of what it has, and their names are their own."""
    for name, parts in found.groups.items():
        known = {*found.tasks, *found.units}
        if name in known:
            raise UserError(f"{file}: groups.{name}: also the name of a task or a group of the catalog; choose another")
        for i, part in enumerate(parts):
            if part not in known:
                raise explain.unknown(file, f"groups.{name}.{i}", "task or group of this study", part, known)
            if part in parts[:i]:
                raise UserError(f"{file}: groups.{name}.{i}: {part} is named twice; name each once")
    if MEAN in {*found.tasks, *found.icl, *found.units, *found.groups}:
        raise UserError(f"{file}: `{MEAN}` is the name of the mean over all tasks; give the task or group another")
