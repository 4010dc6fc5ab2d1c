"""What one job of this stage is told."""

from pydantic import Field

from retscale.common.strict import Strict
from retscale.model.prompt import Instruction, Prompt


class Collection(Strict):
    """`instruction`: what precedes every query of a training data set."""

    instruction: Instruction | None = None


class Spec(Strict):
    """The spec of one job of this stage: what to tokenize, and how.

    `tasks`: the ids of retrieval tasks (--tasks), of which the documents are tokenized, or of training data sets
    (--pairs), of which all queries and passages are. `prompt`: None with --encoder, whose own it is. `length`: tokens after
    which documents are cut, instead of the prompt's number. `lengths`: further ones, each with its tasks.
    """

    prompt: Prompt | None = None
    tasks: dict[str, Collection] = Field(min_length=1)
    length: int | None = Field(None, ge=1)
    lengths: dict[int, list[str]] = {}
