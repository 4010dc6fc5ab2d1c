"""A study file, read and completed: every name looked up, every value checked, before any job starts."""

import re
from pathlib import Path

from retscale.collect.repeats import Repeats
from retscale.errors import UserError
from retscale.external.config import PublishedResults
from retscale.icl.config import IclTask
from retscale.study import base, catalog, consistency, cuts, seeds, unused_keys, validation
from retscale.study import model as written
from retscale.study.study import Study
from retscale.task.config import RetrievalTask


def study(path: Path) -> Study:
    """The study in the file `path`; raises UserError that says what is wrong, where, and what was meant."""
    file = base.read(path)
    try:
        return _complete(file)
    except UserError as error:
        raise file.at_its_place(error) from None


def _complete(written_file: base.Written) -> Study:
    file = str(written_file.path)
    data, published = _validated(written_file.keys, file)
    checkpoint_keys, recipe_keys = {}, {}
    all_checkpoints = _entries("checkpoint", data.checkpoints, "checkpoints", file, checkpoint_keys)
    checkpoints = {id: all_checkpoints[id] for id in _chosen(data.only, all_checkpoints, "only", file)}
    tasks, contrasts, origins = _tasks(data, file)
    recipes = _entries("recipe", data.recipes, "recipes", file, recipe_keys)
    parts = _parts(recipes, recipe_keys, all_checkpoints, file)
    repeated_recipes, repeated_parts = seeds.recipes(recipes, recipe_keys, parts, data.seed, file)
    every_repeat = seeds.checkpoints(all_checkpoints, checkpoint_keys, data.seed, file)
    repeated_checkpoints = {id: repeat for id, repeat in every_repeat.items() if repeat.of in checkpoints}
    trained = {
        name: [id for id in part if id in checkpoints]
        # A repeated pretraining is fine-tuned as the first one is, with the study's own seed.
        + [id for id, repeat in repeated_checkpoints.items() if name in recipes and repeat.of in part]
        for name, part in (parts | repeated_parts).items()
    }
    checkpoints |= {id: checkpoints[repeat.of] for id, repeat in repeated_checkpoints.items()}
    recipes |= {id: recipes[repeat.of] for id, repeat in repeated_recipes.items()}
    icl = _entries("icl", catalog.expand(data.icl, "icl"), "icl", file)
    complete = Study(
        file=data,
        written=written_file,
        text=_single("text", data.text, "text", file) if data.text else None,
        checkpoints=checkpoints,
        pairs=_entries("pairs", data.pairs, "pairs", file),
        recipes=recipes,
        trained=trained,
        repeats=Repeats(recipes=repeated_recipes, checkpoints=repeated_checkpoints),
        tasks=tasks,
        origins=origins | cuts.origins(tasks, origins),
        icl=icl,
        retrieval_only=_retrieval_only(checkpoint_keys, file),
        held_out=dict(_held_out(entry, tasks | icl, file) for entry in catalog.expand(data.held_out, "task")),
        encoders=_entries("encoder", data.encoders, "encoders", file),
        references=_entries("reference", data.references, "references", file),
        published=published,
        contrasts=contrasts,
        wholes=cuts.wholes(tasks, file),
    )
    _check_ids(complete, all_checkpoints, file)
    for version in data.averages:
        if version not in catalog.gauntlets():
            raise validation.unknown(file, "averages", "gauntlet", version, catalog.gauntlets())
    if not published and not any(complete.trained.values()):
        raise UserError(f"{file}: only: none of the recipes is for any of these checkpoints")
    consistency.check(complete, file)
    if lines := unused_keys.idle(complete, written_file.own):
        raise UserError(*(f"{file}: {line}" for line in lines))
    return complete


def _validated(raw: dict, file: str) -> tuple[written.Study, PublishedResults | None]:
    """The keys of the file; those of a study of published results in the form of a study that trains nothing."""
    if "published" not in raw:
        return validation.validate(written.Study, raw, file), None
    data = validation.validate(written.PublishedStudy, raw, file)
    return data.as_study(), data.published


def _parts(recipes: dict, recipe_keys: dict[str, dict], checkpoints: dict, file: str) -> dict[str, list[str]]:
    """The checkpoints of each recipe: those that it names, or all but the controls with random weights."""
    parts = {}
    for name in recipes:
        chosen = recipe_keys.get(name, {}).get("checkpoints")
        part = _chosen(chosen, checkpoints, f"recipes.{name}.checkpoints", file)
        parts[name] = [id for id in part if chosen or checkpoints[id].source.kind != "random"]
    return parts


def _check_ids(study: Study, all_checkpoints: dict, file: str) -> None:
    """UserError for an id that two kinds of system share; results of both would lie in one place."""
    if shared := study.encoders.keys() & (all_checkpoints.keys() | study.checkpoints.keys()):
        raise UserError(f"{file}: encoders: {', '.join(sorted(shared))}: also the id of a checkpoint; ids must differ")
    if shared := study.references.keys() & (all_checkpoints.keys() | study.encoders.keys()):
        raise UserError(
            f"{file}: references: {', '.join(sorted(shared))}: also the id of a checkpoint or an encoder; ids must differ"
        )


def _entries(kind: str, entries: list, where: str, file: str, study_keys: dict[str, dict] | None = None) -> dict:
    """The configuration of every entry of a list, by id. `study_keys` receives the values of written.STUDY_KEYS, by id."""
    configs = {}
    for i, entry in enumerate(entries):
        apart = {}
        if study_keys is not None and isinstance(entry, dict):
            apart = {key: entry[key] for key in written.STUDY_KEYS[kind] if key in entry}
            entry = {key: value for key, value in entry.items() if key not in apart}
        id, config = _entry(kind, entry, f"{where}.{i}", file)
        if id in configs:
            raise UserError(f"{file}: {where}.{i}: the id {id!r} is given twice; ids must differ")
        configs[id] = config
        if apart:
            study_keys[id] = apart
    return configs


def _retrieval_only(checkpoint_keys: dict[str, dict], file: str) -> set[str]:
    """The checkpoints with `icl: false`."""
    for id, keys in checkpoint_keys.items():
        if not isinstance(keys.get("icl", True), bool):
            raise UserError(f"{file}: checkpoints ({id}).icl: must be true or false (found {keys['icl']!r})")
    return {id for id, keys in checkpoint_keys.items() if not keys.get("icl", True)}


def _tasks(data: written.Study, file: str) -> tuple[dict, dict, dict[str, str]]:
    """All retrieval tasks by id, the contrasts among them, and the name in the catalog of each that is made from one."""
    lists = {where: catalog.expand(getattr(data, where), "task") for where in ("tasks", "contrasts")}
    entries = [entry for listed in lists.values() for entry in listed]
    tasks, contrasts = (
        _entries("task", cuts.completed(listed, entries, file, where), where, file) for where, listed in lists.items()
    )
    if shared := tasks.keys() & contrasts.keys():
        raise UserError(f"{file}: contrasts: {', '.join(sorted(shared))}: also in `tasks`; keep one of them")
    every = tasks | contrasts
    names = {id: catalog.name_in_catalog("task", entry) for id, entry in zip(every, entries, strict=True)}
    return every, contrasts, {id: name for id, name in names.items() if name}


def _single(kind: str, entry: object, where: str, file: str):
    entry = {"id": where} | entry if isinstance(entry, dict) else entry
    return _entry(kind, entry, where, file)[1]


def _entry(kind: str, entry: object, where: str, file: str):
    id, data = catalog.resolve(kind, entry, file, where)
    if not re.fullmatch(written.ID, id) or len(id) > 80:
        raise UserError(
            f"{file}: {where}: the id {id!r} is not safe as a file name; allowed: lower-case letters, digits, . _ - (at most 80)"
        )
    return id, validation.validate(catalog.model(kind), data, file, f"{where} ({id})")


def _chosen(ids: object, checkpoints: dict, where: str, file: str) -> list[str]:
    if ids is None:
        return list(checkpoints)
    if not isinstance(ids, list) or not ids:
        raise UserError(f"{file}: {where}: must be a list of checkpoint ids")
    for id in ids:
        if id not in checkpoints:
            raise validation.unknown(file, where, "checkpoint", id, checkpoints)
    return [id for id in checkpoints if id in ids]


def _held_out(entry: str | dict, own: dict, file: str) -> tuple[str, RetrievalTask | IclTask]:
    """A test with its id: one of the study's `own` tasks, or of the catalog."""
    name, id = (entry, entry) if isinstance(entry, str) else (entry["use"], entry["id"])
    kind = next(
        (kind for kind in ("task", "icl") if catalog.name_in_catalog(kind, name) in catalog.entries(kind)), None
    )
    if id in own:
        test = own[id]
    elif kind:
        id, test = _entry(kind, entry, "held_out", file)
    else:
        known = {**catalog.entries("task"), **catalog.entries("icl"), **catalog.suites(), **own}
        raise validation.unknown(file, "held_out", "task or suite", name, known, "config/catalog")
    if not test.texts_from and not test.text_fields():
        raise UserError(f"{file}: held_out: {name} has no text that training could have seen; remove it from the list")
    return id, test
