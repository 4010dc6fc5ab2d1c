"""What the mine stage reads of a study."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class MineConfig(BaseModel):
    """How negatives are found.

    Of the `top` best-scoring passages of a query that are not its positives, `negatives` are kept: the best, or a
    seeded choice (`choose: random`), which trades hardness against unlabelled positives.
    """

    model_config = ConfigDict(extra="forbid")
    method: Literal["bm25"] = "bm25"
    variant: Literal["lucene", "robertson", "atire"] = "lucene"
    # Anserini's defaults, with which the BM25 negatives of MS MARCO are usually made.
    k1: float = Field(0.9, ge=0, le=10)
    b: float = Field(0.4, ge=0, le=1)
    stopwords: Literal["english", "none"] = "english"
    top: int = Field(100, ge=1, le=10_000)
    negatives: int = Field(15, ge=1, le=1000)  # Portes et al. 2025: 15 BM25 negatives a query
    choose: Literal["best", "random"] = "best"
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _enough(self) -> "MineConfig":
        if self.top < self.negatives:
            raise ValueError(f"top ({self.top}) must be at least negatives ({self.negatives})")
        return self
