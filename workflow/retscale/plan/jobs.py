"""The jobs of a study as the rules would make them, and which of them are done."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.paths import Results
from retscale.provenance import code, record
from retscale.study import outside, specs
from retscale.study.study import Study


@dataclass(frozen=True)
class Job:
    """One job. `reads` and `makes` are files below the study's results; `name` is what the job is about.

    `tables` are published ones, which its spec does not name. `makes` maps each declared output to the spec that its
    record must have: the job's, or of a batch the part that is about one task.
    """

    stage: str
    name: tuple[str, ...]
    reads: list[str]
    makes: dict[str, Callable[[], dict]]
    tables: Sequence[Path] = ()

    def changed(self, output: str, kept: dict, results: Path) -> list[Path]:
        """Files that no job makes and that are not those of the record `kept` of an output."""
        files = [*self.tables, *outside.files(self.stage, self.makes[output]())]
        return outside.changed(kept, (results / output).parent, files)


def jobs(study: Study) -> list[Job]:
    """Every job, each after those whose outputs it reads. The same jobs and files as workflow/rules has: a test compares."""
    return list(_jobs(study))


def _jobs(study: Study) -> Iterator[Job]:
    def one(stage: str, name: tuple[str, ...], reads: list[str], output: str, cut: Callable, *ids: str) -> Job:
        return Job(stage, name, reads, {output: lambda: cut(study, *ids)})

    def batch(
        stage: str, name: tuple[str, ...], reads: list[str], outputs: dict[str, str], cut: Callable, *ids: str
    ) -> Job:
        def part(task: str) -> dict:
            spec = cut(study, *ids)
            return {**spec, "tasks": {task: spec["tasks"][task]}}

        return Job(stage, name, reads, {output: lambda task=task: part(task) for task, output in outputs.items()})

    at = Results()
    text = [at.text()] if study.text else []
    if study.text:
        yield one("text", (), [], text[0], specs.text)
    cards = {id: at.checkpoint(id) for id in study.checkpoints}
    for id, card in cards.items():
        pretrained = study.checkpoints[id].source.kind == "pretrain"
        yield one("checkpoint", (id,), text if pretrained else [], card, specs.checkpoint, id)
    read = {id: at.task(id) for id in study.tasks_to_read}
    for id, output in read.items():
        yield one("task", (id,), [], output, specs.task, id)
    fetched = {id: at.items(id) for id in study.items_to_fetch}
    for id, output in fetched.items():
        yield one("items", (id,), [], output, specs.items, id)
    tasks = {id: read[id] for id in study.tasks}
    tests = [read[id] for id in study.held_out_by("task")] + [fetched[id] for id in study.held_out_by("items")]
    pairs = {id: at.pairs(id) for id in study.pairs}
    mined = {id: at.mine(id) for id in study.trained_on}
    for id, output in pairs.items():
        yield one("pairs", (id,), tests, output, specs.pairs, id)
        if id in mined:
            yield one("mine", (id,), [output], mined[id], specs.mine)
    encoders = {(id, recipe): at.finetune(id, recipe) for recipe, ids in study.trained.items() for id in ids}
    for (id, recipe), encoder in encoders.items():
        used = study.mixture(recipe)
        reads = [cards[id], *(pairs[name] for name in used), *(mined[name] for name in used)]
        yield one("finetune", (id, recipe), reads, encoder, specs.finetune, recipe)
    given = {(id, GIVEN): at.given(id) for id in study.encoders}
    for (id, _), output in given.items():
        yield one("encoder", (id,), [], output, specs.encoder, id)
    scores = []
    for (id, recipe), encoder in {**encoders, **given}.items():
        for members in study.batches.values():
            reads = [encoder, *(tasks[task] for task in members)]
            cut, outputs = specs.evaluate(members), {task: at.evaluate(id, recipe, task) for task in members}
            yield (made := batch("evaluate", (id, recipe, *members), reads, outputs, cut, id, recipe))
            scores += made.makes
    for id, recipe, step in study.kept_encoders:
        members = study.curve_tasks
        outputs = {task: at.evaluate(id, recipe, task, step) for task in members}
        reads, cut = [encoders[id, recipe], *(tasks[task] for task in members)], specs.evaluate(members)
        yield (made := batch("evaluate", (id, recipe, *members), reads, outputs, cut, id, recipe, step))
        scores += made.makes
    outputs = {task: at.leakage(task) for task in sorted(tasks)}
    yield (leaks := batch("leakage", (), [*pairs.values(), *tasks.values()], outputs, specs.leakage))
    icl, items = [], [fetched[task] for task in study.icl if task in fetched]
    for id, card in cards.items() if study.icl else ():
        outputs = {task: at.icl(id, task) for task in sorted(study.icl)}
        yield (made := batch("icl", (id,), [card, *items], outputs, specs.icl, id))
        icl += made.makes
    collect, fit = at.collect(), at.fit()
    yield one(
        "collect", (), [*cards.values(), *encoders.values(), *given.values(), *scores, *icl], collect, specs.collect
    )
    yield one("fit", (), [collect], fit, specs.fit)
    external = [at.external()] if study.external_tables else []
    for output in external:
        yield replace(
            one("external", (), [], output, specs.external), tables=[Path(path) for path in study.external_tables]
        )
    figures = [at.figure(name) for name in study.figures]
    for name, output in zip(study.figures, figures, strict=True):
        drawn = external if name in study.figures_with_external else []
        yield one("figure", (name,), [collect, fit, *drawn], output, specs.figure, name)
    data = [*pairs.values(), *mined.values(), *tasks.values(), *text]
    reads = [*figures, collect, fit, *data, *leaks.makes, *external]
    yield one("report", (), reads, at.report(), specs.report)


def done(found: list[Job], results: Path) -> set[int]:
    """Numbers of the jobs whose outputs are there, made by this spec, by this code, and from what done jobs made."""
    numbers, made = set(), set()
    for number, job in enumerate(found):
        if made.issuperset(job.reads) and all(_fresh(job, output, results) for output in job.makes):
            numbers.add(number)
            made |= job.makes.keys()
    return numbers


def _fresh(job: Job, output: str, results: Path) -> bool:
    try:
        kept = record.read(results / output)
        if not (results / output).is_file() or job.changed(output, kept, results):
            return False
    except (OSError, UserError):
        return False
    now = record.spec_sha256(job.makes[output]()), code.digest(f"retscale.{job.stage}.run")
    return (kept.get("spec_sha256"), kept.get("code_sha256")) == now
