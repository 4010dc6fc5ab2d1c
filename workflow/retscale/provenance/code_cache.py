"""The digest of a module's code, taken once and again only when one of its files or folders has another state.

To take it costs a job half a second, to look at the files a few milliseconds. What is known lies in `.state/code`, one file
for each module, and may be deleted at any time. An audit does not use it.
"""

import json
import platform
from contextlib import suppress
from pathlib import Path

from retscale.common.files import atomic_write
from retscale.provenance import code
from retscale.provenance.states import States, settled, states

STATE = Path(".state/code")


def digest(module: str, package: Path = code.PACKAGE) -> tuple[str, States]:
    """That of `code.digest`, and the states of the files that it was taken from."""
    about = {"package": str(package), "python": platform.python_version()}
    place = STATE / f"{module}.json"
    known = _read(place)
    if known and known["about"] == about and states(map(Path, known["states"])) == known["states"]:
        return known["digest"], known["states"]
    before = states(code.covered(module, package))
    value = code.digest(module, package)
    if settled(before) and states(map(Path, before)) == before:
        # A folder that cannot be written to only costs time.
        with suppress(OSError), atomic_write(place) as file:
            file.write(json.dumps({"about": about, "digest": value, "states": before}).encode())
    return value, before


def _read(place: Path) -> dict | None:
    try:
        known = json.loads(place.read_text(encoding="utf-8"))
        return known if known.keys() == {"about", "digest", "states"} and known["states"] else None
    except (OSError, ValueError, AttributeError):
        return None
