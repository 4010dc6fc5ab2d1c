"""A study file, read and completed: every name looked up, every value checked, before any job starts."""

import re
from pathlib import Path

from retscale.collect.repeats import Repeats
from retscale.errors import UserError
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
    file, raw = str(written_file.path), written_file.keys
    if "published" in raw:
        file_of_results = validation.validate(written.PublishedStudy, raw, file)
        data, published = file_of_results.as_study(), file_of_results.published
    else:
        data, published = validation.validate(written.Study, raw, file), None
    beside_checkpoints, beside_recipes = {}, {}
    all_checkpoints = _entries("checkpoint", data.checkpoints, "checkpoints", file, beside_checkpoints)
    checkpoints = {id: all_checkpoints[id] for id in _chosen(data.only, all_checkpoints, "only", file)}
    tasks, contrasts, task_entries = _tasks(data, file)
    origins = {
        id: name
        for id, entry in zip(tasks, task_entries, strict=True)
        if (name := catalog.name_in_catalog("task", entry))
    }
    recipes = _entries("recipe", data.recipes, "recipes", file, beside_recipes)
    parts = {}
    for name in recipes:
        chosen = beside_recipes.get(name, {}).get("checkpoints")
        part = _chosen(chosen, all_checkpoints, f"recipes.{name}.checkpoints", file)
        parts[name] = [id for id in part if chosen or all_checkpoints[id].source.kind != "random"]
    repeated_recipes, repeated_parts = seeds.recipes(recipes, beside_recipes, parts, data.seed, file)
    repeated_checkpoints = seeds.checkpoints(all_checkpoints, beside_checkpoints, data.seed, file)
    repeated_checkpoints = {id: repeat for id, repeat in repeated_checkpoints.items() if repeat.of in checkpoints}
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
        retrieval_only=_retrieval_only(beside_checkpoints, file),
        held_out=dict(_held_out(entry, tasks | icl, file) for entry in catalog.expand(data.held_out, "task")),
        encoders=_entries("encoder", data.encoders, "encoders", file),
        references=_entries("reference", data.references, "references", file),
        published=published,
        contrasts=contrasts,
        wholes=cuts.wholes(tasks, file),
    )
    if shared := complete.encoders.keys() & (all_checkpoints.keys() | checkpoints.keys()):
        raise UserError(f"{file}: encoders: {', '.join(sorted(shared))}: also the id of a checkpoint; ids must differ")
    if shared := complete.references.keys() & (all_checkpoints.keys() | complete.encoders.keys()):
        raise UserError(
            f"{file}: references: {', '.join(sorted(shared))}: also the id of a checkpoint or an encoder; ids must differ"
        )
    for version in data.averages:
        if version not in catalog.gauntlets():
            raise validation.unknown(file, "averages", "gauntlet", version, catalog.gauntlets())
    if not published and not any(complete.trained.values()):
        raise UserError(f"{file}: only: none of the recipes is for any of these checkpoints")
    consistency.check(complete, file)
    if lines := unused_keys.idle(complete, written_file.own):
        raise UserError(*(f"{file}: {line}" for line in lines))
    return complete


def _entries(kind: str, entries: list, where: str, file: str, beside: dict[str, dict] | None = None) -> dict:
    """Every entry of a list, by id. `beside` receives what an entry says beside its configuration (written.BESIDE)."""
    configs = {}
    for i, entry in enumerate(entries):
        apart = {}
        if beside is not None and isinstance(entry, dict):
            apart = {key: entry[key] for key in written.BESIDE[kind] if key in entry}
            entry = {key: value for key, value in entry.items() if key not in apart}
        id, config = _entry(kind, entry, f"{where}.{i}", file)
        if id in configs:
            raise UserError(f"{file}: {where}.{i}: the id {id!r} is given twice; ids must differ")
        configs[id] = config
        if apart:
            beside[id] = apart
    return configs


def _retrieval_only(beside: dict[str, dict], file: str) -> set[str]:
    """The checkpoints with `icl: false`, by what each entry says beside its configuration."""
    for id, apart in beside.items():
        if not isinstance(apart.get("icl", True), bool):
            raise UserError(f"{file}: checkpoints ({id}).icl: must be true or false (found {apart['icl']!r})")
    return {id for id, apart in beside.items() if not apart.get("icl", True)}


def _tasks(data: written.Study, file: str) -> tuple[dict, dict, list]:
    """All retrieval tasks by id, those of them that are contrasts, and the entry of each."""
    lists = {where: catalog.expand(getattr(data, where), "task") for where in ("tasks", "contrasts")}
    entries = [entry for listed in lists.values() for entry in listed]
    tasks, contrasts = (
        _entries("task", cuts.completed(listed, entries, file, where), where, file) for where, listed in lists.items()
    )
    if shared := tasks.keys() & contrasts.keys():
        raise UserError(f"{file}: contrasts: {', '.join(sorted(shared))}: also in `tasks`; keep one of them")
    return tasks | contrasts, contrasts, entries


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
