"""Recipes and pretrainings that repeat others with further seeds."""

from collections.abc import Iterable

from pydantic import Field

from retscale.common.strict import Strict


class Repeat(Strict):
    """A recipe or a pretrained checkpoint that differs from the entry `of` in its seed only."""

    of: str
    seed: int = Field(ge=0)


class Repeats(Strict):
    """Repeats by their ids: `recipes` repeat a fine-tuning, `checkpoints` a pretraining."""

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
        """(checkpoint, recipe) -> its trainings among `encoders`, repeats included, one list for each pretraining."""
        grouped: dict[tuple[str, str], dict[str, list[tuple[str, str]]]] = {}
        for checkpoint, recipe in encoders:
            of = self.checkpoint(checkpoint), self.recipe(recipe)
            grouped.setdefault(of, {}).setdefault(checkpoint, []).append((checkpoint, recipe))
        return {of: list(parts.values()) for of, parts in grouped.items()}
