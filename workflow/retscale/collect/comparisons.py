"""What of a study is to be compared: tasks and recipes with and without instructions, mixtures and their parts, tuned
checkpoints and their bases."""

from typing import Annotated

from pydantic import BaseModel, Field


class Comparisons(BaseModel, frozen=True):
    """`asked`: a task whose queries carry instructions -> the same task without; `deciding`: those of them whose queries have
    instructions of their own, which say what is relevant. `trained`: a recipe that trains with
    instructions -> the same recipe without. `mixed`: a recipe that trains on several data sets -> each of these that
    another recipe trains on alone, with that recipe. `own_tasks`: each of these data sets -> the tasks and groups that
    are in-domain for it. `tuned`: a checkpoint that was tuned for chat or by preferences -> its base, or None where the
    study lacks that.
    """

    asked: dict[str, str] = {}
    deciding: Annotated[list[str], Field(exclude_if=lambda tasks: not tasks)] = []
    trained: dict[str, str] = {}
    mixed: dict[str, dict[str, str]] = {}
    own_tasks: Annotated[dict[str, list[str]], Field(exclude_if=lambda tasks: not tasks)] = {}
    tuned: Annotated[dict[str, str | None], Field(exclude_if=lambda tuned: not tuned)] = {}

    def __bool__(self) -> bool:
        return bool(self.asked or self.trained or self.mixed or self.tuned)
