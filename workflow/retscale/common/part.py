"""A fixed part of the rows of a source, chosen by a hash of a text."""

import hashlib
from typing import Self

from pydantic import Field, model_validator

from retscale.common.strict import Strict


class Part(Strict):
    """The rows whose field `by` has a place in [start, stop), where every text has a place in [0, 1).

    A place follows from the text alone, and copies of a text share one (`copies.key`). So no text is in two parts that do
    not overlap, and a part from 0.8 to 1 has about a fifth of the texts.
    """

    by: str
    start: float = Field(0, ge=0, lt=1)
    stop: float = Field(1, gt=0, le=1)

    @model_validator(mode="after")
    def _is_not_empty(self) -> Self:
        if self.start >= self.stop:
            raise ValueError(f"start ({self.start}) must be below stop ({self.stop})")
        return self

    def has(self, row: dict) -> bool:
        """Whether a row belongs to the part; KeyError if the row lacks the field."""
        return self.start <= place(str(row[self.by])) < self.stop


def place(text: str) -> float:
    """A number in [0, 1), equal for copies and otherwise uniform."""
    from retscale.common.copies import key  # imports numpy, which checks and plans of a study do without

    digest = hashlib.blake2b(key(text).encode(), digest_size=6).digest()  # 48 bits: a float holds them exactly
    return int.from_bytes(digest, "big") / 2**48
