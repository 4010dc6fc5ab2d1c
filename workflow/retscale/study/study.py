"""A complete study: every entry with all its settings, and what follows from them."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from retscale.checkpoint.config import Checkpoint
from retscale.collect.repeats import Repeats
from retscale.encoder.config import GIVEN, GivenEncoder
from retscale.external.config import PublishedResults
from retscale.figure.figures import FIGURES
from retscale.finetune.config import Recipe
from retscale.icl.config import IclTask
from retscale.pairs.config import PairsConfig
from retscale.reference.config import Reference
from retscale.study import catalog, figure_needs, lengths, model, names
from retscale.study.base import Written
from retscale.task.config import Pool, RetrievalTask, TaskData
from retscale.text.config import TextConfig


@dataclass(frozen=True)
class Study:
    """Each dictionary maps ids to configurations, in the order of the file; repeats with further seeds follow, with new ids."""

    file: model.Study
    written: Written
    text: TextConfig | None
    checkpoints: dict[str, Checkpoint]
    pairs: dict[str, PairsConfig]
    recipes: dict[str, Recipe]
    trained: dict[str, list[str]]
    tasks: dict[str, RetrievalTask]
    origins: dict[str, str]  # task -> the entry of the catalog that it is made from, if any
    icl: dict[str, IclTask]
    retrieval_only: set[str]  # checkpoints that are left out of the in-context tasks
    held_out: dict[str, RetrievalTask | IclTask]
    encoders: dict[str, GivenEncoder]
    references: dict[str, Reference]
    # Recipes and checkpoints that repeat others with further seeds.
    repeats: Repeats = field(default_factory=Repeats)
    published: PublishedResults | None = None  # if given, the study consists of these results and trains nothing
    contrasts: dict[str, RetrievalTask] = field(default_factory=dict)  # the part of `tasks` that is in no mean
    wholes: dict[str, RetrievalTask] = field(default_factory=dict)  # tasks that the study cuts but does not evaluate

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def path(self) -> Path:
        return self.written.path

    @property
    def figures(self) -> list[str]:
        """The figures of the file that have something to show, in the order of the file."""
        return [name for name in self.file.figures if not figure_needs.missing_for(self, name)]

    @property
    def ladders(self) -> dict[str, list[str]]:
        """The checkpoints that each recipe trains, without repeats of recipes or of checkpoints."""
        repeats = self.repeats
        return {
            recipe: [id for id in trained if id not in repeats.checkpoints]
            for recipe, trained in self.trained.items()
            if recipe not in repeats.recipes
        }

    @property
    def distinct_checkpoints(self) -> list[str]:
        """The checkpoints without repeated pretrainings."""
        return [id for id in self.checkpoints if id not in self.repeats.checkpoints]

    @property
    def checkpoints_in_context(self) -> list[str]:
        """The checkpoints that are scored on the in-context tasks."""
        return [id for id in self.distinct_checkpoints if id not in self.retrieval_only] if self.icl else []

    @property
    def averaged(self) -> set[str]:
        """The in-context tasks that enter an average of the study."""
        versions = [catalog.gauntlets()[version]["categories"].values() for version in self.file.averages]
        tasks = [task for categories in versions for category in categories for task in catalog.asked(category)]
        return self.icl.keys() & {catalog.gauntlet_id(*task) for task in tasks}

    @property
    def evaluated_encoders(self) -> list[tuple[str, str]]:
        """Every encoder that is scored on all tasks, as (checkpoint, recipe), or as (id, GIVEN) if it was made elsewhere."""
        trained = [(checkpoint, recipe) for recipe, checkpoints in self.trained.items() for checkpoint in checkpoints]
        return trained + [(id, GIVEN) for id in self.encoders]

    @property
    def kept_encoders(self) -> list[tuple[str, str, int]]:
        """The encoders that are kept during training, as (checkpoint, recipe, step)."""
        return [
            (checkpoint, recipe, step)
            for recipe, trained in self.trained.items()
            for checkpoint in trained
            for step in self.recipes[recipe].keep
        ]

    @cached_property
    def curve_tasks(self) -> list[str]:
        """The tasks that kept encoders are evaluated on. A group that lacks a task is left out."""
        chosen = [catalog.task_name(name) for name in self.file.curve_tasks or self.headline]
        complete = [self.units[name] for name in chosen if self.tasks.keys() >= set(self.units[name])]
        return sorted(task for tasks in complete for task in tasks)

    def in_curves(self, tasks: list[str]) -> list[str]:
        """The part of `tasks` that kept encoders are evaluated on."""
        return [task for task in tasks if task in self.curve_tasks]

    def kept_steps(self, recipe: str, tasks: list[str]) -> list[int]:
        """The kept steps of a recipe that are evaluated on `tasks`, in the job that evaluates the last encoder."""
        return self.recipes[recipe].keep if recipe in self.recipes and self.in_curves(tasks) else []

    @property
    def encoders_at_lengths(self) -> list[tuple[str, str, str, int]]:
        """The evaluations at further lengths, as (checkpoint, recipe, task, length)."""
        return [
            (*encoder, task, length)
            for encoder in self.evaluated_encoders
            for length, tasks in lengths.of_encoder(self, *encoder).items()
            for task in tasks
        ]

    def lengths(self, checkpoint: str, recipe: str, tasks: list[str]) -> dict[int, list[str]]:
        """The further lengths at which an encoder reads some of `tasks`, each with these tasks."""
        every = lengths.of_encoder(self, checkpoint, recipe) if self.file.lengths else {}
        own = {length: [task for task in names if task in tasks] for length, names in every.items()}
        return {length: names for length, names in own.items() if names}

    @property
    def external_tables(self) -> list[str]:
        """The published tables that are joined to the study."""
        return [entry.table for entry in self.file.external]

    @property
    def figures_with_external(self) -> list[str]:
        """The figures that show points of the published tables."""
        return [name for name in self.figures if self.external_tables and FIGURES[name].published]

    def held_out_by(self, stage: str) -> dict[str, RetrievalTask | IclTask]:
        """The held-out tests whose texts this stage reads."""
        return {name: test for name, test in self.held_out.items() if test.texts_from == stage}

    @property
    def tasks_to_read(self) -> dict[str, RetrievalTask]:
        """The retrieval tasks to read: to evaluate them, to cut them, or to hold out their texts."""
        return self.tasks | self.wholes | self.held_out_by("task")  # ty: ignore[invalid-explicit-return] - the stage knows the kind

    @property
    def items_to_fetch(self) -> dict[str, IclTask]:
        """The in-context tasks whose items must be fetched: to score them, or to hold out their texts."""
        return {name: task for name, task in self.icl.items() if task.texts_from == "items"} | self.held_out_by("items")  # ty: ignore[invalid-explicit-return] - the same

    @property
    def pools(self) -> dict[str, Pool]:
        """The pool of each task that the study cuts itself."""
        return {id: task.pool for id, task in self.tasks.items() if task.pool}

    @property
    def cuts(self) -> dict[str, str]:
        """The tasks that are a cut of another task of the study: cut -> whole task."""
        return {id: task.cut_of for id, task in self.tasks.items() if task.cut_of in self.tasks}

    @cached_property
    def batches(self) -> dict[str, list[str]]:
        """The tasks that share an evaluation job, in the order of its spec: all small ones, and those of each huge corpus.

        Cuts that need rankings of encoders have a batch of their own: their job must wait for the jobs of the others.
        """
        batches: dict[str, list[str]] = {}
        for name, task in sorted(self.tasks.items()):
            shared = "pooled" if task.pool and task.pool.encoders else "small"
            batches.setdefault((task.corpus or name) if task.alone else shared, []).append(name)
        return batches

    @cached_property
    def units(self) -> dict[str, list[str]]:
        """What counts as one task: every group, and every task outside a group, by its name.

        The tasks of a group are those of the study and all that the catalog puts into it, so that an omitted one counts as
        missing. Contrasts are left out, since they count in no mean.
        """
        catalogued = catalog.grouped_tasks()
        units: dict[str, list[str]] = {}
        for name, task in ((name, task) for name, task in self.tasks.items() if name not in self.contrasts):
            units.setdefault(task.group or name, []).append(name)
        return {name: list(dict.fromkeys([*tasks, *catalogued.get(name, [])])) for name, tasks in units.items()}

    @property
    def trained_on(self) -> list[str]:
        """The training data sets that a recipe uses."""
        used = {id for recipe, trained in self.trained.items() if trained for id in self.mixture(recipe)}
        return [id for id in self.pairs if id in used]

    @cached_property
    def in_domain(self) -> dict[str, list[str]]:
        """Those of `units` that are in-domain for a training data set of one of the recipes."""
        of_data_sets = [name for id in self.trained_on for name in self.pairs[id].tasks]
        return self.in_domain_of([*of_data_sets, *(self.published.trained_on if self.published else [])])

    def in_domain_of(self, tasks: list[str]) -> dict[str, list[str]]:
        """Those of `units` with one of the `tasks` that training data name as their own, or with a cut of one."""
        trained = {catalog.task_name(name) for name in tasks}
        own = {id for id, task in self.tasks.items() if trained & {id, task.cut_of, *names.aliases_of(self, id)}}
        return {name: parts for name, parts in self.units.items() if trained & {name} or own & set(parts)}

    @cached_property
    def in_domain_by_recipe(self) -> dict[str, list[str]]:
        """The names of `in_domain` that a recipe trains on, for recipes that do not train on all of them."""
        names = {
            id: self.in_domain_of([task for data in self.mixture(id) for task in self.pairs[data].tasks])
            for id in self.ladders
            if id not in self.untuned
        }
        own = {id: [name for name in self.in_domain if name in trained] for id, trained in names.items()}
        return {id: trained for id, trained in own.items() if trained != list(self.in_domain)}

    @cached_property
    def instructed(self) -> dict[str, str]:
        """Tasks with instructions that the study also has without: task with instructions -> task without."""
        asked = {id for id, task in self.tasks.items() if task.instruction or task.own_instructions and task.instructed}
        without: dict[str, str] = {}
        for id, task in self.tasks.items():
            if id not in asked and not task.pool:
                without.setdefault(_without_instructions(task), id)
        twins = {id: without.get(_without_instructions(self.tasks[id])) for id in self.tasks if id in asked}
        return {id: twin for id, twin in twins.items() if twin}

    @property
    def headline(self) -> dict[str, list[str]]:
        """The `units` that the mean is over: those that the study names, else all zero-shot ones, or all if none is zero-shot.

        Of a task that is there with and without instructions only the one without counts.
        """
        if self.file.mean:
            return {name: self.units.get(name, [name]) for name in self.named(self.file.mean)}
        once = {name: parts for name, parts in self.units.items() if not set(parts) <= self.instructed.keys()}
        return {name: parts for name, parts in once.items() if name not in self.in_domain} or once

    @property
    def beside(self) -> dict[str, list[str]]:
        """The `units` that are neither in-domain nor in the mean."""
        others = {*self.headline, *self.in_domain}
        return {name: parts for name, parts in self.units.items() if name not in others}

    @property
    def groups(self) -> dict[str, list[str]]:
        """The study's own groups, of tasks and of groups."""
        return {name: self.named(parts) for name, parts in self.file.groups.items()}

    def named(self, entries: list[str]) -> list[str]:
        """The study's names of tasks and groups; a suite stands for its members, a task of a group for the group."""
        names: list[str] = []
        for entry in map(catalog.task_name, entries):
            members = [entry] if entry in {*self.units, *self.tasks} else catalog.expand([entry], "task")
            ids = [member if isinstance(member, str) else member.get("id", member["use"]) for member in members]
            units = [self.tasks[id].group or id if id in self.tasks and len(ids) > 1 else id for id in ids]
            names += dict.fromkeys(units)
        return names

    def like(self, checkpoint: str) -> list[str]:
        """The checkpoint whose shape this one has if its weights are random, as a list of one; else empty."""
        source = self.checkpoints[checkpoint].source
        return [source.like] if source.kind == "random" else []

    @property
    def untuned(self) -> list[str]:
        """The recipes that train nothing; their encoders are controls."""
        return [id for id, recipe in self.recipes.items() if not recipe.trains]

    def mixture(self, recipe: str) -> dict[str, float | None]:
        """The training data sets of a recipe with their weights, in the order of ids. None: in proportion to its pairs."""
        if recipe in self.untuned:
            return {}
        weights = self.recipes[recipe].weights or dict.fromkeys(self.pairs)
        return dict(sorted(weights.items()))


def _without_instructions(task: RetrievalTask) -> str:
    """The configuration of a task but for its instructions: equal where two tasks have the same queries."""
    return task.model_dump_json(include=TaskData.model_fields.keys() - {"instruction", "instructed"})
