"""What tells a file or folder from a later state of itself, without reading it."""

import time
from collections.abc import Iterable
from pathlib import Path

# By path its size, times of change and inode; None: there is none.
States = dict[str, list[int] | None]
# A file that was written this recently may be written again without a change of its times.
SETTLED_NS = 2 * 10**9


def states(paths: Iterable[Path]) -> States:
    """As they are now."""
    return {str(path): _state(path) for path in paths}


def settled(seen: States) -> bool:
    """Whether each has been as it is for so long that a later state will differ."""
    latest = max((max(state[1:3]) for state in seen.values() if state), default=0)
    return latest + SETTLED_NS < time.time_ns()


def _state(path: Path) -> list[int] | None:
    try:
        stat = path.stat()
    except (OSError, ValueError):  # what a damaged list names may be no path
        return None
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
