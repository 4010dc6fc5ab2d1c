"""Pairs to compare: tasks and recipes with and without instructions, and mixtures with their single data sets."""

from pydantic import BaseModel


class Comparisons(BaseModel, frozen=True):
    """`asked`: a task whose queries carry instructions -> the same task without. `trained`: a recipe that trains with
    instructions -> the same recipe without. `mixed`: a recipe that trains on several data sets -> data set -> the recipe
    that trains on that data set alone.
    """

    asked: dict[str, str] = {}
    trained: dict[str, str] = {}
    mixed: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self.asked or self.trained or self.mixed)
