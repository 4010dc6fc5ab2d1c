"""The settings of a system that ranks without a model."""

from pydantic import Field

from retscale.encoder.config import REFERENCE
from retscale.evaluate.config import Scoring, Task
from retscale.mine.config import Bm25


class Reference(Bm25):
    """An entry of `references`: BM25, as in mining. It is scored on every task and enters no fit.

    It reads the title and text of a document, as encoders do. Documents that share no term with a query are not ranked.
    """


class Spec(Scoring):
    """The spec of one job of this stage: a system and its tasks."""

    id: str
    system: Reference
    tasks: dict[str, Task] = Field(min_length=1)

    # The names that results of `evaluate` have.
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
    """Such as `BM25 (Lucene's), k1 0.9, b 0.4, stop words english, no stemmer`, for tables and captions."""
    variant = {"lucene": "Lucene's", "robertson": "Robertson's", "atire": "ATIRE's"}[system.variant]
    stop_words = "no stop words" if system.stopwords == "none" else f"stop words {system.stopwords}"
    stemmer = "no stemmer" if system.stemmer == "none" else f"stemmer {system.stemmer}"
    return f"BM25 ({variant}), k1 {system.k1:g}, b {system.b:g}, {stop_words}, {stemmer}"
