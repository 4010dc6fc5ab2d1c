"""What an audit proves by doing it again: `--spot-check` and `--replay`."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from retscale.audit import commits, rerun, spot_check
from retscale.audit.commits import Commits
from retscale.audit.findings import Findings
from retscale.audit.replay import Near, replay
from retscale.audit.rerun import Nodes
from retscale.audit.walk import Node
from retscale.common.phrase import hint
from retscale.errors import UserError
from retscale.stages import STAGES

EACH = ""  # of `replay`: one job of each stage
Say = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """`spot_check`: how many evaluations are made again; `replay`: a stage or a point whose jobs are. None: not asked.

    Without a `seed` the draw is another each time, so that nobody knows what need not be right.
    """

    spot_check: int | None = None
    replay: str | None = None
    seed: int | None = None


def prove(nodes: Nodes, findings: Findings, asked: Asked, say: Say) -> None:
    """Do again what is asked for, `say` each line as it is known, and add what is wrong or unknown to the `findings`.

    UserError if there is no such job.
    """
    if asked.spot_check is None and asked.replay is None:
        return
    made_in, seed = Commits(), secrets.randbelow(10**6) if asked.seed is None else asked.seed
    replayed = [] if asked.replay is None else chosen(asked.replay, nodes, np.random.default_rng(seed))
    commits.judge(nodes.values(), made_in, findings)
    if asked.spot_check is not None:
        say(f"rescored  {spot_check.rescored(nodes, findings)}")
        drawn = spot_check.drawn(nodes, asked.spot_check, seed)
        say(
            f"spot      {len(drawn)} of {len(spot_check.evaluations(nodes))} evaluations, --seed {seed}; {spot_check.RULE}"
        )
        _replay(drawn, nodes, made_in, findings, say, spot_check.near)
    if replayed:
        say(f"replay    {len(replayed)} of {len(nodes)} jobs, --seed {seed}; the bits must be equal")
        _replay(replayed, nodes, made_in, findings, say)


def chosen(what: str, nodes: Nodes, random: np.random.Generator) -> list[Node]:
    """The jobs to replay, each after those that it rests on: one of a stage or of EACH; or all behind a point.

    UserError if `what` is neither a stage of these records nor CHECKPOINT/RECIPE[/TASK] of an evaluation.
    """
    stages = [stage for stage in STAGES if what in (stage, EACH)]
    by_stage = [[nodes[path] for path in sorted(nodes) if nodes[path].stage == stage] for stage in stages]
    if any(by_stage):
        return [jobs[random.integers(len(jobs))] for jobs in by_stage if jobs]
    named = [(node, name) for node in spot_check.evaluations(nodes) for name in _names(node)]
    if ends := [node for node, name in named if name == what]:
        return list({node.path: node for end in ends for node in rerun.behind(end, nodes)}.values())
    raise UserError(f"--replay: there is no job of {what!r}{hint(what, {*STAGES, *(name for _, name in named)})}")


def _names(node: Node) -> Iterator[str]:
    """What an evaluation goes by: `d24/own-mini/fiqa`, and the point that it is of, `d24/own-mini`."""
    if node.place:
        name = rerun.label(node)
        yield from (name, name.rpartition("/")[0])


def _replay(
    jobs: Iterable[Node], nodes: Nodes, made_in: Commits, findings: Findings, say: Say, near: Near | None = None
) -> None:
    for node in jobs:
        replayed = replay(node, nodes, made_in, near)
        say(f"          {replayed.line()}")
        if replayed.equal is False:
            findings.blame(node.path, f"is not what its job makes, run again: {replayed.why}")
        elif replayed.equal is None:
            findings.doubt(f"{node.path}: {replayed.why}")
