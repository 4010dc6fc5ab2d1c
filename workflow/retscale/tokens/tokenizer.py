"""The tokenizer of a checkpoint or an encoder, known by its files before it is loaded."""

import json
import re
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from retscale.checkpoint.card import Card
from retscale.common.files import sha256
from retscale.encoder.card import EncoderCard
from retscale.errors import UserError
from retscale.model.prompt import Prompt

# What transformers reads to make a tokenizer, beside the model's type in config.json.
_FILES = re.compile(
    r"tokenizer.*|tekken\.json|(special_tokens_map|added_tokens|vocab)\.json|vocab\.txt|merges\.txt|.*\.model"
)


@dataclass(frozen=True)
class TokenizerFiles:
    """`files`: sha256 by name. `prompt_sha256`: what an encoder says that its prompt makes of sample texts."""

    folder: Path
    files: dict[str, str]
    prompt: Prompt
    prompt_sha256: str | None = None

    def at_length(self, tokens: int) -> "TokenizerFiles":
        """The same for passages of up to so many tokens, of which no encoder says what they become."""
        return replace(self, prompt=self.prompt.at_length(tokens), prompt_sha256=None)

    @property
    def identity(self) -> dict:
        """What is the same where every text becomes the same tokens."""
        config = self.folder / "config.json"
        return {
            "files": self.files,
            "model_type": json.loads(config.read_bytes()).get("model_type") if config.is_file() else None,
            "prompt": self.prompt.model_dump(mode="json"),
            "versions": [version(name) for name in ("tokenizers", "transformers")],
        }


def of_checkpoint(path: Path, prompt: Prompt | None) -> TokenizerFiles:
    """That of the checkpoint whose card.json is `path`."""
    if prompt is None:
        raise UserError("--spec: prompt is missing, and a checkpoint has none of its own; give the recipe's")
    card = Card.read(path)
    folder = card.folder(path)
    return TokenizerFiles(folder, _files(folder, card.files, path), prompt)


def of_encoder(path: Path, prompt: Prompt | None) -> TokenizerFiles:
    """That of the encoder whose encoder.json is `path`, with its own prompt."""
    if prompt is not None:
        raise UserError("--spec: prompt must be left out with --encoder, which has its own")
    card = EncoderCard.read(path)
    folder = card.home(path)
    return TokenizerFiles(folder, _files(folder, card.files, path), card.prompt, card.prompt_sha256)


def _files(folder: Path, listed: dict[str, str], card: Path) -> dict[str, str]:
    """UserError for a file that is not the one that the card lists."""
    if not folder.is_dir():
        raise UserError(f"{folder}, which {card} names, is missing; restore it, or delete {card} and run again")
    digests = {path.name: sha256(path) for path in sorted(folder.iterdir()) if _FILES.fullmatch(path.name)}
    for name, digest in digests.items():
        if listed.get(name, digest) != digest:
            raise UserError(
                f"{folder / name} is not the file that {card} lists; restore it, or delete {card} and run again"
            )
    return digests
