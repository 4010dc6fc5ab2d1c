"""The records that stand behind results, and who made them."""

import os
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from retscale.common.canonical import canonical
from retscale.common.files import sha256, sha256_of
from retscale.errors import UserError
from retscale.provenance import record
from retscale.provenance.schema import OlderRecord, Record

SHOWN = 16  # characters of what a figure was made from, in its caption; the metadata have all


def records(primaries: Iterable[Path]) -> Iterator[Record | OlderRecord | None]:
    """Those of `primaries` and of everything that these were made from, each once; None for one that cannot be read."""
    return (saved for _, saved in by_path(primaries))


def by_path(primaries: Iterable[Path]) -> Iterator[tuple[Path, Record | OlderRecord | None]]:
    """The same, each with the path that it lies at."""
    queue = deque(os.path.normpath(record.path_of(path)) for path in primaries)
    seen = set(queue)
    while queue:
        path = Path(queue.popleft())
        try:
            saved = record.parse(path)
        except (OSError, UserError):
            yield path, None
            continue
        yield path, saved
        makers = {os.path.normpath(path.parent / row["record"]) for row in saved["inputs"] if row["record"]}
        queue.extend(sorted(makers - seen))
        seen |= makers


def code(primaries: Iterable[Path]) -> dict[str, list[dict]]:
    """For each stage behind `primaries` the versions of its code, by how many results each has made.

    Each names its digest and the commits that it was run from, the edited ones with a +.
    """
    results: Counter[tuple[str, str]] = Counter()
    commits = defaultdict(set)
    for saved in records(primaries):
        if saved:
            version = saved["stage"], saved["code_sha256"]
            results[version] += 1
            commits[version].add(saved["git"]["commit"] + "+" * bool(saved["git"]["dirty"]))
    by_stage: dict[str, list[dict]] = {}
    for (stage, digest), count in sorted(results.items(), key=lambda item: (item[0][0], -item[1], item[0][1])):
        version = {"code_sha256": digest, "results": count, "commits": sorted(commits[stage, digest])}
        by_stage.setdefault(stage, []).append(version)
    return by_stage


def made_from(spec: dict, inputs: Iterable[tuple[str, Path]]) -> str:
    """What identifies a result before it is there: sha256 over the spec of its job and the digests of its inputs' records.

    `inputs` are pairs of flag and file; a file that no job made counts by its sha256.
    """
    sources = sorted((flag, _identity(path)) for flag, path in inputs)
    return sha256_of(canonical({"spec": spec, "sources": sources}).encode())


def root(primary: Path) -> str | None:
    """The digest of the record of `primary`, which vouches for everything behind it; None if it has none."""
    return record.digest(record.read(primary)) if record.path_of(primary).exists() else None


def _identity(path: Path) -> str:
    return root(path) or sha256(path)
