"""Where the boxes of a graph stand: each in the row of its rank, edges through rows of others in gaps of their own."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from retscale.lineage.graph import Graph, Group

Through = tuple[Group, Group, int]  # an edge where it passes the row of this rank
Node = Group | Through
SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """`rows` from the first rank to the last, each from left to right; `chains`: the nodes of each edge, end to end."""

    rows: list[list[Node]]
    chains: list[list[Node]]


def layout(graph: Graph) -> Layout:
    """Of the edges that do not follow from others. In each row nodes are near those that they are connected with."""
    ranks = graph.ranks()
    rows: list[list[Node]] = [[] for _ in range(max(ranks.values()) + 1)]
    for group in graph.boxes:
        rows[ranks[group]].append(group)
    chains: list[list[Node]] = []
    order = {group: number for number, group in enumerate(graph.boxes)}
    for a, b in sorted(graph.reduced(), key=lambda edge: (order[edge[0]], order[edge[1]])):
        passed: list[Node] = [(a, b, rank) for rank in range(ranks[a] + 1, ranks[b])]
        for node, rank in zip(passed, range(ranks[a] + 1, ranks[b]), strict=True):
            rows[rank].append(node)
        chains.append([a, *passed, b])
    near: dict[Node, list[Node]] = {node: [] for row in rows for node in row}
    for chain in chains:
        for one, other in pairwise(chain):
            near[one].append(other)
            near[other].append(one)
    return Layout(fewest_crossings(rows, chains, near), chains)


def fewest_crossings(
    rows: list[list[Node]], chains: list[list[Node]], near: dict[Node, list[Node]]
) -> list[list[Node]]:
    """The best of SWEEPS orders, down and up in turn, each row sorted by the mean place of its neighbors."""
    best, fewest = rows, crossings(rows, chains)
    for sweep in range(SWEEPS):
        rows = [list(row) for row in rows]
        for row in rows if sweep % 2 == 0 else reversed(rows):
            place = {node: number / max(len(each) - 1, 1) for each in rows for number, node in enumerate(each)}
            row.sort(key=lambda node: _mean([place[other] for other in near[node]], place[node]))
        if (count := crossings(rows, chains)) < fewest:
            best, fewest = rows, count
    return best


def _mean(values: Iterable[float], default: float) -> float:
    values = list(values)
    return sum(values) / len(values) if values else default


def crossings(rows: list[list[Node]], chains: list[list[Node]]) -> int:
    """How many pairs of edges cross between two rows."""
    place = {node: (rank, number) for rank, row in enumerate(rows) for number, node in enumerate(row)}
    steps = sorted({(place[a], place[b]) for chain in chains for a, b in pairwise(chain)})
    return sum(
        one[0][0] == other[0][0] and one[0][1] < other[0][1] and one[1][1] > other[1][1]
        for number, one in enumerate(steps)
        for other in steps[number + 1 :]
    )
