"""Figures within the page."""

import base64
from itertools import islice
from pathlib import Path

from retscale.common.files import sha256
from retscale.errors import UserError


def figures(paths: list[Path]) -> list[dict]:
    """Those that show something."""
    return [figure(path) for path in paths if has_marks(path.with_suffix(".csv"))]


def has_marks(csv: Path) -> bool:
    """Whether the table of a figure's marks has a row, as that of pairs has not where no two checkpoints are alike."""
    with csv.open(encoding="utf-8") as lines:
        return len(list(islice(lines, 2))) == 2


def figure(png: Path) -> dict:
    """A figure as a data URI with its caption and alternative text; the SVG, since it prints at any size."""
    parts = {suffix: png.with_suffix(suffix) for suffix in (".svg", ".md", ".txt")}
    for path in parts.values():
        if not path.exists():
            raise UserError(f"{path} is missing beside {png}; delete {png} and run again")
    return {
        "name": png.stem,
        "uri": "data:image/svg+xml;base64," + base64.b64encode(parts[".svg"].read_bytes()).decode(),
        "caption": parts[".md"].read_text(encoding="utf-8").strip(),
        "alt": parts[".txt"].read_text(encoding="utf-8").strip(),
        "sha256": sha256(png),
    }
