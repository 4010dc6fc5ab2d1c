"""What `collect` reads of the study: which recipes and tasks count, and which checkpoints enter fits."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Role = Literal["fit", "reference", "external"]


class CollectConfig(BaseModel):
    """The study's name, its headline tasks (averaged unweighted) and recipes.

    `roles` names the checkpoints that are not part of the ladder: only `fit` checkpoints (the default) enter fits.
    """

    model_config = ConfigDict(extra="forbid")

    study: str
    headline: list[str] = Field(min_length=1)
    recipes: list[str] = Field(min_length=1)
    main_recipe: str
    roles: dict[str, Role] = {}
    seed: int = 0

    @model_validator(mode="after")
    def _main_is_a_recipe(self) -> "CollectConfig":
        if self.main_recipe not in self.recipes:
            raise ValueError(f"main_recipe {self.main_recipe!r} is not one of the recipes {self.recipes}")
        return self
