"""A checkpoint from the Hugging Face hub, pinned to a commit; it stays in the hub's cache."""

import re
from pathlib import Path

from retscale.checkpoint.config import Hub, Spec
from retscale.checkpoint.model_folder import ModelFolder
from retscale.errors import UserError
from retscale.hub.snapshot import snapshot
from retscale.model.weight_files import has_weights, needed, refuse_adapter

README = "README.md"  # states the license
_HEADER = re.compile(r"\s*---[\r\n](.*?)[\r\n]---", re.S)
_LICENSE = re.compile(r"^license:[ \t]*[\"']?([\w.+-]+)[\"']?[ \t]*\r?$", re.M)
LONGEST_HEADER = 2**22  # bytes; some contain the results of a whole benchmark


def obtain(spec: Spec, source: Hub, text: Path | None, out: Path) -> ModelFolder:
    """Download what is not in the cache yet. Raises UserError if it is not available."""

    def select(names: list[str]) -> list[str]:
        refuse_adapter(names, f"{source.repo} at {source.revision}")
        files = needed(names)
        if not has_weights(files) or "config.json" not in files:
            raise UserError(
                f"{source.repo} at {source.revision} has no config.json with weights (.safetensors or .bin) beside it, so "
                "transformers cannot load it"
            )
        return files + [name for name in names if name == README]

    download = snapshot(source.repo, source.revision, select)
    card = {"revision": download.commit, "hub_licence": _license(download.folder / README)}
    return ModelFolder(
        download.folder,
        spec.tokens,
        # Below the cache, which lies elsewhere on another machine.
        str(Path(*download.folder.parts[-3:])),
        card,
        sha256={name: digest for name, digest in download.sha256.items() if name != README},
    )


def _license(readme: Path) -> str | None:
    """The license that a model's README states in its header; None without one.

    Only its line is read: the header is YAML by a stranger, which may expand to any size.
    """
    if not readme.is_file():
        return None
    with readme.open("rb") as file:
        header = _HEADER.match(file.read(LONGEST_HEADER).decode("utf-8", "replace"))
    match = _LICENSE.search(header[1]) if header else None
    return match[1] if match else None
