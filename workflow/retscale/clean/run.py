"""`retscale clean STUDY... --orphans`: list what no study names, and remove it if told to."""

import argparse
import os
import shutil
from pathlib import Path

from retscale.clean import stores
from retscale.clean.listing import AT_WORK, Listing, Orphan, entries
from retscale.clean.orphans import at_work, orphans, require_no_link, sharing
from retscale.common.terminal import answer
from retscale.plan.formatting import size, table
from retscale.study import load
from retscale.study.study import Study


def main(arguments: argparse.Namespace) -> int:
    """Print each file or folder with its bytes, and remove it only with --delete."""
    by_name: dict[str, list[Study]] = {}
    for path in arguments.studies:
        study = load.study(path)
        by_name.setdefault(study.name, []).extend(sharing(study))
    listing = Listing()
    for studies in by_name.values():
        listing.add(orphans(studies))
    listing.add(stores.orphans(listing.orphans))
    if arguments.delete:
        remove(listing)
    for line in lines(listing, list(dict.fromkeys(str(one.path) for group in by_name.values() for one in group))):
        answer(line)
    if listing.orphans:
        answer("removed" if arguments.delete else "nothing is removed; to remove it, add --delete")
    return 0


def lines(listing: Listing, files: list[str]) -> list[str]:
    """`files` of the studies."""
    rows = [[str(one.path), f"{one.files:,}", size(one.bytes)] for one in listing.orphans]
    rows += [["in all", f"{listing.files:,}", size(listing.bytes)]] if rows else []
    shown = table(["named by no study", "files", "bytes"], rows) if rows else []
    spared = [f"left alone: {path}: {why}" for path, why in listing.spared.items()]
    names = ", ".join(files)
    return [*shown, *spared] + ([] if rows else [f"no orphans: everything there is of {names}"])


def remove(listing: Listing) -> None:
    """Remove the orphans; what a job has come to work on since then is left, and moved to those that are `spared`."""
    for one in list(listing.orphans):
        if is_held(one):
            listing.orphans.remove(one)
            listing.spared[one.path] = AT_WORK
            continue
        require_no_link(one.path)
        if one.path.is_dir():
            shutil.rmtree(one.path)
        else:
            one.path.unlink(missing_ok=True)


def is_held(one: Orphan) -> bool:
    """Whether a job is at work in the folder of an orphan, or below it."""
    below = [(Path(folder, name) for name in names) for folder, _, names in os.walk(one.path)]
    return any(at_work(list(paths)) for paths in ([Path(entry) for entry in entries(one.path.parent)], *below))
