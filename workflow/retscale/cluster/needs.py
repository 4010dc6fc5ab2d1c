"""What a job needs, whatever the cluster: memory, GPU memory, work."""

from dataclasses import dataclass

from retscale.plan.costs import Costs, text_bytes
from retscale.plan.estimate import Corpus, product, total

GB = 1e9

# Memory of a job beside its data, in GB: Snakemake, Python, and torch where a stage computes with it.
PROCESS_GB = {"finetune": 3.0, "evaluate": 3.0, "icl": 3.0, "checkpoint": 3.0, "mine": 3.0, "leakage": 2.0, "text": 2.0}
# Bytes of memory per byte of text that a stage reads: tables of strings, and indices of their words.
TEXT_FACTOR = {"pairs": 20, "mine": 20, "task": 10, "leakage": 4, "finetune": 8, "evaluate": 4}
# Bytes of memory per parameter: float32 weights, and what is loaded or written beside them.
WEIGHT_FACTOR = {"checkpoint": 8, "finetune": 6, "evaluate": 6, "icl": 6}
# Bytes of GPU memory per parameter at the peak of a training: weights, gradients and two moments in float32, and a copy
# of the weights in bfloat16; of a model of which little is trained, the weights and that copy.
TUNING_BYTES = {"full": 18, "lora": 6, "bitfit": 6}

# What is assumed where the catalog does not know; the data sets and tasks of the large studies are known.
UNKNOWN_PARAMS = 1_000_000_000
UNKNOWN_TEXT_BYTES = 0.1 * GB


@dataclass(frozen=True)
class Needs:
    """`memory_gb` is of the host, whatever the processes; each process needs `process_gb` more.

    `gpu_gb` may be divided among GPUs if `divisible`; the fraction `gpu_headroom` of each is for activations.
    `flops` None: unknown.
    """

    stage: str
    size: str = ""
    uses_gpu: bool = False
    memory_gb: float = 2.0
    process_gb: float = 0.0
    gpu_gb: float = 0.0
    gpu_headroom: float = 0.1
    divisible: bool = False
    flops: float | None = 0.0


def needs(costs: Costs, stage: str, name: tuple[str, ...]) -> Needs:
    """The needs of the job of a stage that is about `name`, as `plan.jobs` names it."""
    study = costs.study
    checkpoint = study.checkpoints.get(name[0]) if name else None
    n_params = (checkpoint and costs.params[name[0]].total) or UNKNOWN_PARAMS
    parts = costs.parts(stage, name)
    flops = total(part.flops for part in parts)
    weights_gb = WEIGHT_FACTOR.get(stage, 0) * n_params / GB
    text_gb = TEXT_FACTOR.get(stage, 0) * sum(map(_bytes, _texts(costs, stage, name))) / GB
    base_gb = PROCESS_GB.get(stage, 1.0)
    common = {
        "stage": stage,
        "size": checkpoint.size if checkpoint else "",
        "flops": None if flops.unknown else flops.known,
    }
    if stage == "finetune":
        tuning = study.recipes[name[1]].tuning
        return Needs(
            **common,
            uses_gpu=True,
            memory_gb=1.0 + text_gb + product(4, n_params) / GB,  # all weights come together once, to be written
            process_gb=base_gb + weights_gb,
            gpu_gb=TUNING_BYTES[tuning] * n_params / GB,
            gpu_headroom=0.2,
            divisible=tuning == "full",
        )
    uses_gpu = stage in ("evaluate", "icl") or (stage == "mine" and bool(study.file.mine.encoders()))
    gpu_gb = 2 * n_params / GB if uses_gpu else 0.0
    return Needs(**common, uses_gpu=uses_gpu, memory_gb=1.0 + text_gb, process_gb=base_gb + weights_gb, gpu_gb=gpu_gb)


def _texts(costs: Costs, stage: str, name: tuple[str, ...]) -> list[Corpus]:
    """What the job reads; of an evaluation the largest corpus, since each is read after the one before it."""
    if stage in ("pairs", "mine"):
        return [costs.pairs[name[0]]]
    if stage == "task":
        return [costs.tasks[name[0]]]
    if stage == "finetune":
        return [costs.pairs[id] for id in costs.study.mixture(name[1])]
    if stage == "evaluate":
        return [max((costs.tasks[task] for task in name[2:]), key=_bytes)]
    if stage == "leakage":
        return [*costs.pairs.values(), max((costs.tasks[task] for task in costs.study.tasks), key=_bytes)]
    return []


def _bytes(corpus: Corpus) -> float:
    size = text_bytes(corpus)
    return UNKNOWN_TEXT_BYTES if size is None else size
