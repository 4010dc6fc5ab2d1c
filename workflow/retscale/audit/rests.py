"""What rests on a file or a record: all that was made from it, at any distance."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from retscale.audit.walk import Walk


def above(culprit: Path, walked: Walk) -> list[Path]:
    """The records of what was made from the culprit, the nearest first."""
    readers = (*walked.readers.get(culprit, []), *walked.consumers.get(culprit, []))
    seen = dict.fromkeys(node.path for node in readers)
    for path in (queue := list(seen)):
        for node in walked.consumers.get(path, []):
            if node.path not in seen:
                seen[node.path] = None
                queue.append(node.path)
    return list(seen)


def rests_on(culprit: Path, walked: Walk) -> str:
    """In words: `4 evaluate, collect, fit, 8 figure, report`; empty if nothing does."""
    return _words(walked.nodes[path].stage for path in above(culprit, walked) if path in walked.nodes)


def _words(stages: Iterable[str]) -> str:
    return ", ".join(f"{count} {stage}" if count > 1 else stage for stage, count in Counter(stages).items())
