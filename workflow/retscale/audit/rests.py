"""What rests on a file or a record: all that was made from it, at any distance."""

from collections import Counter
from pathlib import Path

from retscale.audit.walk import Walk
from retscale.stages import STAGES


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
    """In words, by stage: `5 evaluate, collect, fit, 8 figure, report`; empty if nothing does."""
    counts = Counter(walked.nodes[path].stage for path in above(culprit, walked) if path in walked.nodes)
    order = {stage: number for number, stage in enumerate(STAGES)}
    stages = sorted(counts, key=lambda stage: order.get(stage, len(order)))
    return ", ".join(f"{counts[stage]} {stage}" if counts[stage] > 1 else stage for stage in stages)
