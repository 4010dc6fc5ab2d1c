"""Whether the tables were gathered from a whole grid: no evaluation that stands behind a mean was left out."""

from collections.abc import Iterator
from pathlib import Path

from retscale.audit.walk import Node, Walk
from retscale.encoder.config import REFERENCE


def check(node: Node, walked: Walk) -> Iterator[tuple[Path, str]]:
    """Every encoder on every task; of the kept ones every step on the tasks of curves; in context every checkpoint."""
    if node.stage != "collect" or node.spec.get("published"):
        return
    read: dict[str, list[Node]] = {}
    for source, rows in node.by_source.items():
        if maker := walked.nodes.get(source):
            for flag in dict.fromkeys(row.name for row in rows):
                read.setdefault(flag, []).append(maker)
    encoders = {_encoder(maker) for flag in ("encoders", "given") for maker in read.get(flag, [])}
    encoders |= {(name, REFERENCE) for name in node.spec.get("references", ())}
    units = node.spec["headline"] | node.spec["in_domain"] | node.spec.get("beside", {})
    tasks = {name for name, parts in units.items() if parts == [name]}
    yield from _missing(node, "scores", read, encoders, tasks | set(node.spec.get("contrasts", ())))
    steps = {
        (*_encoder(maker), str(step))
        for maker in read.get("encoders", [])
        for step in maker.spec["recipe"].get("keep", ())
    }
    yield from _missing(node, "kept", read, steps, set())
    # Which encoder reads which further lengths only the study says.
    yield from _unlisted(node, "lengths", {_encoder(maker) for maker in read.get("lengths", [])} - encoders)
    repeated = node.spec.get("repeats", {}).get("checkpoints", {})  # measured in retrieval alone
    checkpoints = node.spec["checkpoints"].items()
    in_context = {(name,) for name, labels in checkpoints if name not in repeated and labels.get("icl", True)}
    yield from _missing(node, "icl", read, in_context, set())


def _encoder(maker: Node) -> tuple[str, ...]:
    """The checkpoint, the recipe and perhaps the step that a result is of."""
    names = maker.place.names if maker.place else {}
    return tuple(name for part in ("checkpoint", "recipe", "step") if (name := names.get(part)))


def _missing(
    node: Node, flag: str, read: dict[str, list[Node]], encoders: set[tuple[str, ...]], tasks: set[str]
) -> Iterator[tuple[Path, str]]:
    """Each of `encoders` must have a result on each of `tasks`, and on each task that another has one of."""
    results = {(_encoder(maker), maker.place.names["task"]) for maker in read.get(flag, []) if maker.place}
    for task in sorted(tasks | {task for _, task in results}):
        for encoder in sorted(encoders):
            if (encoder, task) not in results:
                yield node.path, f"lists no {flag} of {' / '.join(encoder)} on {task}, which others have"
    yield from _unlisted(node, flag, {encoder for encoder, _ in results} - encoders)


def _unlisted(node: Node, flag: str, encoders: set[tuple[str, ...]]) -> Iterator[tuple[Path, str]]:
    for encoder in sorted(encoders):
        yield node.path, f"lists {flag} of {' / '.join(encoder)}, which it does not list itself"
