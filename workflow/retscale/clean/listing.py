"""Files that nobody names, listed: whole folders where all in them is of this kind."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

A_LINK = "a symbolic link, which no job makes"
AT_WORK = "a job is at work there"


@dataclass(frozen=True)
class Orphan:
    """A file, or a folder with all that is in it. `sizes`: the bytes of each file by its device and inode."""

    path: Path
    files: int
    sizes: dict[tuple[int, int], int]

    @property
    def bytes(self) -> int:
        return sum(self.sizes.values())


@dataclass
class Listing:
    """`orphans` by name; `spared`: why nothing is listed of a place, by its path."""

    orphans: list[Orphan] = field(default_factory=list)
    spared: dict[Path, str] = field(default_factory=dict)

    def add(self, other: "Listing") -> None:
        self.orphans += other.orphans
        self.spared |= other.spared

    @property
    def files(self) -> int:
        return sum(orphan.files for orphan in self.orphans)

    @property
    def bytes(self) -> int:
        """Each file once, however many names it has."""
        return sum({inode: size for orphan in self.orphans for inode, size in orphan.sizes.items()}.values())


def orphan(path: Path) -> Orphan:
    """Of a file or a folder, as they lie there; no link is followed."""
    if path.is_symlink() or not path.is_dir():
        stat = path.stat(follow_symlinks=False)
        return Orphan(path, 1, {(stat.st_dev, stat.st_ino): stat.st_size})
    return _whole(path, [orphan(Path(entry)) for entry in entries(path)])


def _whole(path: Path, parts: Iterable[Orphan]) -> Orphan:
    sizes = {inode: size for part in parts for inode, size in part.sizes.items()}
    return Orphan(path, sum(part.files for part in parts), sizes)


def entries(folder: Path) -> list[os.DirEntry]:
    """By name; none where there is no folder."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []


def listing(
    root: Path, folders: set[str], is_named: Callable[[str], bool], is_held: Callable[[list[Path]], bool]
) -> Listing:
    """What lies below `root` and `is_named` (a relative path) denies, outside of folders that are held and of links.

    `folders` (relative) are named themselves, and so are never listed as a whole. `is_held`: whether of the entries of a
    folder one says that a job is at work.
    """

    def look(folder: str) -> Listing:
        result, children = Listing(), entries(root / folder)
        if is_held([Path(entry) for entry in children]):
            return Listing(spared={root / folder: AT_WORK})
        for entry in children:
            path = os.path.join(folder, entry.name)
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                result.add(look(path))
            elif path in folders or is_named(path):
                continue
            elif entry.is_symlink():
                result.spared[Path(entry)] = A_LINK
            else:
                result.orphans.append(orphan(Path(entry)))
        if folder and folder not in folders and {one.path for one in result.orphans} == set(map(Path, children)):
            return Listing([_whole(root / folder, result.orphans)])
        return result

    return look("")
