"""NAME.json of this stage: how the texts of a collection were tokenized, and how many there are."""

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel

from retscale.common.artifact import Artifact
from retscale.errors import UserError
from retscale.model.prompt import Prompt, Side
from retscale.tokens.file import Tokens

REMEDY = "delete it and run the tokens stage again"


class Texts(BaseModel):
    """Of one side of a collection: counts of texts, of those that are `distinct` as tokens, of tokens, of the tokens of
    the longest text, and of texts that were cut to their length. `source`: sha256 of the table with the texts;
    `instruction`: what precedes each of them."""

    source: str
    texts: int
    distinct: int
    tokens: int
    longest: int
    cut: int
    instruction: str | None = None


class TokensCard(Artifact):
    """`tokenizer`: sha256 of its files. `prompt_sha256`: what the prompt makes of sample texts. `files`: sha256 of what
    lies beside it, by the part of the name after the collection's. Nothing tells the checkpoint or the collection's
    name, since all who tokenize the same texts alike share it.
    """

    sort_keys: ClassVar[bool] = True

    tokenizer: dict[str, str]
    prompt: Prompt
    prompt_sha256: str
    texts: dict[Side, Texts]
    files: dict[str, str]


def beside(path: Path, part: str) -> Path:
    """The file of the collection whose card is `path`: NAME.passages.ids and the like."""
    return path.with_name(f"{path.stem}.{part}")


def opened(path: Path, side: Side, source: str, prompt_sha256: str, instruction: str | None = None) -> Tokens:
    """The tokens of the table with the sha256 `source`; UserError unless they are of it, and under that prompt and
    instruction."""
    card = TokensCard.read(path, REMEDY)
    texts = card.texts.get(side)
    if texts is None or texts.source != source:
        raise UserError(
            f"--tokens: {path} is of other texts than the {side} texts of this job; run the tokens stage again"
        )
    if card.prompt_sha256 != prompt_sha256:
        raise UserError(
            f"--tokens: {path} was made with another tokenizer or prompt than this job's; run the tokens stage for it"
        )
    if texts.instruction != instruction:
        raise UserError(f"--tokens: {path} was made under another instruction; run the tokens stage for this recipe")
    file = beside(path, f"{side}.ids")
    try:
        return Tokens(file, texts.texts)
    except (OSError, ValueError) as error:
        raise UserError(f"{error}; {REMEDY}") from None
