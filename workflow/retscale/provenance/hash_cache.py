"""The sha256 of files that no job makes. A large one is hashed once and again only when its times, size or inode change.

What is known lies in `.state/hashes`, one file for each path, and may be deleted at any time.
"""

import hashlib
import json
import os
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from retscale.common import files
from retscale.provenance.states import SETTLED_NS

STATE = Path(".state/hashes")
LARGE = 2**20  # bytes; smaller files are hashed each time


def sha256_each(paths: Collection[Path]) -> dict[Path, str]:
    """The sha256 of each file, several at a time. Raises OSError if one cannot be read."""
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(sha256, paths), strict=True))


def sha256(path: Path) -> str:
    """The sha256 of one file. Raises OSError if it cannot be read, UserError if it is not a regular file."""
    before = _identity(path)
    if before["size"] < LARGE:
        return files.sha256(path)
    path = Path(os.path.abspath(path))
    cache_file = STATE / f"{hashlib.sha256(os.fsencode(path)).hexdigest()}.json"
    cached = _read(cache_file)
    if cached.get("file") == before:
        return cached["sha256"]
    digest = files.sha256(path)
    changed_ns = max(before["mtime_ns"], before["ctime_ns"])
    if _identity(path) == before and changed_ns + SETTLED_NS < time.time_ns():
        _write(cache_file, {"path": str(path), "file": before, "sha256": digest})
    return digest


def _identity(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {name: getattr(stat, f"st_{name}") for name in ("size", "mtime_ns", "ctime_ns", "ino")}


def _read(cache_file: Path) -> dict:
    try:
        return json.loads(cache_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _write(cache_file: Path, entry: dict) -> None:
    with files.atomic_write(cache_file) as file:
        file.write(json.dumps(entry).encode())
