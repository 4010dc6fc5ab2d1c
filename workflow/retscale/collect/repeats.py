"""Trainings that repeat another one with a further seed: which they repeat, and how they are joined again."""

from collections.abc import Iterable

from pydantic import Field

from retscale.common.strict import Strict


class Repeat(Strict):
    """A recipe or a pretrained checkpoint that differs from the one `of` in its seed alone."""

    of: str
    seed: int = Field(ge=0)


class Repeats(Strict):
    """By the id of the repeat: of recipes the fine-tuning is repeated, of checkpoints the pretraining."""

    recipes: dict[str, Repeat] = {}
    checkpoints: dict[str, Repeat] = {}

    def __bool__(self) -> bool:
        return bool(self.recipes or self.checkpoints)

    def recipe(self, id: str) -> str:
        """The recipe that the recipe `id` repeats, or itself."""
        return self.recipes[id].of if id in self.recipes else id

    def checkpoint(self, id: str) -> str:
        """The checkpoint that the checkpoint `id` repeats, or itself."""
        return self.checkpoints[id].of if id in self.checkpoints else id

    def trainings(self, encoders: Iterable[tuple[str, str]]) -> dict[tuple[str, str], list[list[tuple[str, str]]]]:
        """Of each checkpoint and recipe that is no repeat, its trainings among `encoders`, by pretraining."""
        grouped: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = {}
        for checkpoint, recipe in encoders:
            of = self.checkpoint(checkpoint), self.recipe(recipe)
            grouped.setdefault(of, {}).setdefault(checkpoint, []).append((checkpoint, recipe))
        return {of: list(parts.values()) for of, parts in grouped.items()}
