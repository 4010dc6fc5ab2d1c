"""A study, read and completed: every name looked up, every value checked, before any job starts."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from retscale import paths
from retscale.checkpoint.config import Checkpoint
from retscale.collect.means import MEAN
from retscale.encoder.config import GIVEN, GivenEncoder
from retscale.errors import UserError
from retscale.evaluate.metric_names import FOLLOWING
from retscale.finetune.config import Recipe
from retscale.icl.config import IclTask
from retscale.pairs.config import PairsConfig
from retscale.study import catalog, duplicates, explain, figures, idle, names, yaml
from retscale.study import model as written
from retscale.task.config import RetrievalTask
from retscale.text.config import TextConfig

# What the evaluations of the small tasks, and those of kept encoders and their logs, are called.
OTHER_BATCHES = r"small|kept|step-\d+"


@dataclass(frozen=True)
class Study:
    """A complete study; ids map to configurations, in the order of the file."""

    file: written.Study
    path: Path
    text: TextConfig | None
    checkpoints: dict[str, Checkpoint]
    pairs: dict[str, PairsConfig]
    recipes: dict[str, Recipe]
    trained: dict[str, list[str]]
    tasks: dict[str, RetrievalTask]
    origins: dict[str, str]  # of each task that is made from an entry of the catalog, the entry's name
    icl: dict[str, IclTask]
    held_out: dict[str, RetrievalTask | IclTask]
    encoders: dict[str, GivenEncoder]

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def figures(self) -> list[str]:
        """Those of the file, in its order, that have something to show."""
        return [name for name in self.file.figures if not figures.lacks(self, name)]

    @property
    def averaged(self) -> set[str]:
        """In-context tasks that enter an average of the study."""
        versions = [catalog.gauntlets()[version]["categories"].values() for version in self.file.averages]
        tasks = [task for categories in versions for category in categories for task in category.items()]
        return self.icl.keys() & {catalog.gauntlet_id(*task) for task in tasks}

    @property
    def evaluated(self) -> list[tuple[str, str]]:
        """Every encoder that is scored on all tasks: a checkpoint and its recipe, or one made elsewhere and GIVEN."""
        trained = [(checkpoint, recipe) for recipe, part in self.trained.items() for checkpoint in part]
        return trained + [(id, GIVEN) for id in self.encoders]

    @property
    def kept(self) -> list[tuple[str, str, int]]:
        """The encoders that are kept during training: checkpoint, recipe and step of each."""
        return [
            (checkpoint, recipe, step)
            for recipe, trained in self.trained.items()
            for checkpoint in trained
            for step in self.recipes[recipe].keep
        ]

    @property
    def curve_tasks(self) -> list[str]:
        """What they are evaluated on: groups whole or not at all."""
        chosen = [catalog.task_name(name) for name in self.file.curve_tasks or self.headline]
        wholes = [self.units[name] for name in chosen if self.tasks.keys() >= set(self.units[name])]
        return sorted(task for parts in wholes for task in parts)

    @property
    def external(self) -> list[str]:
        """The published tables that are joined to the study."""
        return [entry.table for entry in self.file.external]

    @property
    def draws_external(self) -> list[str]:
        """Figures that show them."""
        return [name for name in self.figures if self.external and name in ("1a", "1b", "2")]

    def held(self, stage: str) -> dict[str, RetrievalTask | IclTask]:
        """Held-out tests whose texts this stage reads."""
        return {name: test for name, test in self.held_out.items() if test.texts_from == stage}

    @property
    def read(self) -> dict[str, RetrievalTask]:
        """Retrieval tasks that must be read: to be evaluated, or to be held out."""
        return self.tasks | self.held("task")

    @property
    def fetched(self) -> dict[str, IclTask]:
        """In-context tasks whose items must be fetched: to be scored, or to be held out."""
        return {name: task for name, task in self.icl.items() if task.texts_from == "items"} | self.held("items")

    @cached_property
    def batches(self) -> dict[str, list[str]]:
        """Tasks that share an evaluation job, in the order of a spec: the small ones, and those of each huge corpus."""
        found: dict[str, list[str]] = {}
        for name, task in sorted(self.tasks.items()):
            found.setdefault((task.corpus or name) if task.alone else "small", []).append(name)
        return found

    @cached_property
    def units(self) -> dict[str, list[str]]:
        """What counts as one task: every task outside a group by its own name, and every group.

        A group's tasks are the study's and all that the catalog puts into it, so that one left out is missed.
        """
        catalogued = catalog.grouped_tasks()
        found: dict[str, list[str]] = {}
        for name, task in self.tasks.items():
            found.setdefault(task.group or name, []).append(name)
        return {name: list(dict.fromkeys([*parts, *catalogued.get(name, [])])) for name, parts in found.items()}

    @property
    def trained_on(self) -> list[str]:
        """The training data sets that a recipe uses."""
        used = {id for recipe, trained in self.trained.items() if trained for id in self.mixture(recipe)}
        return [id for id in self.pairs if id in used]

    @cached_property
    def in_domain(self) -> dict[str, list[str]]:
        """Those of `units` with a task that a training data set of one of the recipes names as its own."""
        trained = {catalog.task_name(name) for id in self.trained_on for name in self.pairs[id].tasks}
        own = {id for id in self.tasks if trained & {id, *names.goes_by(self, id)}}
        return {name: parts for name, parts in self.units.items() if trained & {name} or own & set(parts)}

    @property
    def headline(self) -> dict[str, list[str]]:
        """What the mean over tasks is taken of: those of `units` that are zero-shot, or all if none is."""
        return {name: parts for name, parts in self.units.items() if name not in self.in_domain} or self.units

    @property
    def groups(self) -> dict[str, list[str]]:
        """The study's own groups, of tasks and of groups."""
        return {name: [catalog.task_name(part) for part in parts] for name, parts in self.file.groups.items()}

    def mixture(self, recipe: str) -> dict[str, float | None]:
        """The training data sets of a recipe, in the order of their ids, with its weights; None: by number of pairs."""
        weights = self.recipes[recipe].weights or dict.fromkeys(self.pairs)
        return dict(sorted(weights.items()))


def study(path: Path) -> Study:
    """The study in the file `path`; UserError says what is wrong, where, and what was meant."""
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
        raise UserError(f"{file}: encoders: {', '.join(sorted(both))}: the id of a checkpoint; ids must differ")
    for version in data.averages:
        if version not in catalog.gauntlets():
            raise explain.unknown(file, "averages", "gauntlet", version, catalog.gauntlets())
    if not any(found.trained.values()):
        raise UserError(f"{file}: only: none of the recipes is for any of these checkpoints")
    _check_sense(found, file)
    if lines := idle.idle(found, given):
        raise UserError("\n".join(f"{file}: {line}" for line in lines))
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


def _one(kind: str, entry, where: str, file: str):
    entry = {"id": where} | entry if isinstance(entry, dict) else entry
    return _entry(kind, entry, where, file)[1]


def _entry(kind: str, entry, where: str, file: str):
    id, data = catalog.resolve(kind, entry, file, where)
    if not re.fullmatch(written.ID, id) or len(id) > 80:
        raise UserError(
            f"{file}: {where}: the id {id!r} is not safe as a file name; allowed: lower-case letters, digits, . _ - (at most 80)"
        )
    return id, explain.validate(catalog.model(kind), data, file, f"{where} ({id})")


def _part(names, checkpoints: dict, where: str, file: str) -> list[str]:
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
        raise UserError(f"{file}: held_out: {name} has no text that training could have seen; take it off the list")
    return id, test


def _check_sense(found: Study, file: str) -> None:
    """What no single entry can know."""
    for id, recipe in found.recipes.items():
        for name in recipe.weights or {}:
            if name not in found.pairs:
                raise explain.unknown(file, f"recipes.{id}.weights", "pairs", name, found.pairs)
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
                raise UserError(f"{file}: {where}: the id {id!r} ends as the provenance record of {id[:-7]!r} does; rename it")
    for id, task in found.tasks.items():
        if task.alone and re.fullmatch(OTHER_BATCHES, batch := task.corpus or id):
            raise UserError(
                f"{file}: tasks: {id!r} is evaluated alone, by a job named {batch!r}, which is the name of another job; "
                f"rename {'its `corpus`' if task.corpus else 'it'}"
            )
    for id, checkpoint in found.checkpoints.items():
        if checkpoint.unsupported:
            raise UserError(f"{file}: the checkpoint {id!r} cannot be loaded: {checkpoint.unsupported}; leave it out")
        if checkpoint.source.kind == "pretrain" and found.text is None:
            raise UserError(f"{file}: the checkpoint {id!r} is pretrained here, so the study needs a `text`")
        limit = found.text and found.text.max_tokens
        if checkpoint.source.kind == "pretrain" and limit and checkpoint.source.tokens > limit:
            raise UserError(
                f"{file}: checkpoints ({id}): source.tokens: {checkpoint.source.tokens:,} are more than the text has: "
                f"text.max_tokens is {limit:,}; raise it or lower the checkpoint's"
            )
    metric, computed = found.file.fit.metric, found.file.evaluate.names
    if metric not in computed and metric not in FOLLOWING:
        raise UserError(
            f"{file}: fit.metric is {metric}, which no evaluation computes; add it to `evaluate: {{metrics: "
            f"[{metric}]}}`, or take one of {', '.join(computed)}"
        )
    known, published = names.known(found), names.published(found)
    for id, pairs in found.pairs.items():
        for i, name in enumerate(pairs.tasks):
            if name not in known:
                raise explain.unknown(file, f"pairs ({id}).tasks.{i}", "task", name, known, catalog.listing("task"))
    for number, entry in enumerate(found.file.external):
        where = f"external.{number}"
        if entry.metric != metric:
            raise UserError(f"{file}: {where}.metric is {entry.metric}, but fit.metric is {metric}")
        for name, task in entry.tasks.items():
            if task not in published:
                raise explain.unknown(file, f"{where}.tasks.{name}", "task", task, published, catalog.listing("task"))
    for name, facts in found.file.mine.encoders().items():
        if facts.is_relative_to(paths.folder(found.name)):
            raise UserError(
                f"{file}: mine.{name} is {facts.parent}, which this study trains itself, on what it mines; train it in a study "
                "of another name and mine with it here"
            )
    for id, encoder in found.encoders.items():
        if encoder.source.folder().is_relative_to(paths.folder(found.name)):
            raise UserError(f"{file}: encoders.{id}: this study makes {encoder.path} itself; leave it out")
    if found.encoders and GIVEN in found.recipes:
        raise UserError(f"{file}: recipes: {GIVEN!r} stands for encoders made elsewhere; give the recipe another id")
    for id, pairs in found.pairs.items():
        if found.file.mine.method == "given" and not pairs.source.negatives:
            raise UserError(
                f"{file}: mine.method is `given`, but the data set {id!r} gives no negatives: name the field that holds "
                "them as `negatives` of its source, or mine by another method"
            )
    for i, name in enumerate(map(catalog.task_name, found.file.curve_tasks or [])):
        if name not in found.units:
            raise explain.unknown(file, f"curve_tasks.{i}", "task or group of this study", name, found.units)
        if lacking := [task for task in found.units[name] if task not in found.tasks]:
            raise UserError(f"{file}: curve_tasks.{i}: {name} lacks {', '.join(lacking)}, so it would have no score")
    _check_groups(found, file)
    duplicates.check(found, file)
    for name in found.file.figures if "figures" in found.file.model_fields_set else ():
        if reason := figures.lacks(found, name):
            raise UserError(f"{file}: figures.{name} would be empty: {reason}; leave it out")
    if found.kept and not found.curve_tasks:
        raise UserError(f"{file}: curve_tasks: no group of tasks is complete, so the kept encoders would have no score")
    for id, recipe in found.recipes.items():
        if recipe.n_negatives > found.file.mine.negatives:
            raise UserError(
                f"{file}: the recipe {id!r} wants {recipe.n_negatives} negatives a query but `mine.negatives` is "
                f"{found.file.mine.negatives}; raise it or lower the recipe's"
            )


def _check_groups(found: Study, file: str) -> None:
    """The study's own groups are of what it has, and their names are their own."""
    for name, parts in found.groups.items():
        known = {*found.tasks, *found.units}
        if name in known:
            raise UserError(f"{file}: groups.{name}: the name of a task or of a group of the catalog; take another")
        for i, part in enumerate(parts):
            if part not in known:
                raise explain.unknown(file, f"groups.{name}.{i}", "task or group of this study", part, known)
            if part in parts[:i]:
                raise UserError(f"{file}: groups.{name}.{i}: {part} is named twice; name each once")
    if MEAN in {*found.tasks, *found.icl, *found.units, *found.groups}:
        raise UserError(f"{file}: `{MEAN}` is the name of the mean over all tasks; give the task or group another")
