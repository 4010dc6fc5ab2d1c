"""What a job needs, whatever the cluster: memory, GPU memory, work, and of a training what decides the rest."""

from dataclasses import dataclass

from retscale.cluster.way import Training
from retscale.plan.costs import Costs, text_bytes
from retscale.plan.estimate import Corpus, Cost
from retscale.plan.shapes import shape

GB = 1e9

# Memory of a job beside its data, in GB: Snakemake, Python, and torch where a stage computes with it.
PROCESS_GB = {
    "evaluate": 3.0,
    "icl": 3.0,
    "checkpoint": 3.0,
    "mine": 3.0,
    "reference": 3.0,
    "leakage": 2.0,
    "text": 2.0,
    "tokens": 3.0,
}
# Bytes of memory per byte of text that a stage reads: tables of strings, and indices of their words.
TEXT_FACTOR = {"pairs": 20, "mine": 20, "reference": 20, "task": 10, "leakage": 4, "finetune": 8, "evaluate": 4}
# Bytes of memory per parameter: weights, and what is loaded or written beside them. A checkpoint is only counted, in
# bfloat16 and file after file; way.py says what a training takes.
WEIGHT_FACTOR = {"checkpoint": 3, "evaluate": 6, "icl": 6}

# What is assumed where the catalog does not know; the data sets and tasks of the large studies are known.
UNKNOWN_PARAMS = 1_000_000_000
UNKNOWN_TEXT_BYTES = 0.1 * GB


@dataclass(frozen=True)
class Needs:
    """`memory_gb` is of the host. A job that uses a GPU has one, with `gpu_gb`, or `training`: as many as way.py says.

    `n_params`: that its model multiplies; `costs`: for the hours on any device, also without them unknown.
    """

    stage: str
    size: str = ""
    uses_gpu: bool = False
    memory_gb: float = 2.0
    gpu_gb: float = 0.0
    training: Training | None = None
    n_params: float | None = None
    costs: tuple[Cost, ...] = ()


def needs(costs: Costs, stage: str, name: tuple[str, ...]) -> Needs:
    """The needs of the job of a stage that is about `name`, as `plan.jobs` names it."""
    study = costs.study
    checkpoint = study.checkpoints.get(name[0]) if name else None
    n_params = (checkpoint and costs.params[name[0]].total) or UNKNOWN_PARAMS
    trains = stage == "finetune" and study.recipes[name[1]].trains
    weights = WEIGHT_FACTOR.get("evaluate" if stage == "finetune" and not trains else stage, 0)
    text_gb = TEXT_FACTOR.get(stage, 0) * sum(map(_bytes, _texts(costs, stage, name))) / GB
    memory_gb = 1.0 + text_gb + PROCESS_GB.get(stage, 1.0) + weights * n_params / GB
    uses_gpu = trains or stage in ("evaluate", "icl") or (stage == "mine" and bool(study.file.mine.encoders()))
    return Needs(
        stage,
        size=checkpoint.size if checkpoint else "",
        uses_gpu=uses_gpu,
        memory_gb=memory_gb,
        gpu_gb=2 * n_params / GB if uses_gpu and stage != "finetune" else 0.0,
        training=Training(shape(n_params), study.recipes[name[1]]) if trains else None,
        n_params=costs.params[name[0]].non_embedding if checkpoint else None,
        costs=tuple(costs.parts(stage, name)),
    )


def _texts(costs: Costs, stage: str, name: tuple[str, ...]) -> list[Corpus]:
    """What the job reads; of an evaluation the largest corpus, since each is read after the one before it."""
    if stage in ("pairs", "mine"):
        return [costs.pairs[name[0]]]
    if stage == "task":
        task = costs.study.tasks_to_read[name[0]]
        return (
            2 * [costs.tasks[task.cut_of]] if task.pool else [costs.tasks[name[0]]]
        )  # a cut indexes the whole as well
    if stage == "finetune":
        return [costs.pairs[id] for id in costs.study.mixture(name[1])]
    if stage in ("evaluate", "reference"):
        tasks = name[2:] if stage == "evaluate" else name[1:]
        return [max((costs.tasks[task] for task in tasks), key=_bytes)]
    if stage == "leakage":
        return [*costs.pairs.values(), max((costs.tasks[task] for task in costs.study.tasks), key=_bytes)]
    return []


def _bytes(corpus: Corpus) -> float:
    size = text_bytes(corpus)
    return UNKNOWN_TEXT_BYTES if size is None else size
