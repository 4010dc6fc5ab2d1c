"""What every source of a checkpoint returns."""

from dataclasses import dataclass, field
from pathlib import Path

from retscale.checkpoint.card import HERE


@dataclass(frozen=True)
class ModelFolder:
    """A folder that transformers loads, and what only the source knows.

    `card` goes into card.json: facts about the model that are the same in every run of the job. `notes` go into the
    provenance record: how this run went. `sha256` holds the hashes of the needed files if the source has computed them.
    `n_tokens` is None if unknown. `place` is where card.json says that the folder is.
    """

    folder: Path
    n_tokens: int | None
    place: str = HERE
    card: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    sha256: dict[str, str] | None = None
