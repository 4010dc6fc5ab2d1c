"""All that a study takes from what others published."""

from pathlib import Path

from retscale.external import mteb_results, table
from retscale.external.config import Published
from retscale.external.table import Row, require_consistent


def grouped(paths: list[Path]) -> list[tuple[Path, list[Path]]]:
    """Each table with the files of mteb that follow it: none where the scores are in the table itself."""
    groups: list[tuple[Path, list[Path]]] = []
    for path in paths:
        if path.suffix == ".csv":
            groups.append((path, []))
        else:
            groups[-1][1].append(path)
    return groups


def read_all(paths: list[Path], tables: list[Published]) -> list[tuple[list[Row], int]]:
    """The rows of each table's group, and how many of its values are of other tasks; UserError also for what only two of
    them show together."""
    contents = [
        mteb_results.read_with_sizes(results, path, published) if results else table.read(path, published)
        for (path, results), published in zip(grouped(paths), tables, strict=True)
    ]
    require_consistent([row for rows, _ in contents for row in rows])
    return contents
