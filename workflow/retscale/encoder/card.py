"""encoder.json: whose encoder this is, how it makes vectors, and its files with their sha256."""

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from retscale.checkpoint.card import Params
from retscale.common.artifact import Artifact
from retscale.common.wheel import MaybeWheel
from retscale.common.wheel import folder as wheel_folder
from retscale.model.causality import Attention
from retscale.model.pooling import Pooling
from retscale.model.prompt import Prompt


class MadeBy(BaseModel, frozen=True):
    """The whole recipe of an encoder; of one made elsewhere the id GIVEN alone."""

    model_config = ConfigDict(extra="allow")
    id: str


class EncoderCard(Artifact):
    """Of any encoder. `prompt_sha256`: the tokens that the prompt made of sample texts, which it must make again."""

    sort_keys: ClassVar[bool] = True

    checkpoint: str
    recipe: MadeBy
    files: dict[str, str]
    prompt: Prompt
    prompt_sha256: str
    pooling: Pooling
    attention: Attention = "causal"  # written where it is not
    normalize: bool
    n_params: Params
    folder: str = ""  # where one made elsewhere lies, as the study names it; else beside encoder.json
    wheel: MaybeWheel = None  # below whose folder that is
    steps: int | None = None  # of its training so far

    def home(self, path: Path) -> Path:
        """Where its files lie on this machine; `path` is that of encoder.json."""
        return home(self.folder, self.wheel).resolve() if self.folder else path.parent


def home(folder: str, wheel: str | None) -> Path:
    """The folder of one made elsewhere; UserError if its wheel is not installed."""
    return wheel_folder(wheel) / folder if wheel else Path(folder).expanduser()


class TrainedBy(MadeBy):
    """What readers of results ask of a recipe."""

    negatives: str
    n_negatives: int
    batch_queries: int


class Trained(EncoderCard):
    """Of one that was trained here, on so many `pairs`."""

    recipe: TrainedBy
    steps: int
    pairs: int
    weights_sha256: str


def attention_field(attention: Attention) -> dict[str, Attention]:
    """What a card says of it: nothing where it is the model's own."""
    return {} if attention == "causal" else {"attention": attention}
