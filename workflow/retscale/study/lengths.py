"""Further lengths at which the encoders of a study read documents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from retscale.common.strict import Strict
from retscale.encoder.config import GIVEN
from retscale.errors import UserError
from retscale.study import validation

if TYPE_CHECKING:
    from retscale.study.study import Study


class Lengths(Strict):
    """Encoders are evaluated again on `tasks`, or all, with documents cut after each number of `tokens`.

    Queries keep their length. Without `recipes` and `checkpoints` it is for every encoder, those made elsewhere as well.
    """

    tasks: list[str] | None = Field(None, min_length=1, description="tasks of the study; all if not given")
    tokens: list[Annotated[int, Field(ge=16, le=2**20)]] = Field(
        min_length=1, description="lengths of a document, special tokens and prefix included; ascending"
    )
    recipes: list[str] | None = Field(None, min_length=1, description="only encoders of these recipes")
    checkpoints: list[str] | None = Field(
        None, min_length=1, description="only encoders of these checkpoints, or made elsewhere and of these ids"
    )

    @model_validator(mode="after")
    def _ascends(self) -> Lengths:
        if self.tokens != sorted(set(self.tokens)):
            raise ValueError(f"tokens must name lengths in ascending order, each once, not {self.tokens}")
        return self

    def names(self, checkpoint: str, recipe: str) -> bool:
        """Whether they are of this encoder."""
        return (self.recipes is None or recipe in self.recipes) and (
            self.checkpoints is None or checkpoint in self.checkpoints
        )


def of_encoder(study: Study, checkpoint: str, recipe: str) -> dict[int, list[str]]:
    """The tasks of each further length of an encoder, both in ascending order; at its own it is evaluated anyway."""
    own = study.recipes[recipe].prompt.passage_length if recipe in study.recipes else None
    tasks: dict[int, set[str]] = {}
    for entry in study.file.lengths:
        if entry.names(checkpoint, recipe):
            for length in entry.tokens:
                tasks.setdefault(length, set()).update(entry.tasks or study.tasks)
    return {length: sorted(names) for length, names in sorted(tasks.items()) if length != own}


def check(study: Study, file: str) -> None:
    """UserError for a name that the study lacks, and for a length that a model is known to have no positions for."""
    recipes = [*study.recipes, *([GIVEN] if study.encoders else [])]
    for number, entry in enumerate(study.file.lengths):
        where = f"lengths.{number}"
        for key, known, kind in (
            ("tasks", study.tasks, "task of this study"),
            ("recipes", recipes, "recipe"),
            ("checkpoints", {**study.checkpoints, **study.encoders}, "checkpoint"),
        ):
            for name in getattr(entry, key) or []:
                if name not in known and not (key == "checkpoints" and study.file.only):
                    raise validation.unknown(file, f"{where}.{key}", kind, name, known)
        if not (study.file.only or any(entry.names(*encoder) for encoder in study.evaluated_encoders)):
            raise UserError(f"{file}: {where}: no encoder of the study is of these recipes and checkpoints")
    for id, recipe in study.evaluated_encoders:
        checkpoint, longest = study.checkpoints.get(id), max(of_encoder(study, id, recipe), default=0)
        limit = checkpoint and checkpoint.max_length
        if limit and checkpoint.learned_positions and longest > limit:
            raise UserError(
                f"{file}: lengths: {longest} tokens are too long for {id}, which has {limit} positions; lower them, or leave "
                "it out by `checkpoints` or `recipes`"
            )
