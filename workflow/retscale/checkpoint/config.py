"""A pretrained model: where it comes from and what is known about it."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from retscale.common.places import Repository, Revision, below
from retscale.common.strict import Strict
from retscale.common.wheel import MaybeWheel
from retscale.common.wheel import folder as wheel_folder
from retscale.model.precision import Precision
from retscale.model.threads import Threads
from retscale.model.weight_files import needed


class Hub(Strict):
    """A repository of the Hugging Face hub."""

    kind: Literal["hub"]
    repo: Repository
    revision: Annotated[Revision, Field(description="a commit, or a tag or branch that is resolved to one")]


class Local(Strict):
    """A folder with config.json, weights and tokenizer, used in place."""

    kind: Literal["local"]
    path: Annotated[str, Field(min_length=1)]

    def folder(self) -> Path:
        return Path(self.path).expanduser().resolve()

    def files(self) -> list[Path]:
        """The needed files that exist."""
        entries = self.folder().iterdir() if self.folder().is_dir() else ()
        return [self.folder() / name for name in needed(path.name for path in entries)]


class Gguf(Strict):
    """One GGUF file, dequantized to float32: below an installed wheel's folder, or at a path."""

    kind: Literal["gguf"]
    wheel: MaybeWheel = None
    file: Annotated[str, Field(pattern=r"\.gguf$")]

    @model_validator(mode="after")
    def _is_below_the_wheel(self) -> "Gguf":
        if self.wheel:
            below(self.file)
        return self

    def path(self) -> Path:
        """Raises UserError if the wheel is not installed."""
        return wheel_folder(self.wheel) / self.file if self.wheel else Path(self.file).expanduser().resolve()

    def files(self) -> list[Path]:
        """The file, unless it is part of a wheel, which is pinned by its version."""
        return [] if self.wheel or not self.path().is_file() else [self.path()]


# Chosen as those of a decoder, among rates from 1.5e-3 to 1.2e-2 and initial weights from .02 to .2 (d 64, 2 layers,
# 1.1M tokens). A T5 keeps its own initialization: with equal initial weights its encoder gave all texts the same vector.
CHOSEN = {
    "encoder": {"learning_rate": 3e-3, "initializer_range": 0.12},
    "encoder-decoder": {"learning_rate": 3e-3, "initializer_range": 1.0},
}


class Pretrain(Strict):
    """A model of about 12 x layers x hidden_size^2 parameters beside its embedding, pretrained on the study's text.

    It sees each of the first `tokens` tokens of the text once, in blocks in a seeded order. `architecture`:

    - decoder: of the MPT shape (ALiBi, no biases, tied embeddings, expansion 4); predicts each next token.
    - encoder: of the ModernBERT shape (rotary positions, no biases); predicts 30% of the tokens, which are masked.
    - encoder-decoder: of the T5 shape (relative positions, no biases, expansion 4), its two halves of `layers` each;
      restores spans of three tokens, 15% of the text. Its encoder half becomes the retriever.

    6ND counts the tokens of the text and the parameters of the retriever: only the encoder half of an encoder-decoder, and
    no prediction head beyond the embedding. The loss is the mean over predicted tokens.
    """

    kind: Literal["pretrain"]
    architecture: Annotated[
        Literal["decoder", "encoder", "encoder-decoder"],
        Field(exclude_if=lambda architecture: architecture == "decoder"),
    ] = "decoder"
    hidden_size: Annotated[int, Field(ge=8, le=8192)]
    layers: Annotated[int, Field(ge=1, le=128)]
    heads: Annotated[int, Field(ge=1, le=128)]
    tokens: Annotated[int, Field(ge=1024, le=10**12)]
    # The sources of the text, by name, whose documents are used; None: all. The tokenizer is that of the whole text.
    sources: Annotated[list[str] | None, Field(min_length=1, exclude_if=lambda sources: sources is None)] = None
    # Peak rate, initial weights and blocks per step were chosen together by held-out loss (nats; d 64, 2 layers, 1M):
    # 4.58, against 5.00 with 3e-3, .02 and 16, and 5.08 with 6e-3, .02 and 8. The cosine ends at zero.
    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 6e-3
    initializer_range: Annotated[
        float,
        Field(gt=0, le=1, description="standard deviation of the initial weights; of a T5, the factor of its own"),
    ] = 0.06
    warmup: Annotated[float, Field(ge=0, lt=1, description="fraction of the steps")] = 0.05
    weight_decay: Annotated[float, Field(ge=0, lt=1, description="on matrices only")] = 0.1
    sequences: Annotated[int, Field(ge=1, le=65536, description="blocks per step")] = 8
    block_length: Annotated[int, Field(ge=16, le=65536)] = 128
    # What a later stage may feed it: with ALiBi it can read past the block.
    max_length: Annotated[int, Field(ge=16, le=65536)] = 512

    @model_validator(mode="before")
    @classmethod
    def _by_architecture(cls, values: object) -> object:
        """Fill in the defaults of the architecture."""
        return {**CHOSEN.get(values.get("architecture"), {}), **values} if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _shapes_fit(self):
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size {self.hidden_size} is not a multiple of heads {self.heads}")
        if self.max_length < self.block_length:
            raise ValueError(f"max_length {self.max_length} is below block_length {self.block_length}")
        return self


class Random(Strict):
    """The shape and tokenizer of another checkpoint of the study, with fresh weights that the study seeds.

    It has seen no text, so it is a control, of role `reference`. Only recipes that name it under `checkpoints` use it.
    """

    kind: Literal["random"]
    like: Annotated[str, Field(min_length=1, description="the id of the other checkpoint")]


Source = Annotated[Hub | Local | Gguf | Pretrain | Random, Field(discriminator="kind")]


class Tokenizer(Strict):
    """What a checkpoint's tokenizer does with special tokens, by their ids; keys that are not given are not compared."""

    before: Annotated[list[int] | None, Field(description="what it adds before a text by default, such as a BOS")] = (
        None
    )
    after: Annotated[list[int] | None, Field(description="what it adds after a text by default, such as an EOS")] = None
    eos: Annotated[int | None, Field(ge=0, description="its end-of-text token")] = None
    pad: Annotated[
        int | Literal["eos"] | None,
        Field(description="its padding token; eos: it has none, so the end-of-text token is used"),
    ] = None


class Stated(Strict):
    """What is stated about a model and must agree with the loaded one."""

    n_params: Annotated[int | None, Field(ge=1, description="all parameters, tied ones counted once")] = None
    vocab_size: Annotated[int | None, Field(ge=1, description="rows of the token embedding")] = None
    max_length: Annotated[int | None, Field(ge=1, description="context length in tokens")] = None
    tokenizer: Tokenizer = Tokenizer()


Fact = Literal["tokens", "revision", "licence", "gated", "n_params", "vocab_size", "max_length", "tokenizer"]

# How a fact is known. verified: read at its owner's; computed: from verified dimensions; deduced: by an argument;
# secondary: somebody else says so; memory: to be checked, and compared with the loaded model where that is possible.
Mark = Literal["verified", "computed", "deduced", "secondary", "memory"]


class Checkpoint(Stated):
    """One point of a ladder."""

    family: str
    size: Annotated[
        str, Field(description="as the family calls it, such as 125M; points of one size are joined by a line")
    ]
    source: Source
    tokens: Annotated[
        int | None,
        Field(
            ge=1,
            le=10**15,
            description="pretraining tokens; a source `pretrain` states its own; required for the role `fit`",
        ),
    ] = None
    schedule_finished: Annotated[bool, Field(description="the learning rate had decayed to its end")] = True
    role: Annotated[
        Literal["fit", "reference", "external"],
        Field(description="fit: enters trends; reference: is shown beside them; external: appears in tables only"),
    ] = "fit"
    model_type: Annotated[
        str | None,
        Field(description="its type in transformers, as its config.json has it; read there if the file is here"),
    ] = None
    learned_positions: Annotated[
        bool, Field(description="its positions are a table of `max_length` rows, beyond which it reads nothing")
    ] = False
    gated: Annotated[bool, Field(description="its terms must be accepted on the hub, and a token is needed")] = False
    unsupported: Annotated[str, Field(description="why it cannot be loaded; a study that names it is refused")] = ""
    licence: str = ""
    origin: str = ""
    note: str = ""
    evidence: Annotated[dict[Fact, Mark], Field(description="how each fact of the catalog is known")] = {}

    @model_validator(mode="after")
    def _tokens_stand_in_one_place(self):
        if self.source.kind == "pretrain":
            if self.tokens is not None:
                raise ValueError("tokens: a checkpoint that is pretrained here states them once, in its source")
        elif self.source.kind == "random":
            if self.tokens is not None or self.role == "fit":
                raise ValueError(
                    "source: random weights have seen no text, so they have no FLOPs and enter no fit; give "
                    "`role: reference` and no `tokens`"
                )
        elif self.tokens is None and self.role == "fit":
            raise ValueError(
                "tokens: the number of pretraining tokens is required to compute FLOPs and to fit a trend; "
                "if it is unknown, give `role: reference`"
            )
        return self


class Spec(Stated):
    """The spec of one job of this stage: a checkpoint without its descriptive keys."""

    id: str
    source: Source
    tokens: int | None = None
    schedule_finished: bool = True
    seed: int = 0
    precision: Precision = "auto"
    threads: Threads = 1
