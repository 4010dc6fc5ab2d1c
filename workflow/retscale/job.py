"""A stage's job: verified inputs in, whole outputs with their record out.

The stage runs in a temporary folder; then the provenance records are written, and only then the outputs move into place.
"""

import gc
import importlib
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from retscale.common.terminal import say
from retscale.errors import UserError
from retscale.provenance import clone, code, code_cache, publish, record
from retscale.provenance.schema import Git, Input
from retscale.provenance.states import States
from retscale.provenance.usage import Meter
from retscale.stages import STAGES, Stage, at_length, parts
from retscale.study import source_files

Inputs = dict[str, Path | list[Path]]


@dataclass(frozen=True)
class Job:
    """What makes one declared output, the file `product` in `folder`, from a spec and input files by flag.

    `code` is the digest of the stage's code as it was when the job started, when its files were in `code_states` in the clone
    `git`. `sources` are the rows of its record's inputs, once they are verified.
    """

    stage: str
    spec: dict
    inputs: Inputs
    folder: Path
    product: str
    git: Git
    code: str
    code_states: States
    sources: tuple[Input, ...] = ()

    @property
    def kind(self) -> Stage:
        return STAGES[self.stage]

    @property
    def module(self) -> str:
        return f"retscale.{self.stage}.run"

    @property
    def identity(self) -> str:
        return record.identity(self.spec, self.code, list(self.sources))

    @property
    def command(self) -> list[str]:
        """What a person would type, in the working folder, to make this product."""
        words = ["retscale", self.stage, "--spec", "@SPEC"]
        for flag, value in self.inputs.items():
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
        return [*words, "--out", str(self.folder / self.product)]

    def verified(self) -> "Job":
        """With its sources: every file that it reads. UserError if one is not what was made."""
        rows = record.verified_inputs(self.inputs, self.folder, self.kind.reads, self.kind.skips, self.kind.outside)
        if "card" in self.inputs and "card" not in self.kind.reads:
            rows += source_files.weights(self.inputs["card"], self.folder)
        listed = {os.path.abspath(self.folder / row["path"]) for row in rows}
        others = source_files.rows(self.stage, self.spec, self.folder)
        rows += [row for row in others if os.path.abspath(self.folder / row["path"]) not in listed]
        return replace(self, sources=(*self.sources, *rows))

    def finish(self, work: Path, notes: dict | None, meter: Meter) -> None:
        """Write the records of the job whose files lie in `work`, then publish: files, records, the product last."""
        names = sorted(path.relative_to(work) for path in work.rglob("*") if path.is_file())
        if Path(self.product) not in names:
            raise UserError(
                f"the stage ended without writing {self.product}; this is a bug in retscale: please report it with the log"
            )
        further = [path for path in names if self.kind.further and path.match(self.kind.further)]
        code_changed = code.changed(self.module, self.code, self.code_states)
        if code_changed:
            say(
                f"{self.folder / self.product}: the code of {self.stage} changed while the job ran, which its record says"
            )
        files, records = [], []
        for product in [*further, Path(self.product)]:
            home = product.parent
            own = [path for path in names if path.is_relative_to(home) and path not in files and path != product]
            outputs = [str(path.relative_to(home)) for path in [*own, product]]
            sources = record.rebased(self.sources, self.folder, self.folder / home)
            own_product = product == Path(self.product)  # what the job has used, and how it went, counts once
            content = record.make(
                self.stage,
                self.spec,
                self.code,
                sources,
                work / home,
                outputs,
                notes if own_product else None,
                meter.started,
                usage=meter.read() if own_product else None,
                git=self.git,
                code_changed=code_changed,
                command=self.command,
            )
            path = record.path_of(product)
            record.write(work / path, content)
            files += [*own, product]
            records.append(path)
        publish.publish(work, self.folder, [str(path) for path in [*files[:-1], *records, files[-1]]])


def run(stage: str, spec: dict, inputs: Inputs, targets: list[Path]) -> None:
    """Run the job whose declared outputs are `targets`; UserError if they are not those of its spec."""
    kind, folder = STAGES[stage], targets[0].parent
    products = kind.products(spec)
    if sorted(targets) != sorted(folder / product for product in products):
        raise UserError(f"--out: this spec makes {' '.join(products)}, in one folder")
    job = Job(stage, spec, inputs, folder, products[0], clone.state(), *code_cache.digest(f"retscale.{stage}.run"))
    if kind.parallel:  # before anything is written
        importlib.import_module(f"retscale.{stage}.processes").meet()
    if int(os.environ.get("RANK", 0)) > 0:
        _compute_only(job)
        return
    before = _made(job)
    with publish.workspace(folder, job.product) as work:
        if kind.batch:
            _run_batch(job, work)
        else:
            _run_one(job, work, renewed=_made(job) != before)


def _compute_only(job: Job) -> None:
    """A further process of a training: it computes, and leaves files and records to the first."""
    state = (publish.state_path(job.folder, job.product),) if job.kind.resumable else ()
    _imported(job)(job.spec, job.inputs, publish.work_path(job.folder, job.product), *state)


def _imported(job: Job) -> Callable:
    """The function of the job's stage.

    What libraries make as they are imported is never garbage. Not to look for any saves a fifth of the time that torch
    and transformers take to start.
    """
    gc.disable()
    try:
        return importlib.import_module(job.module).run
    finally:
        gc.freeze()
        gc.enable()


def _made(job: Job) -> tuple[int, int] | None:
    """What tells the product from one that is made later; None: there is none."""
    try:
        stat = (job.folder / job.product).stat()
    except FileNotFoundError:
        return None
    return stat.st_ino, stat.st_mtime_ns


def _run_one(job: Job, work: Path, renewed: bool) -> None:
    """Run the job, unless another process made its product, as this one would, while this one waited (`renewed`).

    Of several processes each computes all the same: the others have not waited, and count on the first.
    """
    meter = Meter()
    job = job.verified()
    if renewed and int(os.environ.get("WORLD_SIZE", 1)) == 1 and _is_finished(job):
        say(f"{job.folder / job.product}: the process that was waited for has made it; nothing is left to do")
        return
    compute = _imported(job)
    state = (publish.state(job.folder, job.product, job.identity),) if job.kind.resumable else ()
    job.finish(work, compute(job.spec, job.inputs, work, *state), meter)
    for folder in state:
        shutil.rmtree(folder)


def _run_batch(batch: Job, work: Path) -> None:
    """Run the tasks of a batch: of the encoder itself, of encoders kept during its training, and at further lengths."""
    lengths = set(map(at_length, batch.spec.get("lengths", ())))
    for folder, spec in parts(batch.spec).items():
        inputs = dict(batch.inputs)
        if spec.get("step"):  # a kept encoder lies below the last one, in the folder of its step
            say(f"{folder}: an encoder that the same training kept")
            inputs["encoder"] = batch.inputs["encoder"].parent / folder / batch.inputs["encoder"].name
        if "tokens" in inputs:
            own = lengths & {folder} or {path.parent.name for path in batch.inputs["tokens"]} - lengths
            inputs["tokens"] = [path for path in batch.inputs["tokens"] if path.parent.name in own]
        (work / folder).mkdir(exist_ok=True)
        _run_tasks(replace(batch, spec=spec, inputs=inputs, folder=batch.folder / folder), work / folder)


def _run_tasks(batch: Job, work: Path) -> None:
    """Run the tasks of a batch that are not finished yet, publishing each as it ends.

    Each task is a job with a record of its own, which knows only its own part of spec and inputs, so a batch that grows
    redoes nothing.
    """
    compute = _imported(batch)
    tasks = batch.spec["tasks"]
    files = {
        flag: {batch.kind.task_of(flag, path): path for path in batch.inputs.get(flag, [])}
        for flag in batch.kind.of_task
    }

    def inputs_of(names: Iterable[str]) -> Inputs:
        return {flag: [of_task[name] for name in names if name in of_task] for flag, of_task in files.items()}

    shared = {flag: value for flag, value in batch.inputs.items() if flag not in files}
    common = replace(batch, spec={**batch.spec, "tasks": {}}, inputs=shared).verified()
    jobs = {}
    for task, config in tasks.items():
        own = inputs_of([task])
        part = replace(common, spec={**batch.spec, "tasks": {task: config}}, inputs=own, product=f"{task}.json")
        jobs[task] = replace(part.verified(), inputs={**shared, **own})
    pending = [task for task, job in jobs.items() if not _is_finished(job)]
    if not pending:
        return
    inputs = {**batch.inputs, **inputs_of(pending)}
    meter = Meter()
    for task in compute({**batch.spec, "tasks": {task: tasks[task] for task in pending}}, inputs, work):
        jobs[task].finish(work, None, meter)
        meter = Meter()


def _is_finished(job: Job) -> bool:
    """Whether the product is there, made by this very job; its outputs and its record are then marked as new."""
    primary = job.folder / job.product
    if not record.fresh(primary, job.spec, job.code, list(job.sources)):
        return False
    record.renew(primary, list(job.sources))
    for output in record.read(primary)["outputs"]:
        # Snakemake compares times: what is kept must not look older than the inputs of this job.
        os.utime(job.folder / output["path"])
    return True
