"""What a study says about a system that ranks without a model."""

from pydantic import Field

from retscale.encoder.config import REFERENCE
from retscale.evaluate.config import Scoring, Task
from retscale.mine.config import Bm25


class Reference(Bm25):
    """An entry of `references`: BM25, by the kernel that also mines. It is scored on every task and enters no fit.

    A document is its title and text, as an encoder reads them, and one that shares no term with a query is not ranked.
    """


class Spec(Scoring):
    """The spec of one job of this stage: a system and its tasks."""

    id: str
    system: Reference
    tasks: dict[str, Task] = Field(min_length=1)

    # Whose results they are, in the words of `evaluate`.
    @property
    def checkpoint(self) -> str:
        return self.id

    @property
    def recipe(self) -> str:
        return REFERENCE

    @property
    def step(self) -> None:
        return None


def words(system: Reference) -> str:
    """`BM25 (Lucene's), k1 0.9, b 0.4, stop words english, no stemmer`, for tables and captions."""
    variant = {"lucene": "Lucene's", "robertson": "Robertson's", "atire": "ATIRE's"}[system.variant]
    stop_words = "no stop words" if system.stopwords == "none" else f"stop words {system.stopwords}"
    stemmer = "no stemmer" if system.stemmer == "none" else f"stemmer {system.stemmer}"
    return f"BM25 ({variant}), k1 {system.k1:g}, b {system.b:g}, {stop_words}, {stemmer}"
