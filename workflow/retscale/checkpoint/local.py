"""A checkpoint in a folder."""

from pathlib import Path

from retscale.checkpoint.card import HERE
from retscale.checkpoint.config import Local, Spec
from retscale.checkpoint.model_folder import ModelFolder
from retscale.errors import UserError
from retscale.model.weight_files import has_weights


def obtain(spec: Spec, source: Local, text: Path | None, out: Path) -> ModelFolder:
    """The folder, used in place. Raises UserError if it is missing or incomplete."""
    folder = source.folder()
    if not folder.is_dir():
        raise UserError(
            f"the folder {folder} of the checkpoint {spec.id!r} is missing; put it there, or give "
            "its path as `source: {path: ...}` in its entry of the study"
        )
    names = [path.name for path in folder.iterdir()]
    if "config.json" not in names or not has_weights(names):
        raise UserError(
            f"the folder {folder} of the checkpoint {spec.id!r} must contain config.json, weights and a tokenizer, "
            f"but contains {', '.join(sorted(names)[:8]) or 'nothing'}"
        )
    place = source.path if source.path != HERE else f"./{HERE}"
    return ModelFolder(folder, spec.tokens, place=place)
