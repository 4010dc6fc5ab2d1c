"""Reading published results: tables, and folders of mteb."""

from pathlib import Path

from retscale.external import mteb_results, table
from retscale.external.config import Published
from retscale.external.table import Row, require_consistent


def grouped(paths: list[Path]) -> list[tuple[Path, list[Path]]]:
    """Each table with the files of mteb that follow it; none if the table has the scores itself."""
    groups: list[tuple[Path, list[Path]]] = []
    for path in paths:
        if path.suffix == ".csv":
            groups.append((path, []))
        else:
            groups[-1][1].append(path)
    return groups


def read_all(paths: list[Path], tables: list[Published]) -> list[tuple[list[Row], int]]:
    """For each table, the rows of its group and the number of values on other tasks. UserError if tables contradict each
    other."""
    contents = [
        mteb_results.read_with_sizes(results, path, published) if results else table.read(path, published)
        for (path, results), published in zip(grouped(paths), tables, strict=True)
    ]
    require_consistent([row for rows, _ in contents for row in rows])
    return contents
