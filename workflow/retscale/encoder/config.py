"""What a study says about an encoder that was made elsewhere."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from retscale.common.places import below
from retscale.common.strict import Strict
from retscale.common.wheel import MaybeWheel
from retscale.encoder.card import home
from retscale.encoder.folder import describe
from retscale.errors import UserError

# In results these take the place of the recipe: of an encoder made elsewhere, and of a system without a model.
GIVEN, REFERENCE = "given", "reference"
NO_RECIPE = (GIVEN, REFERENCE)


class EncoderFolder(Strict):
    """An encoder of retscale (encoder.json), or a model of sentence-transformers (modules.json), used in place."""

    kind: Literal["folder"] = "folder"
    wheel: MaybeWheel = Field(None, exclude_if=lambda wheel: wheel is None)
    path: str

    def folder(self) -> Path:
        """Raises UserError if its wheel is not installed."""
        return home(self.path, self.wheel)

    def files(self) -> list[Path]:
        """The files that the encoder needs; none if it cannot be used, which the stage explains, or if it is part of a
        wheel, which is pinned by its version."""
        if self.wheel:
            return []
        try:
            return [self.folder() / name for name in describe(self.folder()).files]
        except UserError:
            return []


Tokens = Annotated[int | None, Field(ge=4, exclude_if=lambda tokens: tokens is None)]


class Truncation(Strict):
    """After how many tokens texts are cut, where that is sooner than by the encoder's own settings."""

    query_length: Tokens = None
    passage_length: Tokens = None


class GivenEncoder(Truncation):
    """An entry of `encoders`: a reference system that is scored on every task and enters no fit."""

    wheel: MaybeWheel = Field(None, description="the installed wheel below whose folder it lies")
    path: str = Field(min_length=1, description="its folder, absolute or relative to where the study is run")
    licence: str = ""
    origin: str = ""
    note: str = ""

    @model_validator(mode="after")
    def _is_below_the_wheel(self) -> "GivenEncoder":
        if self.wheel:
            below(self.path)
        return self

    @property
    def source(self) -> EncoderFolder:
        return EncoderFolder(wheel=self.wheel, path=self.path)


class Spec(Truncation):
    """The spec of one job of this stage."""

    id: str
    source: EncoderFolder
