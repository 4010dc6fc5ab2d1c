"""A model with the shape and tokenizer of another checkpoint, and with fresh weights."""

from pathlib import Path

from retscale.checkpoint.card import Card
from retscale.checkpoint.config import Random, Spec
from retscale.checkpoint.model_folder import ModelFolder
from retscale.common.files import sha256
from retscale.errors import UserError
from retscale.model.load import deterministic, fresh, read_tokenizer


def obtain(spec: Spec, source: Random, like: Path | None, out: Path) -> ModelFolder:
    """Write model/ (float32 safetensors); `like` is the card of the other checkpoint. UserError if it is the card of
    another one, or if a file of that model has changed."""
    if like is None:
        raise UserError(f"the checkpoint {spec.id!r} is made like {source.like}; give the card of that as --like")
    card = Card.read(like)
    if card.id != source.like:
        raise UserError(f"--like: {like} is of the checkpoint {card.id!r}, but the spec says {source.like!r}")
    folder = card.folder(like)
    for path in sorted(folder.glob("*.json")):  # configuration and tokenizer; weights are not read
        if card.files.get(path.name, "") not in ("", sha256(path)):
            raise UserError(f"{path} is not the file that {like} lists; restore it, or delete {like} and run again")
    deterministic(spec.seed, spec.threads)
    fresh(folder).save_pretrained(out / "model")
    read_tokenizer(folder).save_pretrained(out / "model")
    return ModelFolder(out / "model", None)
