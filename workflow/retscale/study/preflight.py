"""The local files that a study reads, and which of them are missing."""

import sys
from pathlib import Path

from pydantic import BaseModel

from retscale.checkpoint.config import Local
from retscale.common import wheel
from retscale.common.phrase import counted, noun
from retscale.encoder.config import EncoderFolder
from retscale.encoder.folder import describe
from retscale.errors import UserError
from retscale.finetune import tracking
from retscale.model.weight_files import has_weights, listed_weights
from retscale.pairs.config import FORMATS, File
from retscale.study import cuts
from retscale.study.study import Study
from retscale.task.config import FolderSource

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


def missing_wheels(study: Study) -> list[str]:
    """The data wheels that the study reads and that are not installed."""
    sources = [entry.source for entry in study.text.sources] if study.text else []
    sources += [
        entry.source
        for entries in (study.checkpoints, study.encoders, study.pairs, study.tasks, study.icl, study.held_out)
        for entry in entries.values()
    ]
    names = {name for source in sources if (name := getattr(source, "wheel", None))}
    return sorted(name for name in names if not wheel.installed(name))


def check_wheels(study: Study) -> None:
    """UserError if the study reads a wheel that is not installed."""
    if missing := missing_wheels(study):
        files = " ".join(f"-r {path}" for path in sorted({wheel.WHEELS[name].requirements for name in missing}))
        raise UserError(
            f"{study.path}: the data {noun(len(missing), 'wheel')} {', '.join(missing)} must be installed first: "
            f"{sys.executable} -m pip install --no-deps {files}"
        )


def check_tracker(study: Study) -> None:
    """UserError if the package of the study's tracker is not installed."""
    if study.file.tracker:
        tracking.require(study.file.tracker, f"{study.written.place('tracker')}: tracker")


def check_tables(study: Study) -> None:
    """Raises UserError if published results are missing."""
    if study.published:
        for key in ("models", "scores"):
            if not Path(path := getattr(study.published, key)).exists():
                raise UserError(f"{study.written.place('published')}: published.{key}: there is no file {path}")
    for number, path in enumerate(study.external_tables):
        if not Path(path).is_file():
            raise UserError(f"{study.written.place('external')}: external.{number}.table: there is no file {path}")
    for number, entry in enumerate(study.file.external):
        if entry.results and not any(Path(entry.results).rglob("*.json")):
            raise UserError(
                f"{study.written.place('external')}: external.{number}.results: there is no folder {entry.results} with files "
                "of mteb"
            )


def missing_files(study: Study, entries: str) -> dict[str, list[str]]:
    """Missing folders and files, each with the ids that name it, of one of the lists in ENTRIES."""
    missing: dict[str, list[str]] = {}
    for id, entry in getattr(study, entries).items():
        for source in filter(None, (entry.source, getattr(entry, "collection", None))):
            if path := _missing_path(source):
                missing.setdefault(path, []).append(id)
    return missing


def check_files(study: Study) -> None:
    """Raises UserError if a folder or file that the study names is missing, or cannot be what it is named for."""
    for entries, label in ENTRIES.items():
        if not (missing := missing_files(study, entries)):
            continue
        path, (first_id, *_) = next(iter(missing.items()))
        count = len({id for ids in missing.values() for id in ids})
        key = "path" if entries == "encoders" else "source"
        or_skip = ", or name the others under `only`" if entries == "checkpoints" else ""
        raise UserError(
            f"{study.written.place(entries)}: {count} of {counted(len(getattr(study, entries)), label)} "
            f"{'waits' if count == 1 else 'wait'} for missing files, such as {path} of {first_id}; put "
            f"{'them' if len(missing) == 1 else 'each'} there, or give their place in the `{key}` of {first_id} under "
            f"`{entries}`{or_skip}. Missing: {', '.join(missing)}"
        )
    check_contents(study)
    cuts.check_sizes(study)


def check_contents(study: Study) -> None:
    """Raises UserError if a folder or file cannot be what its entry says; the line names the study's key."""
    for id, checkpoint in study.checkpoints.items():
        if checkpoint.source.kind == "local":
            _check_model(checkpoint.source, f"{study.written.place('checkpoints')}: checkpoints ({id}): source.path")
    for id, pairs in study.pairs.items():
        for key in ("source", "collection"):
            source = getattr(pairs, key)
            if isinstance(source, File) and not source.path.endswith(FORMATS):
                raise UserError(
                    f"{study.written.place('pairs')}: pairs ({id}): {key}.path: {source.path} must end with one of {', '.join(FORMATS)}"
                )
    for id, task in study.tasks.items():
        if task.source.kind == "folder":
            _check_task(task.source, f"{study.written.place('tasks')}: tasks ({id}): source")
    for encoder in study.encoders.values():
        describe(encoder.source.folder())
    for key, encoder_json in study.file.mine.encoders().items():
        if not encoder_json.is_file():
            raise UserError(
                f"{study.written.place('mine')}: mine.{key}: there is no file {encoder_json}; name the folder of an encoder, which contains it"
            )


def _check_model(source: Local, where: str) -> None:
    listed_weights(source.folder())  # UserError for weights that nobody lists, such as an adapter's
    names = [path.name for path in source.folder().iterdir()]
    present = {
        "config.json": "config.json" in names,
        "weights (.safetensors or .bin)": has_weights(names),
        "tokenizer": any(name.startswith("tokenizer") or name in TOKENIZERS for name in names),
    }
    if missing := [part for part, ok in present.items() if not ok]:
        raise UserError(
            f"{where}: the folder {source.folder()} has no {' and no '.join(missing)}; name the folder of a model"
        )


def _check_task(source: FolderSource, where: str) -> None:
    folder, names = source.folder(), _names(source.files())
    required = ("corpus.jsonl", "queries.jsonl")
    if missing := [name for name in required if name not in names]:
        subfolders = [path for path in sorted(folder.iterdir()) if all(any(path.glob(f"{name}*")) for name in required)]
        hint = (
            f"name its subfolder {', '.join(map(str, subfolders))}"
            if subfolders
            else "name a folder in the BEIR layout"
        )
        raise UserError(f"{where}.path: the folder {folder} has no {' and no '.join(missing)} (nor with .gz); {hint}")
    if f"{source.split}.tsv" not in names:
        splits = sorted({path.name.split(".tsv")[0] for path in (folder / "qrels").glob("*.tsv*")})
        raise UserError(
            f"{where}.split: the folder {folder} has no qrels/{source.split}.tsv (nor with .gz); splits there: "
            f"{', '.join(splits) or 'none'}"
        )


def _names(paths: list[Path]) -> set[str]:
    return {path.name.removesuffix(".gz") for path in paths}


def _missing_path(source: BaseModel) -> str | None:
    """The local folder or file that a source names, if it is missing."""
    exists = Path.is_dir
    if source.kind == "jsonl" and not source.needs_fetch:
        return None if source.find() else f"{source.folder}/{source.file}"
    if source.kind == "jsonl":
        path = source.repo if source.repo.startswith(("/", "~")) else None
    elif source.kind == "gguf":
        path, exists = None if source.wheel else source.file, Path.is_file
    elif isinstance(source, EncoderFolder) and source.wheel:
        path = None
    else:
        path = getattr(source, "path", None)
        if isinstance(source, File):
            exists = Path.is_file
    return path if path and not exists(Path(path).expanduser()) else None
