"""The study file as it is written: what may stand in it, and where.

An entry is the name of something in the catalog, or a mapping: `use: NAME` with overrides, or all of it in place.
"""

from typing import Annotated

from pydantic import Field, field_validator

from retscale.common.strict import Strict
from retscale.evaluate.config import EvaluateConfig
from retscale.external.config import External, PublishedResults
from retscale.figure.config import FigureConfig
from retscale.figure.figures import FIGURES
from retscale.figure.figures import Name as FigureName
from retscale.finetune.tracking import Tracker
from retscale.fit.config import FitConfig
from retscale.mine.config import MineConfig
from retscale.model.precision import Precision
from retscale.model.threads import Threads
from retscale.study.lengths import Lengths

ID = r"^[a-z0-9][a-z0-9._-]*$"
Id = Annotated[str, Field(pattern=ID, max_length=80)]
Entry = str | dict
# The kind of the entries of each list of entries.
LISTS = {
    "checkpoints": "checkpoint",
    "encoders": "encoder",
    "references": "reference",
    "pairs": "pairs",
    "recipes": "recipe",
    "tasks": "task",
    "contrasts": "task",
    "icl": "icl",
}
# Keys of an entry that are no part of its configuration: they say how the study uses it.
STUDY_KEYS = {"checkpoint": ("seeds", "icl"), "recipe": ("checkpoints", "seeds")}


class Common(Strict):
    """What every study says: what it is about, its retrieval tasks, and how to report them."""

    base: str | None = Field(
        None,
        description="a study file, relative to this one, from which all keys are taken that this one does not have",
    )
    name: Id
    title: str
    description: str
    deviations: list[str] = Field([], description="how this study differs from the paper; the report opens with it")
    machine: str = Field("", description="the kind of machine that it is meant for")
    # Of training and of the bootstraps. Data sets are drawn with seeds of their own, so that a second training seed
    # meets the same tests.
    seed: int = Field(1, ge=0, lt=2**31)
    tasks: list[Entry] = Field(min_length=1, description="retrieval tasks or suites of them")
    contrasts: list[Entry] = Field(
        [],
        description="retrieval tasks that are shown beside the others and are in no mean, such as cuts of them: only "
        "`groups` may name them",
    )
    groups: dict[Id, Annotated[list[str], Field(min_length=1)]] = Field(
        {}, description="tasks, groups or suites whose mean is shown beside the mean over all, which it does not change"
    )
    mean: list[str] | None = Field(
        None,
        min_length=1,
        description="tasks, groups or suites that the mean is over; all zero-shot tasks if not given",
    )
    fit: FitConfig = FitConfig()
    figures: dict[FigureName, FigureConfig] = Field(
        {name: FigureConfig() for name in FIGURES},
        description="how each figure looks, in the report's order; all that have something to show if not given",
    )

    @field_validator("figures", mode="before")
    @classmethod
    def _names_as_text(cls, figures: object) -> object:
        """YAML reads an unquoted `2:` as a number."""
        return {str(name): style or {} for name, style in figures.items()} if isinstance(figures, dict) else figures


class Study(Common):
    """checkpoints x recipes x tasks, and how to report them."""

    # fp32 gives the same numbers on every CPU; auto takes bf16 where the hardware has it.
    precision: Precision = "auto"
    # Of torch on a CPU, where the bits of what a model computes depend on it: so it is the study's and not the machine's.
    # What a profile allots beyond it serves the rest (searching, tokenizing), whose bits depend on no number of threads.
    threads: Threads = 1
    # Tokens per forward pass of models up to 2,048 wide; wider ones take fewer in proportion. Bounds memory, changes no
    # score beyond rounding. With fewer a GPU waits: 160M parameters encode half as fast with 16,384.
    tokens_per_batch: int = Field(65536, ge=128, le=2**22)
    tracker: Tracker | None = Field(
        None, description="fine-tuning also reports its losses there, in files below the logs; no result depends on it"
    )
    text: Entry | None = Field(None, description="the text of checkpoints that are pretrained here")
    checkpoints: list[Entry] = Field(
        min_length=1,
        description="`seeds:` repeats the pretraining of one that is pretrained here with each seed; `icl: false` leaves "
        "one out of the in-context tasks",
    )
    only: list[str] | None = Field(
        None, min_length=1, description="ids of the checkpoints to run; the others are skipped"
    )
    pairs: list[Entry] = Field(
        min_length=1, description="training data sets, or just one; a recipe's `weights` say how it mixes them"
    )
    held_out: list[str] = Field(
        [],
        description="tests whose texts are left out of the training data: tasks and suites of the catalog, and tasks of "
        "this study",
    )
    mine: MineConfig
    recipes: list[Entry] = Field(
        min_length=1,
        description="the first is the main one; `checkpoints:` limits one to a part of the ladder; `seeds:` repeats the "
        "fine-tuning with each seed, of all checkpoints or of some",
    )
    curve_tasks: list[str] | None = Field(
        None,
        min_length=1,
        description="tasks or groups that encoders kept during training (a recipe's `keep`) are evaluated on, for "
        "learning curves; those of the mean if not given",
    )
    lengths: list[Lengths] = Field(
        [], description="further lengths at which encoders read the documents of some tasks, or just one entry"
    )
    icl: list[Entry] = Field([], description="in-context tasks or suites of them")
    averages: list[str] = Field([], description="versions of the in-context gauntlet; the first gives the headline")
    encoders: list[dict] = Field(
        [], description="encoders made elsewhere: reference systems, scored on every task and in no fit"
    )
    references: list[Entry] = Field(
        [], description="systems without a model, such as bm25: scored on every task and in no fit"
    )
    evaluate: EvaluateConfig = EvaluateConfig()
    external: list[External] = Field(
        [], description="published tables of results, or just one: points that are drawn hollow and never fitted"
    )

    @field_validator("pairs", "lengths", "external", mode="before")
    @classmethod
    def _wrap_single(cls, entries: object) -> object:
        return [entries] if isinstance(entries, str | dict) else entries


class PublishedStudy(Common):
    """Results that others published x tasks: nothing is trained or evaluated."""

    published: PublishedResults

    def as_study(self) -> Study:
        """The same in the form of a study that trains nothing."""
        nothing = {"checkpoints": [], "pairs": [], "recipes": [], "mine": MineConfig()}
        return Study.model_construct(set(self.model_fields_set), **nothing, **dict(self))
