"""The local files that a job reads and that no job makes, as the sources in its spec list them."""

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
from retscale.pairs.config import LOCAL
from retscale.provenance import hash_cache, record
from retscale.provenance.schema import Input, OlderRecord, Record
from retscale.study.study import Study
from retscale.task.config import FolderSource

SOURCES = {
    ("checkpoint", "local"): Local,
    ("checkpoint", "gguf"): Gguf,
    **{("pairs", kind): source for kind, source in LOCAL.items()},
    ("encoder", "folder"): EncoderFolder,
    ("task", "folder"): FolderSource,
    ("icl", "jsonl"): JsonlSource,
    ("pairs", "jsonl"): JsonlSource,  # of a test that is held out
}


def files(stage: str, spec: dict) -> list[Path]:
    """The existing files that the job of this spec reads."""
    if stage == "mine":
        return MineConfig(**_fields(MineConfig, spec)).files()
    entries = [*spec.get("tasks", {}).values()] if stage == "icl" else [spec, *spec.get("held_out", {}).values()]
    sources = [entry.get(key) for entry in entries for key in ("source", "collection")]
    kinds = [(SOURCES.get((stage, source.get("kind"))), source) for source in sources if source]
    return [path for kind, source in kinds if kind for path in kind(**_fields(kind, source)).files()]


def published(study: Study) -> list[Path]:
    """The table of models and the files of scores that a study of published results consists of; of a folder mteb's."""
    if study.published is None:
        return []
    scores = Path(study.published.scores)
    return [Path(study.published.models), *(_of_mteb(scores) if scores.is_dir() else [scores])]


def external(study: Study) -> list[Path]:
    """The published tables that are joined to the study, each followed by mteb's files if it has a folder of them."""
    return [
        path
        for entry in study.file.external
        for path in (Path(entry.table), *(_of_mteb(Path(entry.results)) if entry.results else ()))
    ]


def _of_mteb(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.json") if path.is_file())


@cache
def digest(*paths: Path) -> str:
    """One sha256 of names and contents, which a rule tracks; empty without files. Computed once in a process."""
    digests = {str(path): value for path, value in hash_cache.sha256_each(paths).items()}
    return record.spec_sha256(digests) if digests else ""


def rows(stage: str, spec: dict, folder: Path) -> list[Input]:
    """The files as inputs of the record of a job whose outputs lie in `folder`."""
    by_path = hash_cache.sha256_each(files(stage, spec))
    return [record.outside_row("outside", record.relative(path, folder), value) for path, value in by_path.items()]


def changed(job_record: Record | OlderRecord, folder: Path, paths: list[Path]) -> list[Path]:
    """The `paths` that are new or changed since the `job_record` in `folder`, and recorded files that are not among them."""
    own_names = ("outside", "tables", "files")
    recorded = {os.path.abspath(folder / row["path"]): row for row in job_record["inputs"]}
    current = {os.path.abspath(path): value for path, value in hash_cache.sha256_each(paths).items()}
    removed = {
        path for path, row in recorded.items() if row.get("name") in own_names and row["record"] is None
    } - current.keys()
    return [Path(path) for path, value in current.items() if recorded.get(path, {}).get("sha256") != value] + sorted(
        map(Path, removed)
    )


def weights(card_path: Path, folder: Path) -> list[Input]:
    """The files of the model of `card_path` as inputs, if it lies outside the results: in the hub's cache or a user's folder.

    UserError names the first file that differs from the card.
    """
    card = Card.read(card_path)
    if card.made_here:  # the record of the card vouches for it
        return []
    inputs, model = [], card.folder(card_path)
    for name, expected in card.files.items():
        path = model / name
        if not path.is_file() or hash_cache.sha256(path) != expected:
            raise UserError(
                f"{path}, which {card_path} lists, {'has changed' if path.is_file() else 'is missing'}; restore it, or "
                f"delete {card_path} and run again with what is there now"
            )
        inputs.append(record.outside_row("card", record.relative(path, folder), expected))
    return inputs


def _fields(model: type[BaseModel], data: dict) -> dict:
    return {key: value for key, value in data.items() if key in model.model_fields}
