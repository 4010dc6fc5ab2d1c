"""Which of a repository's files a stage needs, and their hashes."""

import re
from collections.abc import Iterable
from pathlib import Path

from retscale.provenance.hashes import sha256_each

_SAFETENSORS = re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json")
_BIN = re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json")
_INDEX = re.compile(r".*\.index\.json")
_REST = re.compile(r"(?!.*\.index\.json$).*\.json|.*\.model|merges\.txt|vocab\.txt|.*\.jinja")


def needed(names: Iterable[str]) -> list[str]:
    """Config, tokenizer and weights among a folder's file names; safetensors if there are any, else .bin.

    Files in subfolders (other formats, optimizer states) are not needed. Without weights, none are in the list.
    """
    top = sorted(name for name in names if "/" not in name)
    weights = [n for n in top if _SAFETENSORS.fullmatch(n)] or [n for n in top if _BIN.fullmatch(n)]
    return sorted([*weights, *(n for n in top if _REST.fullmatch(n))])


def has_weights(names: Iterable[str]) -> bool:
    return any(not _INDEX.fullmatch(n) and (_SAFETENSORS.fullmatch(n) or _BIN.fullmatch(n)) for n in names)


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of each needed file of `folder`, by name."""
    paths = [folder / name for name in needed(path.name for path in folder.iterdir())]
    return {path.name: digest for path, digest in sha256_each(paths).items()}
