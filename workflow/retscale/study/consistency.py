"""What no single entry of a study can know: entries that contradict or need each other."""

import re

from retscale import paths
from retscale.collect.means import MEAN
from retscale.encoder.config import GIVEN, REFERENCE
from retscale.errors import UserError
from retscale.evaluate.metrics import INSTRUCTION
from retscale.external.config import PUBLISHED
from retscale.study import catalog, cuts, duplicates, figure_needs, kinds, lengths, names, validation
from retscale.study.study import Study

# What the rules for the evaluations of small tasks, and for those with kept encoders or further lengths, are called.
OTHER_BATCHES = r"small|pooled|.+_(after|at)(_\d+)+(_or_\d+)?"


def check(study: Study, file: str) -> None:
    """UserError says which entries do not fit together, and what to do."""
    for step in (
        _ids,
        _checkpoints,
        _controls,
        kinds.check,
        _training_data,
        _encoders,
        _metric,
        _paired,
        _external,
        _groups,
        _cuts,
        cuts.check,
        duplicates.check,
        _curves,
        lengths.check,
        _figures,
    ):
        step(study, file)


def _ids(study: Study, file: str) -> None:
    shared = study.tasks.keys() & study.icl.keys()
    if shared:
        raise UserError(
            f"{file}: {', '.join(sorted(shared))}: the same id for a retrieval and an in-context task; ids must differ"
        )
    if shared := study.tasks.keys() & {task.group for task in study.tasks.values()}:
        raise UserError(f"{file}: {', '.join(sorted(shared))}: the name of a task and of a group of tasks; rename one")
    for section in ("tasks", "icl"):
        for id in getattr(study, section):
            if id.endswith(".record"):
                raise UserError(
                    f"{file}: {section}: the id {id!r} ends in .record, as the provenance record of {id[:-7]!r} does; rename it"
                )
    for id, task in study.tasks.items():
        if task.alone and re.fullmatch(OTHER_BATCHES, batch := task.corpus or id):
            raise UserError(
                f"{file}: tasks: {id!r} is evaluated alone, by a job named {batch!r}, which is the name of another job; "
                f"rename {'its `corpus`' if task.corpus else 'it'}"
            )


def _checkpoints(study: Study, file: str) -> None:
    for id, checkpoint in study.checkpoints.items():
        if checkpoint.unsupported:
            raise UserError(f"{file}: the checkpoint {id!r} cannot be loaded: {checkpoint.unsupported}; remove it")
        if checkpoint.source.kind == "pretrain" and study.text is None:
            raise UserError(f"{file}: the checkpoint {id!r} is pretrained here, so the study needs a `text`")
        for name in getattr(checkpoint.source, "sources", None) or []:
            if study.text and name not in (sources := [source.name for source in study.text.sources]):
                where = f"checkpoints ({id}).source.sources"
                raise validation.unknown(file, where, "source of the text", name, sources)
        limit = study.text and study.text.max_tokens
        if checkpoint.source.kind == "pretrain" and limit and checkpoint.source.tokens > limit:
            raise UserError(
                f"{file}: checkpoints ({id}): source.tokens: {checkpoint.source.tokens:,} are more than the text has: "
                f"text.max_tokens is {limit:,}; raise it or lower the checkpoint's"
            )


def _controls(study: Study, file: str) -> None:
    """Random weights, and recipes that train nothing."""
    used = {id for trained in study.trained.values() for id in trained}
    for id, checkpoint in study.checkpoints.items():
        if checkpoint.source.kind != "random":
            continue
        like = checkpoint.source.like
        if like not in study.checkpoints or study.checkpoints[like].source.kind == "random":
            others = [name for name, other in study.checkpoints.items() if other.source.kind != "random"]
            raise validation.unknown(file, f"checkpoints ({id}): source.like", "checkpoint to be like", like, others)
        if id not in used:
            raise UserError(
                f"{file}: checkpoints: {id} has random weights, and no recipe names it under its `checkpoints`; name it "
                "there, or remove it"
            )
    if study.untuned and study.untuned[0] == next(iter(study.recipes)):
        raise UserError(
            f"{file}: recipes: {study.untuned[0]!r} trains nothing, so it cannot be the first, which fits and figures "
            "show; put one that trains before it"
        )


def _training_data(study: Study, file: str) -> None:
    for id, recipe in study.recipes.items():
        for name in recipe.weights or {}:
            if name not in study.pairs:
                raise validation.unknown(file, f"recipes.{id}.weights", "training data set", name, study.pairs)
        for name in recipe.instructions if recipe.trains else ():
            where = f"recipes.{id}.instructions"
            if name not in study.pairs:
                raise validation.unknown(file, where, "training data set", name, study.pairs)
            if name not in study.mixture(id):
                raise UserError(
                    f"{file}: {where}: the recipe does not train on {name}, which its `weights` leave out; remove the "
                    "instruction, or give the data set a weight"
                )
    known = names.known(study)
    for id, pairs in study.pairs.items():
        for i, name in enumerate(pairs.tasks):
            if name not in known:
                raise validation.unknown(file, f"pairs ({id}).tasks.{i}", "task", name, known, catalog.listing("task"))
    for id, pairs in study.pairs.items():
        if study.file.mine.method == "given" and not pairs.source.negatives:
            raise UserError(
                f"{file}: mine.method is `given`, but the data set {id!r} gives no negatives: name the field that holds "
                "them as `negatives` of its source, or choose another method"
            )
    for id, recipe in study.recipes.items():
        if recipe.trains and recipe.n_negatives > study.file.mine.negatives:
            raise UserError(
                f"{file}: the recipe {id!r} needs {recipe.n_negatives} negatives per query, but `mine.negatives` is "
                f"{study.file.mine.negatives}; raise it or lower the recipe's"
            )


def _encoders(study: Study, file: str) -> None:
    """Encoders made elsewhere, to be scored or to mine with."""
    for name, encoder_json in study.file.mine.encoders().items():
        if encoder_json.is_relative_to(paths.folder(study.name)):
            raise UserError(
                f"{file}: mine.{name} is {encoder_json.parent}, which this study trains itself, on what it mines; train it in another "
                "study and mine with it here"
            )
    for id, encoder in study.encoders.items():
        if not encoder.wheel and encoder.source.folder().is_relative_to(paths.folder(study.name)):
            raise UserError(f"{file}: encoders.{id}: this study trains {encoder.path} itself; remove it")
    if PUBLISHED in study.recipes:
        raise UserError(f"{file}: recipes: {PUBLISHED!r} stands for published results; give the recipe another id")
    if study.encoders and GIVEN in study.recipes:
        raise UserError(f"{file}: recipes: {GIVEN!r} stands for encoders made elsewhere; give the recipe another id")
    if study.references and REFERENCE in study.recipes:
        raise UserError(
            f"{file}: recipes: {REFERENCE!r} stands for systems without a model; give the recipe another id"
        )


def _metric(study: Study, file: str) -> None:
    metric, computed = study.file.fit.metric, study.file.evaluate.names
    if study.published:  # their table says which it has
        return
    if metric not in computed and metric not in INSTRUCTION:
        raise UserError(
            f"{file}: fit.metric is {metric}, which no evaluation computes; add it to `evaluate: {{metrics: "
            f"[{metric}]}}`, or choose one of {', '.join(computed)}"
        )


def _paired(study: Study, file: str) -> None:
    families = {checkpoint.family for checkpoint in study.checkpoints.values()}
    for i, family in enumerate(study.file.fit.paired or ()):
        if family not in families and not study.published:  # its table of models says
            raise validation.unknown(file, f"fit.paired.{i}", "family of this study", family, sorted(families))
    if study.file.fit.paired and len(set(study.file.fit.paired)) == 1:
        raise UserError(f"{file}: fit.paired: names one family twice; name two")


def _external(study: Study, file: str) -> None:
    """Published tables."""
    metric, published = study.file.fit.metric, names.published(study)
    for name, task in study.published.tasks.items() if study.published else ():
        if task not in published:
            raise validation.unknown(file, f"published.tasks.{name}", "task", task, published, catalog.listing("task"))
    for name in study.published.trained_on if study.published else ():
        if name not in published:
            raise validation.unknown(file, "published.trained_on", "task", name, published, catalog.listing("task"))
    for number, entry in enumerate(study.file.external):
        where = f"external.{number}"
        if entry.metric != metric:
            raise UserError(f"{file}: {where}.metric is {entry.metric}, but fit.metric is {metric}")
        for key in ("task", "split") if entry.results else ():
            if key in entry.columns.model_fields_set:
                raise UserError(f"{file}: {where}.columns.{key}: files of mteb state it themselves; remove the key")
        for name, task in entry.tasks.items():
            if task not in published:
                raise validation.unknown(
                    file, f"{where}.tasks.{name}", "task", task, published, catalog.listing("task")
                )


def _curves(study: Study, file: str) -> None:
    for i, name in enumerate(map(catalog.task_name, study.file.curve_tasks or [])):
        if name not in study.units:
            raise validation.unknown(file, f"curve_tasks.{i}", "task or group of this study", name, study.units)
        if missing := [task for task in study.units[name] if task not in study.tasks]:
            raise UserError(f"{file}: curve_tasks.{i}: {name} has no score without {', '.join(missing)}")
    if study.kept_encoders and not study.curve_tasks:
        raise UserError(f"{file}: curve_tasks: no group of tasks is complete, so the kept encoders would have no score")


def _figures(study: Study, file: str) -> None:
    for name in study.file.figures if "figures" in study.file.model_fields_set else ():
        if reason := figure_needs.missing_for(study, name):
            raise UserError(f"{file}: figures.{name} would be empty: {reason}; remove it")


def _groups(study: Study, file: str) -> None:
    """The mean and the study's own groups are of what it has, and their names are their own."""
    known = {*study.tasks, *study.units}
    for name in study.named(study.file.mean or []):
        if name not in study.units:
            raise validation.unknown(file, "mean", "task or group of this study", name, study.units)
    for name, members in study.groups.items():
        if name in known:
            raise UserError(f"{file}: groups.{name}: also the name of a task or a group of the catalog; choose another")
        for i, member in enumerate(members):
            if member not in known:
                raise validation.unknown(file, f"groups.{name}.{i}", "task or group of this study", member, known)
            if member in members[:i]:
                raise UserError(f"{file}: groups.{name}.{i}: {member} is named twice; name each once")
    if MEAN in {*study.tasks, *study.icl, *study.units, *study.groups}:
        raise UserError(f"{file}: `{MEAN}` is the name of the mean over all tasks; give the task or group another")


def _cuts(study: Study, file: str) -> None:
    """No mean counts a task twice: whole and cut, or cut in two ways."""
    parts = study.headline | {task: [task] for task in study.tasks}
    means = {"tasks": list(study.headline)} | {f"groups.{name}": members for name, members in study.groups.items()}
    for where, members in means.items():
        versions: dict[str, str] = {}
        for task in (task for member in members for task in parts.get(member, []) if task in study.tasks):
            whole = study.tasks[task].cut_of or study.instructed.get(task, task)
            if whole in versions:
                raise UserError(
                    f"{file}: {where}: {versions[whole]} and {task} are versions of one task, {whole}, which the mean would "
                    "count twice; keep one of them"
                )
            versions[whole] = task
