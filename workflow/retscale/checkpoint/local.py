"""A checkpoint that lies in a folder."""

from pathlib import Path

from retscale.checkpoint.config import Job, Local
from retscale.checkpoint.files import has_weights
from retscale.checkpoint.obtained import Obtained
from retscale.errors import UserError


def obtain(job: Job, source: Local, text: Path | None, out: Path) -> Obtained:
    """The folder, used in place. UserError if it is not there or incomplete."""
    folder = source.folder()
    if not folder.is_dir():
        raise UserError(
            f"the checkpoint {job.id!r} wants the folder {folder}, which is not there; put it there, or write "
            "its path as `source: {path: ...}` of its entry in the study"
        )
    names = [path.name for path in folder.iterdir()]
    if "config.json" not in names or not has_weights(names):
        raise UserError(
            f"the folder {folder} of the checkpoint {job.id!r} must hold config.json, weights and a tokenizer, "
            f"and holds {', '.join(sorted(names)[:8]) or 'nothing'}"
        )
    return Obtained(folder, job.tokens)
