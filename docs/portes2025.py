"""What does not add up in Portes et al. 2025, computed from the catalog: `python docs/portes2025.py` writes the page.

A test compares page and program, so neither can change alone.
"""

from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from retscale.checkpoint.config import Checkpoint
from retscale.study import catalog

PAGE = Path(__file__).with_suffix(".md")
NEAR = 1.25  # FLOPs within this ratio are called equal


class Size(NamedTuple):
    """A size of the paper: parameters that it prints (or that its tokens imply), and the shape in its table 1."""

    printed: int
    implied: bool
    width: int
    heads: int
    layers: int


SIZES = {
    "125M": Size(151_000_000, False, 768, 12, 12),
    "350M": Size(367_000_000, False, 1024, 16, 24),
    "760M": Size(749_000_000, False, 1536, 12, 24),
    "1B": Size(1_260_000_000, False, 2048, 16, 24),
    "3B": Size(2_460_000_000, True, 2560, 20, 32),
    "7B": Size(7_000_000_000, True, 4096, 32, 32),
}


class Cell(NamedTuple):
    """A cell of table 2: its label in tokens per parameter, its tokens as printed, its parameters as deduced."""

    id: str
    size: str
    label: int
    tokens: int
    n_params: int

    @property
    def flops(self) -> float:
        return 6 * self.n_params * self.tokens

    @property
    def printed_flops(self) -> float:
        return 6 * SIZES[self.size].printed * self.tokens


def cells() -> list[Cell]:
    """The cells in the catalog, in its order."""
    found = []
    for id, data in catalog.entries("checkpoint").items():
        entry = Checkpoint.model_validate(data)
        if entry.family == "mpt-portes2025":
            found.append(Cell(id, entry.size, int(id.rpartition("-tpr")[2]), entry.tokens, entry.n_params))
    return found


def parameters(size: Size, vocabulary: int, kv_heads: int) -> int:
    """Parameters of a decoder of that shape: tied embeddings, no biases, no positions, expansion 4."""
    d = size.width
    attention = 2 * d * d + 2 * d * (d * kv_heads // size.heads)
    return vocabulary * d + size.layers * (attention + 8 * d * d + 2 * d) + d


def near_pairs(found: list[Cell]) -> list[tuple[Cell, Cell]]:
    """Cells of two sizes whose FLOPs are within NEAR of each other, with the paper's own parameters."""
    by_cost = sorted(found, key=lambda cell: cell.printed_flops)
    return [
        (a, b) for a, b in combinations(by_cost, 2) if a.size != b.size and b.printed_flops <= NEAR * a.printed_flops
    ]


def page() -> str:
    """The whole page."""
    found = cells()
    by_id = {cell.id: cell for cell in found}
    llama = Checkpoint.model_validate(catalog.entries("checkpoint")["llama-2-7b"])
    public = Checkpoint.model_validate(catalog.entries("checkpoint")["mpt-7b"])
    lines = [HEAD, "## The cells of table 2", "", CELLS, ""]
    lines += table(
        ("cell", "tokens, as printed", "label", "tokens per parameter", "6ND", "6ND, parameters as deduced"),
        [
            (
                cell.id,
                short(cell.tokens),
                cell.label,
                mark(cell.tokens / SIZES[cell.size].printed, cell.label),
                f"{cell.printed_flops:.3e}",
                f"{cell.flops:.3e}",
            )
            for cell in found
        ],
    )
    lines += ["", "## The parameters of table 1", "", PARAMETERS, ""]
    lines += table(
        ("size", "paper", "100,352, a quarter of the heads", "100,352, all heads", "50,432, all heads"),
        [
            (
                name,
                short(size.printed) + (" (implied)" if size.implied else ""),
                *(
                    f"{parameters(size, vocabulary, size.heads // share):,}"
                    for vocabulary, share in ((100_352, 4), (100_352, 1), (50_432, 1))
                ),
            )
            for name, size in SIZES.items()
        ],
    )
    low, high = by_id["mpt-1b-tpr20"], by_id["mpt-125m-tpr10000"]
    odd, seven = by_id["mpt-350m-tpr250"], by_id["mpt-7b-tpr285"]
    million = SIZES["350M"].printed
    lines += ["", "## What does not add up", ""]
    lines += table(
        ("what the paper has", "what its numbers give"),
        [
            (
                f"350M at 250 tokens per parameter: {short(odd.tokens)} tokens",
                f"{odd.tokens / million:.0f} per parameter; 250 would be {short(250 * million)}",
            ),
            (
                "350M at 500: `183.5`, without a unit",
                f"{short(500 * million)} is 500 per parameter, so billions are meant",
            ),
            (
                f"125M at 250: {short(by_id['mpt-125m-tpr250'].tokens)} tokens",
                f"{short(250 * SIZES['125M'].printed)}, rounded",
            ),
            (
                "a size called 3B, its total left blank",
                f"its tokens imply {short(by_id['mpt-3b-tpr20'].tokens // 20)}; the shape has "
                f"{short(by_id['mpt-3b-tpr20'].n_params)} with a vocabulary of 100,352 and "
                f"{short(parameters(SIZES['3B'], 50_432, 20))} with one of 50,432",
            ),
            (
                "a size called 7B, its total left blank; 2T tokens are 285 per parameter",
                f"{short(by_id['mpt-7b-tpr100'].tokens // 100)} are implied at 100 and {short(seven.tokens // 285)} at "
                f"285; the shape has {short(seven.n_params)}, which makes {seven.tokens / seven.n_params:.0f} per parameter, "
                f"and the public MPT-7B {short(public.n_params)}, which would make {seven.tokens / public.n_params:.0f}",
            ),
            (
                "Llama-2-7B in the same row, 285",
                f"{llama.tokens / llama.n_params:.1f}: {short(llama.tokens)} tokens, {llama.n_params:,} parameters",
            ),
            (
                "125M at 10,000 and 1B at 20 tokens per parameter as a pair of equal compute",
                f"{high.printed_flops:.3e} and {low.printed_flops:.3e} FLOPs: the small model had "
                f"{high.printed_flops / low.printed_flops:.2f} times as much",
            ),
            (
                "20 to 500 tokens per parameter, and 10,000 once",
                "125M also has "
                + " and ".join(f"{c.label:,}" for c in found if c.size == "125M" and 500 < c.label < 10_000),
            ),
            (
                "from 1 billion tokens on (abstract)",
                f"the least is {short(min(cell.tokens for cell in found))}, of {min(found, key=lambda c: c.tokens).id}",
            ),
            (
                "about as many tokens as parameters (its section 2.3)",
                f"{min(cell.label for cell in found)} times as many at least",
            ),
            ("`MPT 7B` at 100 tokens per parameter", "in table 2, and in no figure and nowhere in the text"),
            ("two checkpoints of 7B at 2T tokens", "one cell; here one checkpoint"),
            (
                "training on 500k queries of MS MARCO's document ranking",
                "that has 367,013 queries; passage ranking has 502,939, so passages are meant",
            ),
            ("HotpotQA with 5,447 queries", "those of the development split; the test split has 7,405"),
        ],
    )
    pairs = near_pairs(found)
    lines += ["", "## Pairs of equal compute that the grid has", "", PAIRS.format(n=len(pairs), near=NEAR), ""]
    lines += table(
        ("less compute", "more compute", "6ND", "6ND", "ratio"),
        [
            (a.id, b.id, f"{a.printed_flops:.3e}", f"{b.printed_flops:.3e}", f"{b.printed_flops / a.printed_flops:.2f}")
            for a, b in pairs
        ],
    )
    return "\n".join(lines) + "\n"


def table(head: tuple, rows: list[tuple]) -> list[str]:
    """Lines of a table in Markdown."""
    return [f"| {' | '.join(map(str, row))} |" for row in (head, ("---",) * len(head), *rows)]


def short(value: int) -> str:
    """`73.4B`: at most five digits and a unit."""
    for unit, size in {"T": 10**12, "B": 10**9, "M": 10**6}.items():
        if value >= size:
            return f"{value / size:.5g}{unit}"
    return str(value)


def mark(ratio: float, label: int) -> str:
    """Tokens per parameter, bold where they are more than 1% from the label."""
    text = f"{ratio:,.1f}"
    return text if abs(ratio / label - 1) <= 0.01 else f"**{text}**"


HEAD = """# Portes et al. 2025: what does not add up

`python docs/portes2025.py` computes this page from the catalog (`config/catalog/checkpoints.yaml`), and a test compares
them. None of it touches a result: retscale measures parameters, takes tokens from the catalog, computes FLOPs as 6ND and
tokens per parameter as D/N, and does not use the paper's labels.
"""
CELLS = """Tokens per parameter and the first 6ND are with the parameters that the paper prints or implies, the second 6ND with
those of the architecture below. Bold: more than 1% from the label."""
PARAMETERS = """The vocabulary is not given. Of three candidates for vocabulary and heads for keys, only 100,352 with a quarter
of the heads gives every printed total to its last digit (tied embeddings, no biases, no positions, expansion 4)."""
PAIRS = """There are {n} pairs of two sizes within a ratio of {near:g}, with the paper's parameters; the pair of its text is not
among them."""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
