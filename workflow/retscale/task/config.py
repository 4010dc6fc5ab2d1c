"""The settings of a retrieval task."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from retscale.common.places import Below
from retscale.common.strict import Strict
from retscale.common.wheel import WheelSource
from retscale.model.prompt import Instruction

# Tasks of mteb whose queries carry instructions of their own.
INSTRUCTED = {
    "Core17InstructionRetrieval",
    "News21InstructionRetrieval",
    "Robust04InstructionRetrieval",
    "InstructIR",
}


class Asked(Strict):
    """Texts in the field `field` of `files` of the same wheel."""

    files: list[Below]
    field: str


def _is_none(value: object) -> bool:
    """Whether to leave a key out of specs: it was added later, and specs without it must stay the same."""
    return value is None


class RowsSource(WheelSource):
    """Rows of a data wheel, each naming a query (or a list of queries) and the document that answers it.

    `query`, `document` and `title` name fields. `strip` is a regular expression removed from every text. With `label`,
    a row is a judgement: relevant if that field equals `relevant`, else judged irrelevant. Queries of fewer than
    `min_words` words are dropped.

    `ambiguous` decides about a query text that occurs with several documents. `merge` (a question asked twice): one query
    with several relevant documents, since two copies would each count the other's answer as wrong. `drop` (a description
    that also fits documents of other rows): the query is left out.

    `asked`: only queries that occur there are kept; the documents are those of all rows.

    `aspects`, instead of `document`: two instructions, each with the field of the document that it asks for. A row then
    gives two documents and two queries of one text: under each instruction only the document it asks for is relevant.
    """

    query: str
    document: str | None = Field(None, exclude_if=_is_none)
    aspects: dict[Instruction, str] | None = Field(None, min_length=2, max_length=2, exclude_if=_is_none)
    asked: Asked | None = Field(None, exclude_if=_is_none)
    title: str | None = None
    label: str | None = None
    relevant: str = "True"
    strip: str | None = None
    min_words: int = Field(1, ge=1)
    ambiguous: Literal["merge", "drop"] = "merge"

    @model_validator(mode="after")
    def _documents(self) -> "RowsSource":
        if (self.document is None) == (self.aspects is None):
            raise ValueError("give either document or aspects")
        if self.aspects and (idle := [key for key in ("label", "asked") if getattr(self, key)]):
            raise ValueError(f"{idle[0]} does not go with aspects; remove one of them")
        return self


class FolderSource(Strict):
    """A folder in the BEIR layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv, each also with .gz.

    Judgments are query, document and score, or TREC's four columns, with or without a header. `path` is absolute or
    relative to where the study is run.
    """

    kind: Literal["folder"]
    path: str
    split: str = Field("test", pattern=r"^\w[\w.-]*$")

    def folder(self) -> Path:
        return Path(self.path).expanduser()

    def files(self) -> list[Path]:
        """The existing files that the task is read from."""
        names = ("corpus.jsonl", "queries.jsonl", f"qrels/{self.split}.tsv")
        paths = [self.folder() / f"{name}{suffix}" for name in names for suffix in ("", ".gz")]
        return [path for path in paths if path.exists()]


class MtebSource(Strict):
    """A retrieval task of mteb by name; `revision` must be the one that the installed mteb pins."""

    kind: Literal["mteb"]
    name: str
    revision: str = Field(pattern="^[0-9a-f]{40}$")
    split: str = "test"
    subset: str = "default"


class TaskData(Strict):
    """Queries, corpus and judgements: what the task's job uses.

    `judged_only`: rank only the documents judged for a query (mteb's top_ranked) instead of the whole corpus.
    `max_queries`, `max_documents`: a subsample drawn with `seed`; every judged document of a kept query is kept.
    `ignore_identical_ids`: a document with the query's own id is never retrieved; None asks mteb, and means no
    elsewhere.

    `instruction`: precedes every query. `instructed: false`: the instructions that the source gives its queries are left
    out.
    """

    source: Annotated[RowsSource | FolderSource | MtebSource, Field(discriminator="kind")]
    judged_only: bool = False
    max_queries: int | None = Field(None, ge=1)
    max_documents: int | None = Field(None, ge=1)
    ignore_identical_ids: bool | None = None
    # The task's own, not the study's: a test set stays the same when training is repeated with another seed.
    seed: int = Field(0, ge=0)
    instruction: Instruction | None = Field(None, exclude_if=_is_none)
    instructed: bool = Field(True, exclude_if=bool)

    @property
    def own_instructions(self) -> bool:
        """Whether the source gives its queries instructions."""
        return (
            self.source.name in INSTRUCTED
            if self.source.kind == "mteb"
            else bool(getattr(self.source, "aspects", None))
        )

    @model_validator(mode="after")
    def _one_instruction(self) -> "TaskData":
        if self.instruction and self.own_instructions:
            raise ValueError("its queries have instructions of their own; remove `instruction`")
        return self

    @model_validator(mode="after")
    def _whole_subjects(self) -> "TaskData":
        if self.max_queries and getattr(self.source, "aspects", None):
            raise ValueError(
                "max_queries would part the two queries of a row; take `part` of the source's rows instead"
            )
        return self

    @model_validator(mode="after")
    def _labels_for_judged_only(self) -> "TaskData":
        if self.judged_only and self.source.kind == "wheel" and not self.source.label:
            raise ValueError("judged_only needs source.label, the field that holds the judgment")
        return self


class Pool(Strict):
    """The documents of a task's corpus that a cut of the task keeps: the union of four parts over all queries.

    `judged`: every judged document, or the relevant ones only. `bm25`: the first N documents of BM25's ranking. `encoders`:
    the first `depth` documents of each ranking of the whole task by these `encoders` of the study. `random`: N of all other
    documents, drawn with the task's `seed`; a larger N keeps all that a smaller N keeps.
    """

    judged: Literal["all", "relevant"] = "all"
    bm25: int = Field(0, ge=0)
    encoders: list[str] = []
    depth: int = Field(100, ge=1)
    random: int = Field(0, ge=0)

    def most(self, queries: int | None, judged: int | None) -> int | None:
        """An upper bound of the number of documents, from counts of the whole task; None if these are unknown."""
        if queries is None or judged is None:
            return None
        return judged + queries * (self.bm25 + self.depth * len(self.encoders)) + self.random

    def too_large(self, documents: int) -> str:
        """Why the pool does not fit a corpus with this number of `documents`; empty if it may fit."""
        for key in ("bm25", "random", *(["depth"] if self.encoders else [])):
            if (value := getattr(self, key)) >= documents:
                return f"pool.{key} is {value:,}, but the whole task has {documents:,} documents; lower it, or use that task"
        return ""


class RetrievalTask(TaskData):
    """An entry of the catalog.

    `alone`: the corpus is so large that the task gets an evaluation job of its own. Tasks with the same `corpus` share a
    job, which encodes it once. Tasks of one `group` count as one task: its score is the unweighted mean of theirs, and is
    missing unless the study has all tasks that the catalog puts into the group. `cut_of` names the task whose corpus or
    queries this task has a part of: no mean counts both. With a `pool` the study makes the cut itself.
    """

    alone: bool = False
    corpus: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    group: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9._-]*$")
    cut_of: str | None = None
    pool: Pool | None = None
    licence: str = ""
    origin: str = ""
    note: str | None = None

    @model_validator(mode="after")
    def _cut_from_a_whole(self) -> "RetrievalTask":
        if self.pool and not self.cut_of:
            raise ValueError("`pool` needs `cut_of`, the task whose corpus it cuts")
        if self.pool and self.judged_only:
            raise ValueError("`pool` cuts a corpus, and a task with `judged_only` ranks none; remove it")
        return self

    @property
    def texts_from(self) -> Literal["task"] | None:
        """The stage that reads the texts of this test if it is held out; those in a wheel are read in place."""
        return None if self.source.kind == "wheel" and not self.source.asked else "task"

    def text_fields(self) -> list[str]:
        """Fields of a data wheel that hold the texts of this test, which training must not see."""
        source = self.source
        if source.kind != "wheel":
            return []
        documents = [source.document] if source.document else list((source.aspects or {}).values())
        return [field for field in (source.query, *documents, source.title) if field]


class CutSource(Pool):
    """The source of a cut: the task `of` and the pool of its documents."""

    kind: Literal["cut"]
    of: str


AnySource = Annotated[RowsSource | FolderSource | MtebSource | CutSource, Field(discriminator="kind")]


class Spec(TaskData):
    """The spec of one job of this stage."""

    id: str
    source: AnySource  # ty: ignore[incompatible-attribute-override] - a study says `pool` instead
