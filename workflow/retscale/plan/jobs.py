"""The jobs of a study as the rules would make them, and which of them are done."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.paths import TRAINING, Results
from retscale.provenance import code, record
from retscale.provenance.schema import OlderRecord, Record
from retscale.stages import at_length, kept, parts
from retscale.study import cuts, source_files, specs
from retscale.study.study import Study


@dataclass(frozen=True)
class Job:
    """One job. `reads` and `makes` are files below the study's results; `name` is what the job is about.

    `batch` stands for the tasks in the name of its log. `tables` are published ones, which its spec does not name. `makes`
    maps each declared output to the spec that its record must have: the job's, or of a batch the part that is about one
    task.
    """

    stage: str
    name: tuple[str, ...]
    reads: list[str]
    makes: dict[str, Callable[[], dict]]
    tables: Sequence[Path] = ()
    batch: str = ""

    @property
    def label(self) -> str:
        """STAGE/WILDCARDS...: the path of its log below the study's logs, and its name in Slurm below the study's."""
        ids = 1 if self.stage == "reference" else 2  # before the tasks
        return "/".join((self.stage, *((*self.name[:ids], self.batch) if self.batch else self.name)))

    def changed(self, output: str, saved: Record | OlderRecord, results: Path) -> list[Path]:
        """Files that no job makes and that are not those of the record `saved` of an output."""
        files = [*self.tables, *source_files.files(self.stage, self.makes[output]())]
        return source_files.changed(saved, (results / output).parent, files)


def jobs(study: Study) -> list[Job]:
    """Every job, each after those whose outputs it reads. The same jobs and files as workflow/rules has: a test compares."""
    listed = list(_jobs(study))
    maker = {output: number for number, job in enumerate(listed) for output in job.makes}
    order: dict[int, None] = {}

    def add(number: int) -> None:
        if number not in order:
            for read in filter(maker.__contains__, listed[number].reads):
                add(maker[read])
            order[number] = None

    for number in range(len(listed)):
        add(number)
    return [listed[number] for number in order]


def _jobs(study: Study) -> Iterator[Job]:
    def single(stage: str, name: tuple[str, ...], reads: list[str], output: str, cut: Callable, *ids: str) -> Job:
        return Job(stage, name, reads, {output: lambda: cut(study, *ids)})

    def batch(
        stage: str, name: tuple[str, ...], reads: list[str], outputs: dict[str, str], cut: Callable, *ids: str
    ) -> Job:
        """`outputs` by task; of a kept encoder and of a length, which have folders below the encoder's, by folder/task."""

        def part(place: str) -> dict:
            folder, task = os.path.split(place)
            spec = parts(cut(study, *ids))[folder]
            return {**spec, "tasks": {task: spec["tasks"][task]}}

        return Job(stage, name, reads, {output: lambda place=place: part(place) for place, output in outputs.items()})

    paths = Results()
    text = [paths.text()] if study.text else []
    if study.text:
        yield single("text", (), [], text[0], specs.text)
    cards = {id: paths.checkpoint(id) for id in study.checkpoints}
    # Those that are like another one after it.
    for id in sorted(cards, key=study.like):
        pretrained = study.checkpoints[id].source.kind == "pretrain"
        reads = text if pretrained else [cards[other] for other in study.like(id)]
        yield single("checkpoint", (id,), reads, cards[id], specs.checkpoint, id)
    task_outputs = {} if study.published else {id: paths.task(id) for id in study.tasks_to_read}
    for id, output in task_outputs.items():
        yield single(
            "task", (id,), [*cuts.whole(study, id, paths), *cuts.runs(study, id, paths)], output, specs.task, id
        )
    item_outputs = {id: paths.items(id) for id in study.items_to_fetch}
    for id, output in item_outputs.items():
        yield single("items", (id,), [], output, specs.items, id)
    tasks = {id: task_outputs[id] for id in study.tasks if id in task_outputs}
    held_out = [task_outputs[id] for id in study.held_out_by("task")] + [
        item_outputs[id] for id in study.held_out_by("items")
    ]
    pairs = {id: paths.pairs(id) for id in study.pairs}
    mined = {id: paths.mine(id) for id in study.trained_on}
    for id, output in pairs.items():
        yield single("pairs", (id,), held_out, output, specs.pairs, id)
        if id in mined:
            yield single("mine", (id,), [output], mined[id], specs.mine)
    encoders = {(id, recipe): paths.finetune(id, recipe) for recipe, ids in study.trained.items() for id in ids}
    for (id, recipe), encoder in encoders.items():
        mixture = study.mixture(recipe)
        training = {name: paths.training_tokens(id, recipe, name) for name in mixture}
        for name, output in training.items():
            about = (id, recipe, TRAINING, name)
            yield batch("tokens", about, [cards[id], pairs[name]], {name: output}, specs.training_tokens, recipe, name)
        reads = [cards[id], *(pairs[name] for name in mixture), *(mined[name] for name in mixture), *training.values()]
        yield single("finetune", (id, recipe), reads, encoder, specs.finetune, recipe)
    given_encoders = {(id, GIVEN): paths.given(id) for id in study.encoders}
    for (id, _), output in given_encoders.items():
        yield single("encoder", (id,), [], output, specs.encoder, id)
    scores = []
    for (id, recipe), encoder in {**encoders, **given_encoders}.items():
        for name, members in study.batches.items():
            corpora = [tasks[task] for task in members]
            tokens = {task: paths.tokens(id, recipe, task) for task in members}
            outputs = {task: paths.evaluate(id, recipe, task) for task in members}
            for step in study.kept_steps(recipe, members):
                for task in study.in_curves(members):
                    outputs[f"{kept(step)}/{task}"] = paths.evaluate(id, recipe, task, step)
            for length, names in study.lengths(id, recipe, members).items():
                for task in names:
                    tokens[f"{at_length(length)}/{task}"] = paths.tokens(id, recipe, task, length)
                    outputs[f"{at_length(length)}/{task}"] = paths.evaluate(id, recipe, task, length=length)
            source = cards.get(id) if recipe != GIVEN else encoder
            job = batch("tokens", (id, recipe, *members), [source, *corpora], tokens, specs.tokens(members), id, recipe)
            yield replace(job, batch=name)
            reads, cut = [encoder, *corpora, *tokens.values()], specs.evaluate(members)
            job = batch("evaluate", (id, recipe, *members), reads, outputs, cut, id, recipe)
            yield replace(job, batch=name)
            scores += job.makes
    for id in study.references:
        for name, members in study.batches.items():
            outputs = {task: paths.reference(id, task) for task in members}
            about, corpora = (id, *members), [tasks[task] for task in members]
            job = batch("reference", about, corpora, outputs, specs.reference(members), id)
            yield replace(job, batch=name)
            scores += job.makes
    outputs = {task: paths.leakage(task) for task in sorted(tasks)}
    leakage = batch("leakage", (), [*pairs.values(), *tasks.values()], outputs, specs.leakage)
    if outputs:
        yield leakage
    icl, items = [], [item_outputs[task] for task in study.icl if task in item_outputs]
    for id, card in ((id, cards[id]) for id in study.checkpoints_in_context):
        outputs = {task: paths.icl(id, task) for task in sorted(study.icl)}
        yield (job := batch("icl", (id,), [card, *items], outputs, specs.icl, id))
        icl += job.makes
    collect, fit = paths.collect(), paths.fit()
    reads = [*cards.values(), *encoders.values(), *given_encoders.values(), *scores, *icl]
    yield replace(single("collect", (), reads, collect, specs.collect), tables=source_files.published(study))
    yield single("fit", (), [collect], fit, specs.fit)
    external = [paths.external()] if study.external_tables else []
    for output in external:
        yield replace(single("external", (), [], output, specs.external), tables=source_files.external(study))
    figures = [paths.figure(name) for name in study.figures]
    for name, output in zip(study.figures, figures, strict=True):
        published = external if name in study.figures_with_external else []
        yield single("figure", (name,), [collect, fit, *published], output, specs.figure, name)
    data = [*pairs.values(), *mined.values(), *tasks.values(), *text]
    reads = [*figures, collect, fit, *data, *leakage.makes, *external]
    yield single("report", (), reads, paths.report(), specs.report)


def done(jobs: list[Job], results: Path) -> set[int]:
    """Numbers of the jobs whose outputs are there, made by this spec, by this code, and from what done jobs made."""
    numbers, outputs = set(), set()
    for number, job in enumerate(jobs):
        if outputs.issuperset(job.reads) and all(_fresh(job, output, results) for output in job.makes):
            numbers.add(number)
            outputs |= job.makes.keys()
    return numbers


def _fresh(job: Job, output: str, results: Path) -> bool:
    try:
        saved = record.read(results / output)
        if not (results / output).is_file() or job.changed(output, saved, results):
            return False
    except (OSError, UserError):
        return False
    current = record.spec_sha256(job.makes[output]()), code.digest(f"retscale.{job.stage}.run")
    return (saved["spec_sha256"], saved["code_sha256"]) == current
