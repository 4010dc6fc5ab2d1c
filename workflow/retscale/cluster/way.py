"""What a training gets: GPUs, nodes, queries at once, memory of the host and hours, all from the same arithmetic.

finetune/footprint.py has the bytes; the training itself asks there again, for the model that it has and its true texts.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from retscale.finetune.config import Recipe
from retscale.finetune.footprint import USABLE, Footprint, microbatches
from retscale.plan.shapes import Shape

GB = 1e9
MOST_NODES = 64  # when it is asked how many would do
# Bytes of the host's memory for each parameter: the checkpoint in float32, read once a node, and its copy to be written.
# A replica reads its own.
NODE_BYTES, REPLICA_BYTES = 8, 4
PROCESS_GB = 3.0  # of each process: Python, torch, and what CUDA keeps beside it


@dataclass(frozen=True)
class Training:
    """What decides how a training can run."""

    shape: Shape
    recipe: Recipe

    @property
    def query_tokens(self) -> int:
        """At most, of a query with its passages."""
        prompt = self.recipe.prompt
        return prompt.query_length + (1 + self.recipe.n_negatives) * prompt.passage_length

    def footprint(self, precision: str = "bf16") -> Footprint:
        shape, recipe = self.shape, self.recipe
        rounded = precision == "bf16"
        trained = {"full": shape.total, "lora": recipe.lora.r * shape.adapter, "bitfit": 0}[recipe.tuning]
        embeddings = shape.total - shape.non_embedding
        # Matrices that are not trained are kept in bfloat16.
        weights = (
            4 * shape.total if recipe.tuning == "full" or not rounded else 2 * shape.non_embedding + 4 * embeddings
        )
        if recipe.tuning == "lora":
            weights += 4 * trained
        cast = {"full": shape.non_embedding, "lora": trained, "bitfit": 0}[recipe.tuning]
        kept = shape.kept if recipe.tuning == "full" else shape.kept_by_adapters
        return Footprint(
            total=shape.total,
            weights=weights,
            trained=trained,
            cast=cast if rounded else 0,
            compute=2 if rounded else 4,
            layers=shape.layers,
            width=shape.width,
            embeddings=embeddings,
            per_token=kept if rounded else 2 * kept,
        )


@dataclass(frozen=True)
class Way:
    """`gpus` of each of `nodes`; `gpu_gb` of each at the peak, with `microbatch` queries at once."""

    nodes: int
    gpus: int
    sharded: bool
    microbatch: int
    checkpointing: bool
    gpu_gb: float

    @property
    def processes(self) -> int:
        return self.nodes * self.gpus

    @property
    def longer(self) -> float:
        """Times as long as without gradient checkpointing, which computes each forward again."""
        return 4 / 3 if self.checkpointing else 1.0


def ways(
    training: Training, gpu_memory_gb: float, gpus: int, nodes: int, exactly: tuple[int, int] | None = None
) -> Iterator[Way]:
    """Every way on up to `nodes` nodes of `gpus` GPUs, the cheapest first: without gradient checkpointing, then by the
    number of GPUs, and a model whole on each GPU before it is spread over them. `exactly`: only so many nodes, and GPUs of each.
    """
    recipe, needed = training.recipe, training.footprint()
    counts = [exactly] if exactly else list(_counts(gpus, nodes))
    for checkpointing in (False, True)[recipe.gradient_checkpointing :]:
        for node_count, per_node in counts:
            processes = node_count * per_node
            if recipe.batch_queries % processes:
                continue
            for shards in dict.fromkeys((1, processes)):
                for microbatch in microbatches(recipe, processes):
                    tokens = microbatch * training.query_tokens
                    peak = needed.peak(tokens, tokens, checkpointing, shards) / GB
                    if peak <= USABLE * gpu_memory_gb:
                        yield Way(node_count, per_node, shards > 1, microbatch, checkpointing, peak)
                        break


def way(
    training: Training,
    hours: float | None,
    gpu_memory_gb: float,
    gpus: int,
    nodes: int,
    most_hours: float,
    exactly: tuple[int, int] | None = None,
) -> Way | None:
    """The cheapest that takes at most `most_hours`, where one GPU would take `hours` (None: unknown), and one node; or
    the one with the most GPUs of its kind. None if the training fits nowhere.
    """
    slow = None
    for candidate in ways(training, gpu_memory_gb, gpus, nodes, exactly):
        if slow and (candidate.nodes > slow.nodes or candidate.checkpointing > slow.checkpointing):
            break
        slow = candidate
        if hours is None or hours * candidate.longer / candidate.processes <= most_hours:
            return candidate
    return slow


def enough_nodes(training: Training, gpu_memory_gb: float, gpus: int) -> int | None:
    """The nodes on which it would fit, if some number does."""
    first = next(ways(training, gpu_memory_gb, gpus, MOST_NODES), None)
    return first.nodes if first else None


def host_gb(training: Training, chosen: Way) -> float:
    """Memory of a node for the model and its processes."""
    replicas = 0 if chosen.sharded else chosen.gpus - 1
    return (NODE_BYTES + replicas * REPLICA_BYTES) * training.shape.total / GB + chosen.gpus * PROCESS_GB


def cpu_gb(training: Training) -> float:
    """Memory of the only process of a training without GPUs, in float32 and with as few queries at once as it can."""
    tokens = microbatches(training.recipe, 1)[-1] * training.query_tokens
    peak = training.footprint("fp32").peak(tokens, tokens, training.recipe.gradient_checkpointing)
    return peak / GB + NODE_BYTES * training.shape.total / GB + PROCESS_GB


def _counts(gpus: int, nodes: int) -> Iterator[tuple[int, int]]:
    """Nodes, and GPUs of each: powers of two, and the whole node; then whole nodes."""
    powers = [2**i for i in range(math.floor(math.log2(gpus)) + 1)]
    for per_node in dict.fromkeys([*powers, gpus]):
        yield 1, per_node
    for node_count in range(2, nodes + 1):
        yield node_count, gpus
