"""What a study says about an in-context task."""

from string import Formatter
from typing import Annotated, Literal

from pydantic import Field, model_validator

from retscale.common.strict import Strict
from retscale.common.wheel import WheelSource
from retscale.items.config import JsonlSource
from retscale.model.precision import Precision
from retscale.model.threads import Threads

TYPES = ("multiple_choice", "language_modeling", "schema", "generation_task_with_answers", "code_evaluation")

# The field of a released row that holds the question; its answers are short or part of it.
QUESTIONS = dict(zip(TYPES, ("query", "context", "context_options", "context", "prompt"), strict=True))


class Rows(Strict):
    """Questions with a gold answer, one per row.

    `context` is a template over the row's fields. `options` names the field with the options ("A. one\\nB. two") or
    maps each value of the field `answer` to the text of its choice ({"True": "yes", "False": "no"}). The field `answer`
    holds the gold option with or without its letter, or a list whose first entry is the gold option. A task of type
    language_modeling has no options: the answer itself is the continuation.
    """

    kind: Literal["rows"]
    context: str
    options: str | dict[str, str] | None = None
    answer: str

    def fields(self) -> list[str]:
        return [name for _, name, _, _ in Formatter().parse(self.context) if name]


class Built(Strict):
    """Items made from running text in the field `text`, at most one per document; choices are in random order."""

    text: str

    def fields(self) -> list[str]:
        return [self.text]


class FinalWord(Built):
    """The true last word of a sentence against last words of other sentences.

    All choices are drawn from the same distribution, so that knowing which words are frequent is worth nothing. The
    context is the up to `context_words` words before it.
    """

    kind: Literal["final_word"]
    choices: int = Field(4, ge=2, le=26)
    context_words: int = Field(40, ge=1)


class Continuation(Built):
    """The true next `words` words of a document against those of other documents, after `context_words` words.

    Only a few words, since what follows later depends less on the context than on how common its own words are.
    """

    kind: Literal["continuation"]
    choices: int = Field(4, ge=2, le=26)
    context_words: int = Field(40, ge=1)
    words: int = Field(3, ge=1)


class Shuffle(Built):
    """A sentence of `min_words` to `max_words` words against copies in which `swaps` times two neighboring words have
    changed places; without context. Even models of 0.2M parameters recognize a fully shuffled sentence.
    """

    kind: Literal["shuffle"]
    choices: int = Field(4, ge=2, le=26)
    min_words: int = Field(8, ge=4)
    max_words: int = Field(25, ge=4)
    swaps: int = Field(1, ge=1)


class NextWord(Built):
    """A random lower-case word of a document is to be continued from the `context_words` words before it."""

    kind: Literal["next_word"]
    context_words: int = Field(40, ge=1)


class Induction(Built):
    """A random sequence of `words` words, `repeats` times over, drawn from the `vocabulary` most frequent words of the
    text: its last word is to be continued the last time, which only the earlier times can tell.
    """

    kind: Literal["induction"]
    words: int = Field(5, ge=2)
    repeats: int = Field(4, ge=2)
    vocabulary: int = Field(200, ge=10)
    items: int = Field(200, ge=1)

    def fields(self) -> list[str]:
        """None: a random sequence is in no text."""
        return []


class Released(Strict):
    """Rows as the MosaicML gauntlet releases them; the type of the task says which fields they have.

    multiple_choice: query, choices, gold. language_modeling: context, continuation. schema: context_options,
    continuation, gold. generation_task_with_answers: context, answer, and perhaps aliases and chain_of_thought.
    code_evaluation: prompt, canonical_solution, entry_point, test_inputs, test_outputs, language. Any of them may have
    a category.
    """

    kind: Literal["released"] = "released"


class IclTask(Strict):
    """An in-context task, with the words of the MosaicML gauntlet's yamls where they have one.

    `shots` solved items stand before each item, separated by `example_delimiter`: others of the same data, drawn from
    one stream of `shot_seed`. `prelimiter` opens each question and `delimiter` joins it to its answer. `categories`:
    the score is the mean over the items' categories, and shots come from the item's own.

    `baseline` is what scores 0: a number, `chance` (the mean of 1 / number of choices) or `majority` (the share of the
    commonest answer, where the answers are always the same few). `max_items`: a sample drawn with `seed`.
    `max_length`: tokens that a prompt with its answer may have, if the model can read as many. `too_long`: what becomes
    of an item with a longer one. `cut`: its beginning is cut off, except a start-of-text token; `skip`: it is not scored.

    A generated answer ends at the first of `stop`; what counts is the text after its last `cot_delimiter`, compared
    with case, punctuation and articles removed if `normalise`. `execute`: whether generated programs are run, in a
    sandbox; without it none is generated, and a code_evaluation task has no score.
    """

    type: Literal[TYPES]  # ty: ignore[invalid-type-form] - a checker cannot read the table
    source: Annotated[WheelSource | JsonlSource, Field(discriminator="kind")]
    items: Annotated[
        Rows | FinalWord | Continuation | Shuffle | NextWord | Induction | Released, Field(discriminator="kind")
    ] = Released()
    shots: int = Field(0, ge=0, le=100)
    shot_seed: int = Field(1234, ge=0)
    prelimiter: str = ""
    delimiter: str = " "
    example_delimiter: str = "\n"
    categories: bool = False
    cot_delimiter: str = ""
    stop: list[Annotated[str, Field(min_length=1)]] = []
    normalise: bool = True
    execute: bool = False
    baseline: Annotated[float, Field(ge=0, lt=1)] | Literal["chance", "majority"] = "chance"
    max_items: int | None = Field(None, ge=1)
    max_length: int = Field(2048, ge=16)
    too_long: Literal["cut", "skip"] = "cut"
    seed: int = Field(0, ge=0)
    licence: str = ""
    origin: str = ""
    note: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _wheels_need_no_kind(cls, data: object) -> object:
        """A source that names a wheel is one."""
        if isinstance(data, dict) and isinstance(source := data.get("source"), dict) and "wheel" in source:
            data = data | {"source": {"kind": "wheel"} | source}
        return data

    @model_validator(mode="after")
    def _type_fits_items(self) -> "IclTask":
        if (self.items.kind == "released") != (self.source.kind == "jsonl"):
            raise ValueError("items of kind 'released', and only these, are read from a source of kind 'jsonl'")
        if self.items.kind == "released":
            return self
        has_choices = (
            self.items.kind not in ("next_word", "induction") and getattr(self.items, "options", True) is not None
        )
        if self.type not in TYPES[:2] or has_choices != (self.type == "multiple_choice"):
            choices = "with choices" if has_choices else "without choices"
            raise ValueError(f"type {self.type} does not fit items of kind {self.items.kind!r}, which come {choices}")
        return self

    @property
    def generated(self) -> bool:
        """Whether the model writes its answers itself."""
        return self.type in ("generation_task_with_answers", "code_evaluation")

    @property
    def scored(self) -> bool:
        """Programs that are not run have no score."""
        return self.type != "code_evaluation" or self.execute

    @property
    def texts_from(self) -> Literal["items"] | None:
        """The stage that fetches the texts of this test, if one does."""
        return "items" if self.source.kind == "jsonl" and self.source.needs_fetch else None

    def text_fields(self) -> list[str]:
        """Fields of a row that hold the texts of this test, which training must not see; none if it has no text."""
        return [QUESTIONS[self.type]] if self.items.kind == "released" else self.items.fields()


class Spec(Strict):
    """The spec of one job of this stage: a checkpoint and its tasks."""

    checkpoint: str
    tasks: dict[str, IclTask] = Field(min_length=1)
    precision: Precision
    tokens_per_batch: int = Field(ge=1)
    threads: Threads = 1
    seed: int = Field(0, ge=0)
