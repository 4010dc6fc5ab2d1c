"""A folder in which a job runs again, and finds its recorded inputs and nothing else of its study.

Below the mirror each file has the path that it has on the machine, so every relative path in a spec, a command or a
record leads there to the same file. What an earlier run left elsewhere (results, stored tokens, vectors, states) is not
there.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from retscale.audit.rerun import Nodes, behind
from retscale.audit.walk import Node


def place(path: Path, home: Path) -> Path:
    """Where the file `path` lies in the mirror `home`."""
    return home / Path(os.path.abspath(path)).relative_to("/")


def files(node: Node, nodes: Nodes) -> set[Path]:
    """What the job of a record may read of its study: what was made with its inputs, and all records behind them, since
    figures and the report name the code that made what they show.

    A model's tokenizer is no listed input of `tokens`, which compares it with the card.
    """
    makers = [nodes[path] for path in node.by_source if path in nodes and path != node.path]
    made = {file for maker in makers for file in maker.outputs}
    return made | {other.path for other in behind(node, nodes)} - {node.path}


def own_files(node: Node) -> set[Path]:
    """What it reads beside: files that no job made, named by a path from the working folder."""
    return {read.path for read in node.inputs if not read.record and not read.absolute}


def make(home: Path, work: Path, inputs: Iterable[Path], own: Iterable[Path]) -> None:
    """Fill the mirror `home` of the working folder `work` with links.

    Of a folder of `own` files all is there, since a model is used in its place, and its card holds that place.
    """
    place(work, home).mkdir(parents=True)
    around = {Path(os.path.abspath(work)), *Path(os.path.abspath(work)).parents}
    for path in sorted({file if Path(os.path.abspath(file)).parent in around else file.parent for file in own}):
        _link(path, home)
    for path in inputs:
        _link(path, home)


def _link(path: Path, home: Path) -> None:
    link = place(path, home)
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.abspath(path))
