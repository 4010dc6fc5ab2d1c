"""Files among the results of a study that nothing on the page was made from, such as those of a checkpoint removed."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from retscale.errors import UserError
from retscale.paths import Results
from retscale.provenance import record
from retscale.provenance.behind import by_path
from retscale.report.origin import named
from retscale.stages import STAGES, kept


def unused(inputs: Mapping) -> dict[str, int]:
    """Their `files` and `bytes`, by the records behind the inputs; none where a record cannot be read, so nobody knows."""
    root, used = Path(inputs["collect"]).parent.parent, {Results().report()}
    for path, saved in by_path(path for _, path in named(inputs)):
        if saved is None:
            return {"files": 0, "bytes": 0}
        used |= set(_own(root, path, saved))
        for step in _steps_kept(saved):  # of which some have no scores
            further = record.path_of(path.parent / kept(step) / STAGES[saved["stage"]].primary)
            try:
                used |= set(_own(root, further, record.parse(further)))
            except UserError:
                continue
    used.add(str(record.path_of(Path(Results().report()))))
    sizes = [path.lstat().st_size for path in _files(root) if str(path.relative_to(root)) not in used]
    return {"files": len(sizes), "bytes": sum(sizes)}


def _own(root: Path, path: Path, saved: Mapping) -> Iterator[str]:
    """The record at `path` and its outputs, relative to the results."""
    for name in (path.name, *(row["path"] for row in saved["outputs"])):
        yield os.path.relpath(path.parent / name, root)


def _steps_kept(saved: Mapping) -> list[int]:
    recipe = saved["spec"].get("recipe") if STAGES[saved["stage"]].further else None
    return recipe.get("keep", []) if isinstance(recipe, dict) else []


def _files(root: Path) -> Iterator[Path]:
    """All files but those that jobs are at work on, whose folders or names begin with a dot."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if not name.startswith("."))
