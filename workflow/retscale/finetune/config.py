"""What the finetune stage reads of a study."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from retscale.common.strict import Strict
from retscale.finetune.schedule import Decay
from retscale.model.causality import Attention
from retscale.model.pooling import Pooling
from retscale.model.precision import Precision
from retscale.model.prompt import Instruction, Prompt
from retscale.model.threads import Threads


class Lora(Strict):
    """Low-rank adapters (Hu et al. 2022). The defaults are those of RepLLaMA (Ma et al. 2024), except for the targets."""

    r: int = Field(32, ge=1)
    alpha: float = Field(64, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    # Last parts of the names of linear layers, such as [q_proj, v_proj]. None: every linear layer, since names differ
    # between families.
    targets: list[str] | None = Field(None, min_length=1)


class Recipe(Strict):
    """How a checkpoint becomes an encoder.

    The defaults are those of the study of Portes et al. 2025 as far as the paper states them ("paper"); where it is
    silent they are assumptions, taken from what the authors' public code does ("code": llm-foundry's contrastive
    trainer) or from common practice, and a study may vary them.
    """

    # paper: "hard negatives as opposed to in-batch", so each query meets its own passages only; the public code scores
    # all passages of a device's micro-batch (`microbatch`). `global` scores those of all processes.
    negatives: Literal["own", "microbatch", "global"] = "own"
    n_negatives: int = Field(15, ge=1, le=1000)  # paper: 15 BM25 negatives
    # What to do with a query that has fewer: refuse it, or fill up with random passages, which are counted.
    too_few: Literal["refuse", "fill"] = "refuse"
    temperature: float = Field(0.01, gt=0, le=10)  # not stated; E5 and RepLLaMA use .01, ablate .02 and .05
    pooling: Pooling = "mean"  # paper; code
    # causal: the model's own attention (paper). bidirectional: each token of a decoder sees the whole text, in training
    # and in every encoding. `causal` is left out of specs, so that older specs stay the same.
    attention: Attention = Field("causal", exclude_if=lambda attention: attention == "causal")
    prompt: Prompt = Prompt()  # prefixes, lengths and special tokens
    # The loss is also computed on the first components of the vectors, at each of these lengths (Matryoshka).
    dimensions: list[Annotated[int, Field(ge=1)]] = []

    # The weights to train: all (paper), low-rank adapters, or biases only (Ben Zaken et al. 2022). none: the encoder is
    # the checkpoint as it is, a control that enters no fit.
    tuning: Literal["full", "lora", "bitfit", "none"] = "full"
    lora: Lora = Lora()

    # How often each training data set of the study is used, relative to the others; a data set that is not named is not
    # used. None: every data set, in proportion to its number of pairs.
    weights: dict[str, Annotated[float, Field(gt=0, le=1e9)]] | None = Field(None, min_length=1)
    # The instruction before each query of a training data set, by the id of the data set.
    instructions: dict[str, Instruction] = Field({}, exclude_if=lambda instructions: not instructions)
    max_pairs: int | None = Field(None, ge=1)  # of each data set; paper: 500k; None: all pairs there are
    epochs: int = Field(1, ge=1)  # paper: one epoch; of all data sets together
    batch_queries: int = Field(64, ge=1)  # not stated; 64 as simlm, ablate 32
    # Queries that are encoded and scored together. With `microbatch` negatives it is the pool; otherwise it only bounds
    # memory, and None takes as many as an accelerator's memory allows.
    microbatch: int | None = Field(None, ge=1)
    gradient_checkpointing: bool = False  # less memory for a third more compute, the same result
    lr: float = Field(2e-5, gt=0, lt=1)  # not stated; simlm and E5 class models, the same at all sizes
    betas: tuple[float, float] = (0.9, 0.95)  # as in MPT's pretraining
    weight_decay: float = Field(0.01, ge=0, lt=1)  # matrices only, not norms and biases
    warmup: float = Field(0.06, ge=0, lt=1)  # fraction of the steps
    decay: Decay = "cosine"  # code
    floor: float = Field(0.02, ge=0, le=1)  # fraction of the peak at which the decay ends; code: 2%
    clip: float = Field(1.0, gt=0)  # norm of the gradient
    log_every: int = Field(10, ge=1)
    # Steps after which the encoder is also kept, as step-<n>/encoder.json, and evaluated on the study's `curve_tasks`.
    keep: list[Annotated[int, Field(ge=1)]] = []

    @model_validator(mode="after")
    def _divides(self) -> "Recipe":
        if self.microbatch is not None and self.batch_queries % self.microbatch:
            raise ValueError(
                f"batch_queries ({self.batch_queries}) must be a multiple of microbatch ({self.microbatch})"
            )
        if self.keep != sorted(set(self.keep)):
            raise ValueError(f"keep must name steps in ascending order, each once; found {self.keep}")
        return self

    @property
    def trains(self) -> bool:
        return self.tuning != "none"

    def used(self) -> "Recipe":
        """The recipe with defaults for all keys that have no effect."""
        if self.trains:
            return self
        return Recipe(tuning="none", pooling=self.pooling, attention=self.attention, prompt=self.prompt)


# The keys of a recipe that only affect training.
OF_TRAINING = tuple(name for name in Recipe.model_fields if name not in ("tuning", "pooling", "attention", "prompt"))


class NamedRecipe(Recipe):
    """A recipe with its name in the study; the weights of the data sets are separate."""

    id: str
    weights: None = None  # ty: ignore[incompatible-mutable-override] - models are not written to


class Spec(Strict):
    """The spec of one job of this stage. `pairs`: the training data sets in the order of --pairs, each with its weight,
    or None to use it in proportion to its number of pairs; empty if nothing is trained."""

    recipe: NamedRecipe
    pairs: dict[str, Annotated[float, Field(gt=0, le=1e9)] | None]
    seed: int = Field(ge=0)
    precision: Precision
    threads: Threads = 1

    @model_validator(mode="after")
    def _has_data(self) -> "Spec":
        if bool(self.pairs) != self.recipe.trains:
            raise ValueError("pairs: a recipe trains on one data set or more, and with `tuning: none` on none")
        return self
