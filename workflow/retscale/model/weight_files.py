"""Which of a repository's files a stage needs, and their hashes."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from retscale.common.regular import require_regular
from retscale.errors import UserError
from retscale.provenance.hash_cache import sha256_each

ADAPTER = "adapter_config.json"

_SAFETENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
_BIN = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
_INDEX = re.compile(r".*\.index\.json")
_REST = re.compile(r"(?!.*\.index\.json$).*\.json|.*\.model|merges\.txt|vocab\.txt|.*\.jinja")


def needed(names: Iterable[str]) -> list[str]:
    """Config, tokenizer and weights among a folder's file names; safetensors if there are any, else .bin.

    Files in subfolders (other formats, optimizer states) are not needed. A folder without weights yields none.
    """
    top = sorted(name for name in names if "/" not in name)
    weights = [name for name in top if _SAFETENSORS.fullmatch(name)] or [name for name in top if _BIN.fullmatch(name)]
    return sorted([*weights, *(name for name in top if _REST.fullmatch(name))])


def has_weights(names: Iterable[str]) -> bool:
    return any(not _INDEX.fullmatch(name) and (_SAFETENSORS.fullmatch(name) or _BIN.fullmatch(name)) for name in names)


def listed_weights(folder: Path) -> list[Path]:
    """The weight files of `folder` among those `needed`.

    Raises UserError if transformers would load others, which would not be hashed: an adapter, which it adds to the
    weights, or files that config.json or an index names.
    """
    entries = [path.name for path in folder.iterdir()]
    refuse_adapter(entries, folder)
    names = needed(entries)
    for name in names:
        require_regular(folder / name)
    if name := _mapping(folder / "config.json").get("transformers_weights"):
        raise UserError(
            f"{folder / 'config.json'} names the weights {name!r}; rename them to model.safetensors and remove the key"
        )
    for index in filter(_INDEX.fullmatch, names):
        weights = _mapping(folder / index).get("weight_map")
        shards = set(map(str, weights.values())) if isinstance(weights, dict) else set()
        if unexpected := sorted(shards - {*names}):
            raise UserError(
                f"{folder / index} names the weights {unexpected[0]!r}, which must lie beside it under a name such as "
                "model-00001-of-00002.safetensors; get a complete checkpoint"
            )
    return [folder / name for name in names if has_weights([name])]


def refuse_adapter(names: Iterable[str], where: Path | str) -> None:
    if ADAPTER in names:
        raise UserError(
            f"{where} holds an adapter ({ADAPTER}), which would change the weights; merge it first "
            "(merge_and_unload of peft), or remove it"
        )


def _mapping(path: Path) -> dict:
    """The JSON object in a file; empty if there is none, which loading the folder reports."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each needed file of `folder`, by name."""
    paths = [folder / name for name in needed(path.name for path in folder.iterdir())]
    return {path.name: digest for path, digest in sha256_each(paths).items()}
