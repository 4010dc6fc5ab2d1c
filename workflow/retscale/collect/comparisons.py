"""What of a study is to be compared: tasks with and without instructions, recipes with and without, mixtures and their parts."""

from pydantic import BaseModel


class Comparisons(BaseModel, frozen=True):
    """`asked`: a task whose queries carry instructions -> the same task without. `trained`: a recipe that trains with
    instructions -> the same recipe without. `mixed`: a recipe that trains on several data sets -> each of these that
    another recipe trains on alone, with that recipe.
    """

    asked: dict[str, str] = {}
    trained: dict[str, str] = {}
    mixed: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self.asked or self.trained or self.mixed)
