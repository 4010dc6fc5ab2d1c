"""What of a study is to be compared: tasks with and without instructions, recipes told and not, mixtures and their parts."""

from pydantic import BaseModel


class Comparisons(BaseModel, frozen=True):
    """`asked`: a task whose queries carry instructions -> the same task without. `told`: a recipe that trains with
    instructions -> the same recipe without. `mixed`: a recipe that trains on several data sets -> each of these that
    another recipe trains on alone, with that recipe.
    """

    asked: dict[str, str] = {}
    told: dict[str, str] = {}
    mixed: dict[str, dict[str, str]] = {}

    def __bool__(self) -> bool:
        return bool(self.asked or self.told or self.mixed)
