"""The text that the embedded study's decoders are pretrained on."""

from typing import Annotated

from pydantic import Field

from retscale.common.strict import Strict
from retscale.common.wheel import WheelSource


class TextSource(Strict):
    """Documents of one origin: the named fields of each row, in this order, as the paragraphs of one document."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")]
    source: WheelSource
    fields: Annotated[list[str], Field(min_length=1)] = ["text"]
    licence: str = ""
    origin: str = ""


class TextConfig(Strict):
    """One tokenizer and one shuffled stream of tokens for a whole ladder."""

    sources: Annotated[list[TextSource], Field(min_length=1)]
    # The embedding is most of a small model: 2,048 entries trained faster and retrieved better than 4,096 (pilot).
    vocab_size: Annotated[int, Field(ge=257, le=65536)] = 2048  # 256 bytes and end-of-text; ids are uint16
    # Long documents are cut at paragraphs, so that every prefix of the stream mixes all sources.
    words_per_document: Annotated[int, Field(ge=1, le=1_000_000)] = 400
    # The stream ends with the document that reaches this many tokens; no checkpoint may be trained on more.
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    # Documents that no model is trained on: the loss on them goes to the checkpoint's card.
    heldout: Annotated[float, Field(ge=0, lt=1)] = 0.01
    seed: Annotated[int, Field(ge=0)] = 0


class Spec(TextConfig):
    """The spec of one job of this stage."""
