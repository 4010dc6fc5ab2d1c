"""What one item of an in-context task holds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """How a generated program is tested: `entry_point(*input) == output` for each pair."""

    entry_point: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    language: str


@dataclass(frozen=True)
class Item:
    """A context and its choices, of which `gold` is right.

    language_modeling: one choice, the continuation. schema: the choices are contexts of the one `end`. Where answers
    are generated: the choices are the accepted ones, the first of them the answer; `thought` leads to it.
    """

    context: str
    choices: tuple[str, ...]
    gold: int
    end: str = ""
    category: str = ""
    thought: str | None = None
    program: Program | None = None
