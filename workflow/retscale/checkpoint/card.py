"""card.json: what is known of a checkpoint, and where its model lies."""

from pathlib import Path

from pydantic import BaseModel

from retscale.checkpoint.config import Hub, Source
from retscale.common.artifact import Artifact

HERE = "model"  # the folder beside the card


class Params(BaseModel):
    """Counts of parameters, as model/params.py defines them."""

    total: int
    non_embedding: int
    matmul: int


class Loss(BaseModel):
    """Of a checkpoint that was pretrained here, in nats a token."""

    train: float | None = None
    heldout: float | None = None


class Card(Artifact):
    """`flops` are 6ND, None where nobody knows the tokens. `model`: a folder, from that of the card, in the hub's cache, or
    as the study names it, so that the card is the same on every machine; `files`: its files with their sha256.
    `revision`: the commit, or the hash of a single file. `max_length`: tokens that the model reads, None without an end.
    """

    id: str
    source: Source
    revision: str | None
    n_params: Params
    n_tokens: int | None
    flops: float | None
    tokens_per_param: float | None
    schedule_finished: bool
    max_length: int | None
    model: str
    files: dict[str, str]
    loss: Loss | None
    hub_licence: str | None = None

    @property
    def made_here(self) -> bool:
        """Whether the model lies beside the card, made by its job."""
        return self.model == HERE

    def folder(self, path: Path) -> Path:
        """Where the model lies on this machine; `path` is the card's. Cards of earlier versions have an absolute `model`."""
        if self.made_here:
            return path.parent / self.model
        if isinstance(self.source, Hub):
            from huggingface_hub import constants

            return Path(constants.HF_HUB_CACHE).resolve() / self.model
        return Path(self.model).expanduser().resolve()
