"""The local files that a study reads, and which of them are missing."""

import sys
from pathlib import Path

from pydantic import BaseModel

from retscale.checkpoint.config import Local
from retscale.checkpoint.files import has_weights, listed_weights
from retscale.encoder.folder import described
from retscale.errors import UserError
from retscale.pairs.config import FORMATS, File
from retscale.phrase import counted, noun
from retscale.study.study import Study
from retscale.task.config import FolderSource
from retscale.text import wheel

# Files of a tokenizer whose names do not begin with `tokenizer`.
TOKENIZERS = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model")

# What an entry is called in each list of a study whose entries may name a folder or a file.
ENTRIES = {
    "checkpoints": "checkpoint",
    "encoders": "encoder",
    "pairs": "training data set",
    "tasks": "task",
    "icl": "in-context task",
}


def missing_wheels(found: Study) -> list[str]:
    """The data wheels that the study reads and that are not installed."""
    sources = [part.source for part in found.text.sources] if found.text else []
    sources += [
        part.source
        for parts in (found.checkpoints, found.pairs, found.tasks, found.icl, found.held_out)
        for part in parts.values()
    ]
    named = {name for source in sources if (name := getattr(source, "wheel", None))}
    return sorted(name for name in named if not wheel.installed(name))


def check_wheels(found: Study) -> None:
    """UserError if the study reads a wheel that is not installed."""
    if missing := missing_wheels(found):
        files = " ".join(f"-r {path}" for path in sorted({wheel.WHEELS[name].requirements for name in missing}))
        raise UserError(
            f"{found.path}: the data {noun(len(missing), 'wheel')} {', '.join(missing)} must be installed first: "
            f"{sys.executable} -m pip install --no-deps {files}"
        )


def check_tables(found: Study) -> None:
    """Raises UserError if a published table is missing."""
    for number, path in enumerate(found.external):
        if not Path(path).is_file():
            raise UserError(f"{found.path}: external.{number}.table: there is no file {path}")


def absent(found: Study, entries: str) -> dict[str, list[str]]:
    """Missing folders and files, each with the ids that name it, of one of the lists in ENTRIES."""
    wanted: dict[str, list[str]] = {}
    for id, entry in getattr(found, entries).items():
        for source in filter(None, (entry.source, getattr(entry, "collection", None))):
            if path := _lacking(source):
                wanted.setdefault(path, []).append(id)
    return wanted


def check_files(found: Study) -> None:
    """Raises UserError if a folder or file that the study names is missing, or cannot be what it is named for."""
    for entries, what in ENTRIES.items():
        if not (wanted := absent(found, entries)):
            continue
        path, (first, *_) = next(iter(wanted.items()))
        count = len({id for ids in wanted.values() for id in ids})
        key = "path" if entries == "encoders" else "source"
        only = ", or name the others under `only`" if entries == "checkpoints" else ""
        raise UserError(
            f"{found.path}: {count} of {counted(len(getattr(found, entries)), what)} "
            f"{'waits' if count == 1 else 'wait'} for missing files, such as {path} of {first}; put "
            f"{'them' if len(wanted) == 1 else 'each'} there, or give their place in the `{key}` of {first} under "
            f"`{entries}`{only}. Missing: {', '.join(wanted)}"
        )
    check_contents(found)


def check_contents(found: Study) -> None:
    """Raises UserError if a folder or file cannot be what its entry says; the line names the study's key."""
    for id, checkpoint in found.checkpoints.items():
        if checkpoint.source.kind == "local":
            _check_model(checkpoint.source, f"{found.path}: checkpoints ({id}): source.path")
    for id, pairs in found.pairs.items():
        for key in ("source", "collection"):
            source = getattr(pairs, key)
            if isinstance(source, File) and not source.path.endswith(FORMATS):
                raise UserError(
                    f"{found.path}: pairs ({id}): {key}.path: {source.path} must end with one of {', '.join(FORMATS)}"
                )
    for id, task in found.tasks.items():
        if task.source.kind == "folder":
            _check_task(task.source, f"{found.path}: tasks ({id}): source")
    for given in found.encoders.values():
        described(given.source.folder())
    for key, facts in found.file.mine.encoders().items():
        if not facts.is_file():
            raise UserError(
                f"{found.path}: mine.{key}: there is no file {facts}; name the folder of an encoder, which contains it"
            )


def _check_model(source: Local, where: str) -> None:
    listed_weights(source.folder())  # UserError for weights that nobody lists, such as an adapter's
    names = [path.name for path in source.folder().iterdir()]
    parts = {
        "config.json": "config.json" in names,
        "weights (.safetensors or .bin)": has_weights(names),
        "tokenizer": any(name.startswith("tokenizer") or name in TOKENIZERS for name in names),
    }
    if lacking := [part for part, there in parts.items() if not there]:
        raise UserError(
            f"{where}: the folder {source.folder()} has no {' and no '.join(lacking)}; name the folder of a model"
        )


def _check_task(source: FolderSource, where: str) -> None:
    folder, there = source.folder(), _names(source.files())
    wanted = ("corpus.jsonl", "queries.jsonl")
    if lacking := [name for name in wanted if name not in there]:
        below = [path for path in sorted(folder.iterdir()) if all(any(path.glob(f"{name}*")) for name in wanted)]
        hint = f"name its subfolder {', '.join(map(str, below))}" if below else "name a folder in the BEIR layout"
        raise UserError(f"{where}.path: the folder {folder} has no {' and no '.join(lacking)} (nor with .gz); {hint}")
    if f"{source.split}.tsv" not in there:
        splits = sorted({path.name.split(".tsv")[0] for path in (folder / "qrels").glob("*.tsv*")})
        raise UserError(
            f"{where}.split: the folder {folder} has no qrels/{source.split}.tsv (nor with .gz); splits there: "
            f"{', '.join(splits) or 'none'}"
        )


def _names(paths: list[Path]) -> set[str]:
    return {path.name.removesuffix(".gz") for path in paths}


def _lacking(source: BaseModel) -> str | None:
    """The local folder or file that a source names, if it is missing."""
    there = Path.is_dir
    if source.kind == "jsonl" and not source.fetched:
        return None if source.find() else f"{source.folder}/{source.file}"
    if source.kind == "jsonl":
        path = source.repo if source.repo.startswith(("/", "~")) else None
    elif source.kind == "gguf":
        path, there = None if source.wheel else source.file, Path.is_file
    else:
        path = getattr(source, "path", None)
        if isinstance(source, File):
            there = Path.is_file
    return path if path and not there(Path(path).expanduser()) else None
