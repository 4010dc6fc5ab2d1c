"""card.json: what is known of a checkpoint, and where its model lies."""

from pydantic import BaseModel

from retscale.checkpoint.config import Source
from retscale.common.artifact import Artifact


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
    """`flops` are 6ND, None where nobody knows the tokens. `model`: a folder, absolute or from that of the card; its
    `files` with their sha256. `revision`: the commit, or the hash of a single file. `max_length`: tokens that the model
    reads, None without an end.
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
