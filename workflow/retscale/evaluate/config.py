"""What a study says about evaluation."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retscale.common.strict import Strict
from retscale.evaluate.metrics import STANDARD, AtCutoff, parts
from retscale.model.precision import Precision
from retscale.model.threads import Threads


class Scoring(Strict):
    """How deep a ranking is and how it is scored, whatever made it; EvaluateConfig explains the keys."""

    k: int = Field(100, ge=100, le=9999)
    relevant: int = Field(1, ge=1)
    metrics: list[AtCutoff] = []

    @model_validator(mode="after")
    def _deep_enough(self) -> "Scoring":
        if deep := [name for name in self.metrics if parts(name)[1] > self.k]:
            raise ValueError(f"{', '.join(deep)} needs more documents than k: {self.k}; raise k")
        return self

    @property
    def names(self) -> list[str]:
        """The metrics to compute: the standard ones first."""
        return list(dict.fromkeys((*STANDARD, *self.metrics)))


class EvaluateConfig(Scoring):
    """`k`: documents kept for each query. `metrics`: beside the standard ones, such as recall_at_1000 with k: 1000.

    `relevant`: the judged score from which on a document counts as relevant to recall, precision, MRR and MAP, as
    trec_eval's -l; nDCG keeps all scores above 0 as its gains.

    `storage`: the format in which vectors of documents are held; float16 halves memory and disk. Scores are float32.

    Memory beside the model and its batch: 0.6 GiB, 340 bytes per document (300 for its id), two shards of 65,536
    vectors, and 16 bytes per query and rank; below 1 GiB for 1,000,000 documents of 256 dimensions and 1,000 queries
    (benchmarks/memory.py).
    """

    storage: Literal["float32", "float16"] = "float32"


class Task(Strict):
    """A task has no settings here but its name."""


class Spec(EvaluateConfig):
    """The spec of one job of this stage: an encoder and its tasks.

    `step`: the training step after which the encoder was kept; None: the last one. `keep`: steps of its training whose
    encoders the same job evaluates on `curve_tasks`; each lies beside the last one, in step-<n>/encoder.json.
    `length`: tokens after which documents are cut, instead of the encoder's own number. `lengths`: further lengths at
    which the same job evaluates the encoder, each with its tasks. `trained_length`: tokens that the checkpoint saw at
    once in pretraining, if its files do not say that.
    """

    checkpoint: str
    recipe: str
    step: int | None = Field(None, ge=1)
    tasks: dict[str, Task] = Field(min_length=1)
    keep: list[Annotated[int, Field(ge=1)]] = []
    curve_tasks: list[str] = []
    length: int | None = Field(None, ge=1)
    lengths: dict[Annotated[int, Field(ge=1)], list[str]] = {}
    trained_length: int | None = Field(None, ge=1)
    precision: Precision
    tokens_per_batch: int = Field(ge=1)
    threads: Threads = 1

    @model_validator(mode="after")
    def _curves(self) -> "Spec":
        if unknown := [task for task in self.curve_tasks if task not in self.tasks]:
            raise ValueError(f"curve_tasks: {', '.join(unknown)} must also stand in tasks")
        if unknown := {task for tasks in self.lengths.values() for task in tasks} - self.tasks.keys():
            raise ValueError(f"lengths: {', '.join(sorted(unknown))} must also stand in tasks")
        if self.keep and self.step is not None:
            raise ValueError("keep needs the last encoder; remove step")
        return self
