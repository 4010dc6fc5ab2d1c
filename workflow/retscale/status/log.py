"""What the end of a job's log says of its last attempt."""

import re
from dataclasses import dataclass
from pathlib import Path

# As the function `attempt` of workflow/rules/messages.smk writes it.
HEADER = re.compile(r"--- attempt \d+, ")
ERROR = re.compile(r"retscale [a-z]+: error: ")
# Enough for the last lines of any log, and for a traceback.
END_BYTES = 16_384


@dataclass(frozen=True)
class Log:
    """`last`: the last line of the last attempt, empty before its first. `error`: its line that says why it failed, or empty.

    `changed`: when the file was last written to, in seconds since the epoch.
    """

    last: str
    error: str
    changed: float


def read(path: Path) -> Log | None:
    """None if there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - END_BYTES))
            end = file.read().decode(errors="replace")
        changed = path.stat().st_mtime
    except OSError:
        return None
    lines = last_attempt(end.splitlines())
    return Log(lines[-1] if lines else "", error(lines), changed)


def last_attempt(lines: list[str]) -> list[str]:
    """The lines after the last header, blank ones left out."""
    start = max((number for number, line in enumerate(lines, 1) if HEADER.match(line)), default=0)
    return [line.strip("\r") for line in lines[start:] if line.strip()]


def error(lines: list[str]) -> str:
    """The line that says why the attempt failed: retscale's own, or the exception of a traceback."""
    if own := [line for line in lines if ERROR.match(line)]:
        return own[-1]
    start = max(
        (number for number, line in enumerate(lines) if line.startswith("Traceback (most recent")), default=None
    )
    return "" if start is None else next((line for line in lines[start + 1 :] if not line.startswith(" ")), "")
