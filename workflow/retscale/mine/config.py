"""What a study says about mining negatives."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from retscale.common.strict import Strict
from retscale.encoder.card import EncoderCard
from retscale.errors import UserError
from retscale.model.precision import Precision
from retscale.model.threads import Threads

# With one language per line these two lists would fill two screens.
# fmt: off
# Lucene's list for English, those of the library stop-words for others.
StopWords = Literal[
    "none", "english", "arabic", "bulgarian", "catalan", "czech", "danish", "dutch", "finnish", "french", "german",
    "greek", "gujarati", "hebrew", "hindi", "hungarian", "indonesian", "italian", "malaysian", "norwegian", "persian",
    "polish", "portuguese", "romanian", "russian", "slovak", "spanish", "swedish", "turkish", "ukrainian", "vietnamese",
]
# The stemmers of Snowball; `porter` is the first of English, `english` its successor.
Stemmer = Literal[
    "none", "english", "porter", "arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "esperanto",
    "estonian", "finnish", "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian",
    "lithuanian", "nepali", "norwegian", "persian", "polish", "portuguese", "romanian", "russian", "serbian", "sesotho",
    "spanish", "swedish", "tamil", "turkish", "yiddish",
]
# fmt: on


class Bm25(Strict):
    """How BM25 scores (Kamphuis et al. 2020 compare the variants), and which terms of a text it indexes."""

    variant: Literal["lucene", "robertson", "atire"] = "lucene"
    # Anserini's defaults, with which the BM25 negatives of MS MARCO are usually made.
    k1: float = Field(0.9, ge=0, le=10)
    b: float = Field(0.4, ge=0, le=1)
    stopwords: StopWords = "english"
    stemmer: Stemmer = "none"


class MineConfig(Bm25):
    """How negatives are found.

    The passages are ranked for each query without its positives: by BM25, by the cosine of an `encoder` (the folder of
    one that another study trained), or as the data set itself gives them. Only the first `top` ranks are looked at. Of
    these, `skip` passes over the very best, and `margin` over all that score above that share of the lowest score of a
    positive: both may be unlabeled positives. The margin compares the ranking's scores, or those of a
    `guide`, the folder of an encoder. Of what is left of the `top`, `negatives` are kept: the best, or a seeded sample
    (`choose: random`). Neither filter reaches beyond `top`, as in NV-Retriever and sentence-transformers, so a `margin`
    needs a large one; queries left with too few are counted, and a recipe says whether they are allowed (`too_few`).
    """

    method: Literal["bm25", "encoder", "given"] = "bm25"
    encoder: str | None = None
    guide: str | None = None
    top: int = Field(100, ge=1, le=10_000)
    skip: int = Field(0, ge=0)
    margin: float | None = Field(None, gt=0, le=1)
    negatives: int = Field(15, ge=1, le=1000)  # Portes et al. 2025: 15 BM25 negatives per query
    choose: Literal["best", "random"] = "best"
    seed: int = Field(0, ge=0)

    def encoders(self) -> dict[str, Path]:
        """encoder.json of each encoder that it needs, by the name of its setting."""
        folders = {name: getattr(self, name) for name in ("encoder", "guide")}
        return {name: Path(folder).expanduser() / "encoder.json" for name, folder in folders.items() if folder}

    def files(self) -> list[Path]:
        """Each encoder.json and the files that it lists, as far as they exist; empty if no encoder is needed."""
        paths = []
        for card_path in self.encoders().values():
            if not card_path.is_file():
                continue
            try:
                card = EncoderCard.read(card_path)
                listed = [card.home(card_path) / name for name in sorted(card.files)]
            except UserError:  # the stage reports what is wrong
                listed = []
            paths += [path for path in (card_path, *listed) if path.is_file()]
        return paths

    @model_validator(mode="after")
    def _fits_the_method(self) -> "MineConfig":
        if (self.method == "encoder") != (self.encoder is not None):
            raise ValueError("`encoder`, the folder of an encoder, goes with `method: encoder` and with no other")
        if self.guide is not None and self.margin is None:
            raise ValueError("`guide`, the folder of an encoder, scores for the `margin`: give one, such as 0.95")
        if self.method == "given" and self.margin is not None and self.guide is None:
            raise ValueError(
                "negatives that a data set gives have no scores: a `margin` needs a `guide`, which scores them"
            )
        return self

    @model_validator(mode="after")
    def _enough(self) -> "MineConfig":
        if self.top < self.skip + self.negatives:
            raise ValueError(
                f"top ({self.top}) must be at least skip + negatives ({self.skip} + {self.negatives}); raise it"
            )
        return self


class Spec(MineConfig):
    """The spec of one job of this stage; `precision`, `tokens_per_batch` and `threads` are for an encoder."""

    precision: Precision = "auto"
    tokens_per_batch: int = Field(65536, ge=1)
    threads: Threads = 1
