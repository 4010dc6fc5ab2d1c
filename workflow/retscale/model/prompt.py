"""How a text is presented to an encoder: fixed when it is trained, saved with it, and never changed afterwards."""

from typing import Annotated, Literal

from pydantic import Field

from retscale.common.strict import Strict

Side = Literal["query", "passage"]

# `tokenizer`: what the tokenizer adds by default (BERT [CLS] and [SEP], Llama BOS, T5 </s>, GPT-NeoX nothing);
# `add`: its BOS or EOS token exactly once, whatever it adds by default; `none`: nothing.
Policy = Literal["tokenizer", "add", "none"]


Instruction = Annotated[str, Field(pattern=r"\S")]


def instructed(instruction: str | None, query: str) -> str:
    """A query under an instruction, in training and in evaluation: the prefix of a prompt still precedes both."""
    return f"{instruction} {query}" if instruction else query


class Prompt(Strict):
    """What precedes and follows a text, where it is cut, and which special tokens enclose it.

    The defaults are those of the authors' public code ("code"), since the paper of Portes et al. 2025 does not say.
    """

    query_prefix: str = ""  # code: none; may be a whole instruction
    passage_prefix: str = ""
    query_suffix: str = ""  # follows the text even if that is cut, such as SGPT's closing bracket
    passage_suffix: str = ""
    query_length: int = Field(128, ge=4)  # code: 128 tokens for both, special tokens included
    passage_length: int = Field(128, ge=4)
    bos: Policy = "tokenizer"
    eos: Policy = "tokenizer"  # `add` for pooling `last`, where the end-of-text token gathers the text

    def prefix(self, side: Side) -> str:
        return self.query_prefix if side == "query" else self.passage_prefix

    def suffix(self, side: Side) -> str:
        return self.query_suffix if side == "query" else self.passage_suffix

    def at_length(self, tokens: int) -> "Prompt":
        """The same for passages of up to so many tokens."""
        return Prompt(**self.model_dump() | {"passage_length": tokens})

    def length(self, side: Side) -> int:
        return self.query_length if side == "query" else self.passage_length
