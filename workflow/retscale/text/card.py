"""text.json: the sizes of the text that a ladder is pretrained on, and what it is made of."""

from typing import ClassVar

from pydantic import BaseModel

from retscale.common.artifact import Artifact


class Part(BaseModel):
    """What one source, a `wheel`, contributes to the training stream."""

    name: str
    wheel: str
    documents: int
    tokens: int


class TextCard(Artifact):
    """Of the training stream; `heldout_tokens` are in a stream of their own."""

    ensure_ascii: ClassVar[bool] = True

    tokens: int
    heldout_tokens: int
    documents: int
    words: int
    vocab_size: int
    tokenizer_sha256: str
    sources: list[Part]
