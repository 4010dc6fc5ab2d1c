"""What lies among the results and logs of a study and is of none of its jobs."""

import os
from pathlib import Path

from retscale import paths
from retscale.clean.listing import AT_WORK, Listing, listing
from retscale.clean.named import label_of, named
from retscale.errors import UserError
from retscale.provenance import lock
from retscale.study import base, load
from retscale.study.study import Study

CONFIG = Path("config")


def sharing(study: Study) -> list[Study]:
    """This study, and those of config/ that have its name and so share its results; UserError if one is invalid."""
    others = [path for path in sorted(CONFIG.glob("*.yaml")) if not os.path.samefile(path, study.path)]
    return [study, *(load.study(path) for path in others if _name(path) == study.name)]


def _name(path: Path) -> object:
    try:
        return base.read(path).keys.get("name")
    except UserError:
        return None  # no study


def orphans(studies: list[Study]) -> Listing:
    """What none of these studies names, which have one name; UserError if their results or logs are behind a link."""
    results, logs = paths.folder(studies[0].name), paths.logs(studies[0].name)
    for folder in (results, logs):
        require_no_link(folder)
    names = named(studies, results)
    result = listing(results, names.folders(), names.is_result, at_work)
    busy = [os.path.relpath(path, results) for path, why in result.spared.items() if why == AT_WORK]

    def is_log(path: str) -> bool:
        label = label_of(path)
        return names.is_log(path) or any(f"{label}/".startswith(f"{folder}/") or folder == "." for folder in busy)

    result.add(listing(logs, names.log_folders(), is_log, lambda _: False))
    return result


def require_no_link(path: Path) -> None:
    """UserError if a part of this relative path is a symbolic link: nothing behind one is looked at, or removed."""
    for part in (path, *path.parents):
        if part.is_symlink():
            raise UserError(f"{part} is a symbolic link, which `clean` does not follow; clean up behind it by hand")


def at_work(entries: list[Path]) -> bool:
    """Whether a process is, or may be, at work in the folder with these entries."""
    return any(_is_held(path) for path in entries if path.name.startswith(".") and ".lock" in path.name)


def _is_held(path: Path) -> bool:
    """Of a lock; or of the mark that stands for it where the file system has none."""
    if path.name.endswith(".lock"):
        return lock.is_held(path)
    try:
        return not lock.Owner.of(path).is_dead()
    except ValueError:
        return False
