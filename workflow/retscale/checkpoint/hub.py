"""A checkpoint from the Hugging Face hub, pinned to a commit; it stays in the hub's cache."""

from pathlib import Path

from huggingface_hub import ModelCard

from retscale.checkpoint.config import Hub, Job
from retscale.checkpoint.files import has_weights, needed
from retscale.checkpoint.obtained import Obtained
from retscale.errors import UserError
from retscale.hub.snapshot import snapshot

README = "README.md"  # states the licence


def obtain(job: Job, source: Hub, text: Path | None, out: Path) -> Obtained:
    """Download what is not in the cache yet. UserError if it cannot be had."""

    def choose(names: list[str]) -> list[str]:
        files = needed(names)
        if not has_weights(files) or "config.json" not in files:
            raise UserError(
                f"{source.repo} at {source.revision} has no config.json with weights in safetensors or .bin beside it, so "
                "transformers cannot load it"
            )
        return files + [name for name in names if name == README]

    found = snapshot(source.repo, source.revision, choose)
    card = {"revision": found.commit, "hub_licence": _licence(found.folder / README)}
    return Obtained(found.folder, job.tokens, card, sha256={n: h for n, h in found.sha256.items() if n != README})


def _licence(readme: Path) -> str | None:
    try:
        return ModelCard(readme.read_text(encoding="utf-8"), ignore_metadata_errors=True).data.license
    except (OSError, ValueError):  # none, or one whose header nobody can read
        return None
