"""A study file, read and completed: every name looked up, every value checked, before any job starts."""

import re
from pathlib import Path

from retscale.errors import UserError
from retscale.icl.config import IclTask
from retscale.study import catalog, consistency, explain, idle, yaml
from retscale.study import model as written
from retscale.study.study import Study
from retscale.task.config import RetrievalTask


def study(path: Path) -> Study:
    """The study in the file `path`; raises UserError that says what is wrong, where, and what was meant."""
    file = str(path)
    given = yaml.read(path)
    data = explain.validate(written.Study, given, file)
    every = _all("checkpoint", data.checkpoints, "checkpoints", file)
    checkpoints = {id: every[id] for id in _part(data.only, every, "only", file)}
    limits = {}
    named_tasks = catalog.expand(data.tasks, "task")
    tasks = _all("task", named_tasks, "tasks", file)
    recipes = _all("recipe", data.recipes, "recipes", file, limits)
    icl = _all("icl", catalog.expand(data.icl, "icl"), "icl", file)
    found = Study(
        file=data,
        path=path,
        text=_one("text", data.text, "text", file) if data.text else None,
        checkpoints=checkpoints,
        pairs=_all("pairs", data.pairs, "pairs", file),
        recipes=recipes,
        trained={
            name: [
                id for id in _part(limits.get(name), every, f"recipes.{name}.checkpoints", file) if id in checkpoints
            ]
            for name in recipes
        },
        tasks=tasks,
        origins={
            id: name for id, entry in zip(tasks, named_tasks, strict=True) if (name := catalog.used("task", entry))
        },
        icl=icl,
        held_out=dict(_held_out(entry, tasks | icl, file) for entry in catalog.expand(data.held_out, "task")),
        encoders=_all("encoder", data.encoders, "encoders", file),
    )
    if both := found.encoders.keys() & every.keys():
        raise UserError(f"{file}: encoders: {', '.join(sorted(both))}: also the id of a checkpoint; ids must differ")
    for version in data.averages:
        if version not in catalog.gauntlets():
            raise explain.unknown(file, "averages", "gauntlet", version, catalog.gauntlets())
    if not any(found.trained.values()):
        raise UserError(f"{file}: only: none of the recipes is for any of these checkpoints")
    consistency.check(found, file)
    if lines := idle.idle(found, given):
        raise UserError(*(f"{file}: {line}" for line in lines))
    return found


def _all(kind: str, entries: list, where: str, file: str, limits: dict | None = None) -> dict:
    """Every entry of a list, by id. `limits` receives each entry's `checkpoints:`, the part of the ladder it is for."""
    found = {}
    for i, entry in enumerate(entries):
        if limits is not None and isinstance(entry, dict) and "checkpoints" in entry:
            part = entry["checkpoints"]
            entry = {key: value for key, value in entry.items() if key != "checkpoints"}
        else:
            part = None
        id, config = _entry(kind, entry, f"{where}.{i}", file)
        if id in found:
            raise UserError(f"{file}: {where}.{i}: the id {id!r} is given twice; ids must differ")
        found[id] = config
        if part is not None:
            limits[id] = part
    return found


def _one(kind: str, entry: object, where: str, file: str):
    entry = {"id": where} | entry if isinstance(entry, dict) else entry
    return _entry(kind, entry, where, file)[1]


def _entry(kind: str, entry: object, where: str, file: str):
    id, data = catalog.resolve(kind, entry, file, where)
    if not re.fullmatch(written.ID, id) or len(id) > 80:
        raise UserError(
            f"{file}: {where}: the id {id!r} is not safe as a file name; allowed: lower-case letters, digits, . _ - (at most 80)"
        )
    return id, explain.validate(catalog.model(kind), data, file, f"{where} ({id})")


def _part(names: object, checkpoints: dict, where: str, file: str) -> list[str]:
    if names is None:
        return list(checkpoints)
    if not isinstance(names, list) or not names:
        raise UserError(f"{file}: {where}: must be a list of checkpoint ids")
    for name in names:
        if name not in checkpoints:
            raise explain.unknown(file, where, "checkpoint", name, checkpoints)
    return [name for name in checkpoints if name in names]


def _held_out(entry: str | dict, own: dict, file: str) -> tuple[str, RetrievalTask | IclTask]:
    """A test with its id: one of the study's `own` tasks, or of the catalog."""
    name, id = (entry, entry) if isinstance(entry, str) else (entry["use"], entry["id"])
    kind = next((kind for kind in ("task", "icl") if catalog.used(kind, name) in catalog.entries(kind)), None)
    if id in own:
        test = own[id]
    elif kind:
        id, test = _entry(kind, entry, "held_out", file)
    else:
        known = {**catalog.entries("task"), **catalog.entries("icl"), **catalog.suites(), **own}
        raise explain.unknown(file, "held_out", "task or suite", name, known, "config/catalog")
    if not test.texts_from and not test.text_fields():
        raise UserError(f"{file}: held_out: {name} has no text that training could have seen; remove it from the list")
    return id, test
