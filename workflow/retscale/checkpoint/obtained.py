"""What every source of a checkpoint hands over."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Obtained:
    """A folder that transformers loads, and what only the source knows.

    `card` goes into card.json: facts of the model that the same job always finds the same. `notes` go into the
    provenance record: how this run went. `sha256` holds the needed files' hashes where the source has taken them anyway.
    `n_tokens` is None where nobody knows.
    """

    folder: Path
    n_tokens: int | None
    card: dict = field(default_factory=dict)
    notes: dict = field(default_factory=dict)
    sha256: dict[str, str] | None = None
