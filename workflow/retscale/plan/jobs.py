"""The jobs of a study as the rules would make them, and which of them are done."""

import functools
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

RESULTS = Results()  # paths relative to the results of a study


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
    upstream = [*_data(study), *_training(study), *_evaluations(study), *_leakage(study), *_in_context(study)]
    yield from upstream
    yield from _analysis(study, upstream)


def _single(stage: str, name: tuple[str, ...], reads: list[str], output: str, cut: Callable, *ids: str) -> Job:
    return Job(stage, name, reads, {output: lambda: cut(*ids)})


def _batch(
    stage: str, name: tuple[str, ...], reads: list[str], outputs: dict[str, str], cut: Callable, *ids: str
) -> Job:
    """`outputs`: by TASK, and by FOLDER/TASK for the folders of kept steps and further lengths."""

    def part(place: str) -> dict:
        folder, task = os.path.split(place)
        spec = parts(cut(*ids))[folder]
        return {**spec, "tasks": {task: spec["tasks"][task]}}

    return Job(stage, name, reads, {output: lambda place=place: part(place) for place, output in outputs.items()})


def _data(study: Study) -> Iterator[Job]:
    """Text, checkpoints, tasks, training data and its negatives."""
    text = [RESULTS.text()] if study.text else []
    for output in text:
        yield _single("text", (), [], output, specs.text, study)
    # A checkpoint with random weights follows the one whose shape it has.
    for id in sorted(study.checkpoints, key=study.like):
        pretrained = study.checkpoints[id].source.kind == "pretrain"
        reads = text if pretrained else [RESULTS.checkpoint(other) for other in study.like(id)]
        yield _single("checkpoint", (id,), reads, RESULTS.checkpoint(id), specs.checkpoint, study, id)
    for id in [] if study.published else study.tasks_to_read:
        reads = [*cuts.whole(study, id, RESULTS), *cuts.runs(study, id, RESULTS)]
        yield _single("task", (id,), reads, RESULTS.task(id), specs.task, study, id)
    for id in study.items_to_fetch:
        yield _single("items", (id,), [], RESULTS.items(id), specs.items, study, id)
    held_out = [RESULTS.task(id) for id in study.held_out_by("task")]
    held_out += [RESULTS.items(id) for id in study.held_out_by("items")]
    for id in study.pairs:
        yield _single("pairs", (id,), held_out, RESULTS.pairs(id), specs.pairs, study, id)
        if id in study.trained_on:
            yield _single("mine", (id,), [RESULTS.pairs(id)], RESULTS.mine(id), specs.mine, study)


def _training(study: Study) -> Iterator[Job]:
    """Fine-tuning with the tokens of its data, and encoders made elsewhere."""
    for id, recipe in ((id, recipe) for recipe, ids in study.trained.items() for id in ids):
        card, mixture = RESULTS.checkpoint(id), study.mixture(recipe)
        pairs = {name: RESULTS.pairs(name) for name in mixture}
        tokens = {name: RESULTS.training_tokens(id, recipe, name) for name in mixture}
        for name, output in tokens.items():
            about, reads = (id, recipe, TRAINING, name), [card, pairs[name]]
            yield _batch("tokens", about, reads, {name: output}, specs.training_tokens, study, recipe, name)
        reads = [card, *pairs.values(), *map(RESULTS.mine, mixture), *tokens.values()]
        yield _single("finetune", (id, recipe), reads, RESULTS.finetune(id, recipe), specs.finetune, study, recipe)
    for id in study.encoders:
        yield _single("encoder", (id,), [], RESULTS.given(id), specs.encoder, study, id)


def _evaluations(study: Study) -> Iterator[Job]:
    """Every encoder, with the tokens of its tasks, and every reference, on each batch of tasks."""
    for id, recipe in study.evaluated_encoders:
        encoder = RESULTS.encoder(id, recipe)
        tokenizer = encoder if recipe == GIVEN else RESULTS.checkpoint(id)
        for name, members in study.batches.items():
            about, corpora = (id, recipe, *members), [RESULTS.task(task) for task in members]
            tokens = {task: RESULTS.tokens(id, recipe, task) for task in members}
            outputs = {task: RESULTS.evaluate(id, recipe, task) for task in members}
            for step in study.kept_steps(recipe, members):
                for task in study.in_curves(members):
                    outputs[f"{kept(step)}/{task}"] = RESULTS.evaluate(id, recipe, task, step)
            for length, names in study.lengths(id, recipe, members).items():
                for task in names:
                    tokens[f"{at_length(length)}/{task}"] = RESULTS.tokens(id, recipe, task, length)
                    outputs[f"{at_length(length)}/{task}"] = RESULTS.evaluate(id, recipe, task, length=length)
            job = _batch("tokens", about, [tokenizer, *corpora], tokens, specs.tokens(members), study, id, recipe)
            yield replace(job, batch=name)
            reads, cut = [encoder, *corpora, *tokens.values()], specs.evaluate(members)
            yield replace(_batch("evaluate", about, reads, outputs, cut, study, id, recipe), batch=name)
    for id in study.references:
        for name, members in study.batches.items():
            outputs = {task: RESULTS.reference(id, task) for task in members}
            reads, cut = [RESULTS.task(task) for task in members], specs.reference(members)
            yield replace(_batch("reference", (id, *members), reads, outputs, cut, study, id), batch=name)


def _leakage(study: Study) -> Iterator[Job]:
    tasks = [] if study.published else study.tasks
    if outputs := {task: RESULTS.leakage(task) for task in sorted(tasks)}:
        reads = [*map(RESULTS.pairs, study.pairs), *map(RESULTS.task, tasks)]
        yield _batch("leakage", (), reads, outputs, specs.leakage, study)


def _in_context(study: Study) -> Iterator[Job]:
    items = [RESULTS.items(task) for task in study.icl if task in study.items_to_fetch]
    for id in study.checkpoints_in_context:
        outputs = {task: RESULTS.icl(id, task) for task in sorted(study.icl)}
        yield _batch("icl", (id,), [RESULTS.checkpoint(id), *items], outputs, specs.icl, study, id)


def _analysis(study: Study, upstream: list[Job]) -> Iterator[Job]:
    """Tables, fits, figures and the report."""

    def made_by(*stages: str) -> list[str]:
        return [output for job in upstream if job.stage in stages for output in job.makes]

    collect, fit = RESULTS.collect(), RESULTS.fit()
    reads = made_by("checkpoint", "finetune", "encoder", "evaluate", "reference", "icl")
    job = _single("collect", (), reads, collect, specs.collect, study)
    yield replace(job, tables=source_files.published(study))
    yield _single("fit", (), [collect], fit, specs.fit, study)
    external = [RESULTS.external()] if study.external_tables else []
    for output in external:
        job = _single("external", (), [], output, specs.external, study)
        yield replace(job, tables=source_files.external(study))
    figures = {name: RESULTS.figure(name) for name in study.figures}
    for name, output in figures.items():
        published = external if name in study.figures_with_external else []
        yield _single("figure", (name,), [collect, fit, *published], output, specs.figure, study, name)
    tasks = [] if study.published else map(RESULTS.task, study.tasks)
    reads = [*figures.values(), collect, fit, *made_by("pairs", "mine", "text", "leakage"), *tasks, *external]
    yield _single("report", (), reads, RESULTS.report(), specs.report, study)


def done(jobs: list[Job], results: Path) -> set[int]:
    """Numbers of the jobs whose outputs are there, made by this spec, by this code, and from what done jobs made."""
    numbers, outputs, codes = set(), set(), functools.cache(code.digest)
    for number, job in enumerate(jobs):
        if outputs.issuperset(job.reads) and all(_fresh(job, output, results, codes) for output in job.makes):
            numbers.add(number)
            outputs |= job.makes.keys()
    return numbers


def _fresh(job: Job, output: str, results: Path, codes: Callable[[str], str]) -> bool:
    """`codes`: the digest of the code of a module."""
    try:
        saved = record.read(results / output)
        if not (results / output).is_file() or job.changed(output, saved, results):
            return False
    except (OSError, UserError):
        return False
    current = record.spec_sha256(job.makes[output]()), codes(f"retscale.{job.stage}.run")
    return (saved["spec_sha256"], saved["code_sha256"]) == current
