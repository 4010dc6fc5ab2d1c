"""The local files that a job reads and no job makes: those that its spec names, as its sources list them."""

import os
from functools import cache
from pathlib import Path

from pydantic import BaseModel

from retscale.checkpoint.card import Card
from retscale.checkpoint.config import Gguf, Local
from retscale.encoder.config import EncoderFolder
from retscale.errors import UserError
from retscale.items.config import JsonlSource
from retscale.mine.config import MineConfig
from retscale.pairs.config import File
from retscale.provenance import hash_cache, record
from retscale.task.config import FolderSource

SOURCES = {
    ("checkpoint", "local"): Local,
    ("checkpoint", "gguf"): Gguf,
    ("pairs", "folder"): File,
    ("encoder", "folder"): EncoderFolder,
    ("task", "folder"): FolderSource,
    ("icl", "jsonl"): JsonlSource,
    ("pairs", "jsonl"): JsonlSource,  # of a test that is held out
}


def files(stage: str, spec: dict) -> list[Path]:
    """The files that the job of this spec reads, as far as they exist."""
    if stage == "mine":
        return MineConfig(**_fields(MineConfig, spec)).files()
    entries = [*spec.get("tasks", {}).values()] if stage == "icl" else [spec, *spec.get("held_out", {}).values()]
    sources = [entry.get(key) for entry in entries for key in ("source", "collection")]
    kinds = [(SOURCES.get((stage, source.get("kind"))), source) for source in sources if source]
    return [path for kind, source in kinds if kind for path in kind(**_fields(kind, source)).files()]


@cache
def digest(*paths: Path) -> str:
    """One sha256 of names and contents, which a rule tracks; empty without files. Taken once a process."""
    found = {str(path): value for path, value in hash_cache.sha256_each(paths).items()}
    return record.spec_sha256(found) if found else ""


def rows(stage: str, spec: dict, folder: Path) -> list[dict]:
    """The files as inputs of the record of a job whose outputs lie in `folder`."""
    return [_row("outside", path, value, folder) for path, value in hash_cache.sha256_each(files(stage, spec)).items()]


def changed(kept: dict, folder: Path, paths: list[Path]) -> list[Path]:
    """Those of `paths` that are new or not what the record `kept` in `folder` lists, and those that it lists beside."""
    names = ("outside", "tables", "files")
    listed = {os.path.abspath(folder / row["path"]): row for row in kept.get("inputs", [])}
    now = {os.path.abspath(path): value for path, value in hash_cache.sha256_each(paths).items()}
    gone = {path for path, row in listed.items() if row["name"] in names and row["record"] is None} - now.keys()
    return [Path(path) for path, value in now.items() if listed.get(path, {}).get("sha256") != value] + sorted(
        map(Path, gone)
    )


def weights(card: Path, folder: Path) -> list[dict]:
    """The same for the model of `card` if it is not among the results: the hub's cache, or a folder of the user's.

    UserError names the first file that is not the one that the card lists.
    """
    facts = Card.read(card)
    model = Path(facts.model)
    if not model.is_absolute():  # made by the job of the card, whose record vouches for it
        return []
    found = []
    for name, expected in facts.files.items():
        path = model / name
        if not path.is_file() or hash_cache.sha256(path) != expected:
            raise UserError(
                f"{path}, which {card} lists, {'has changed' if path.is_file() else 'is missing'}; restore it, or "
                f"delete {card} and run again with what is there now"
            )
        found.append(_row("card", path, expected, folder))
    return found


def _row(name: str, path: Path, value: str, folder: Path) -> dict:
    return {"name": name, "path": record.relative(path, folder), "sha256": value, "record": None}


def _fields(model: type[BaseModel], data: dict) -> dict:
    return {key: value for key, value in data.items() if key in model.model_fields}
