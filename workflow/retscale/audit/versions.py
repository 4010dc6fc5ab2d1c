"""Which code made the results: this clone's, another version, or several."""

from collections import defaultdict
from functools import cache

from retscale.audit.walk import Node, Walk
from retscale.common.phrase import counted
from retscale.provenance import code
from retscale.stages import STAGES


def compare(walked: Walk) -> None:
    """Notes on results of other code than this clone's, and of several versions; a doubt for older records."""
    made: dict[str, dict[str, list[Node]]] = defaultdict(lambda: defaultdict(list))
    for node in walked.nodes.values():
        if node.stage in STAGES:
            made[node.stage][node.content["code_sha256"]].append(node)
    for stage, versions in sorted(made.items()):
        here = _here(stage)
        for digest, nodes in versions.items():
            if digest != here:
                walked.findings.note(
                    f"{stage}: {len(nodes)} made by code other than this clone's ({', '.join(_commits(nodes))})"
                )
        if len(versions) > 1:
            parts = ", ".join(f"{len(nodes)} at {' or '.join(_commits(nodes))}" for nodes in versions.values())
            walked.findings.note(f"{stage}: made by {len(versions)} versions of the code: {parts}")
    if older := [node for node in walked.nodes.values() if node.older]:
        walked.findings.doubt(
            f"{counted(len(older), 'record')}, such as {older[0].path}, are of an older version, which does not vouch "
            "for other records: run the study again with this one"
        )


def _commits(nodes: list[Node]) -> list[str]:
    """Where the code was when it made these."""
    states = (node.content["git"] for node in nodes)
    return sorted({f"commit {state['commit'][:12]}" + ", edited" * bool(state["dirty"]) for state in states})


@cache
def _here(stage: str) -> str:
    return code.digest(f"retscale.{stage}.run")
