"""The settings of published results."""

from typing import Annotated

from pydantic import Field

from retscale.common.strict import Strict
from retscale.evaluate import metrics

Name = Annotated[str, Field(min_length=1)]
PUBLISHED = "published"  # the recipe of every encoder in a study of published results


class Columns(Strict):
    """The names of a table's columns. None: it has no such column; `value` then has the metric's name."""

    model: Name = "model"
    task: Name = "task"
    value: Name | None = None
    n_params: Name | None = None
    n_tokens: Name | None = Field(None, min_length=1, description="tokens of pretraining; an empty cell means unknown")
    split: Name | None = Field(None, description="compared with the split of the study's task")
    origin: Name | None = Field(None, description="where a value comes from; shown with it")


class External(Strict):
    """Results that others published: a table with one row per model and task, or a folder of `results` as mteb writes them.

    They are drawn hollow and enter no fit. Beside `results` the table has one row per model: its parameters and tokens.
    `models`: those to take; None: all. `tasks`: the study's or the catalog's name of a task or group, for a name that is
    neither theirs nor mteb's: {TREC-COVID beta: trec-covid}.
    """

    table: Annotated[str, Field(pattern=r"\.csv$", description="a file, absolute or from where the study is run")]
    results: str | None = Field(
        None,
        min_length=1,
        description="a folder with MODEL/REVISION/TASK.json, absolute or from where the study is run",
    )
    source: Annotated[str, Field(min_length=1, description="who published it, and where; shown with every point")]
    licence: str = ""
    metric: metrics.Name = Field(metrics.MAIN, description="that of `fit`")
    models: list[Name] | None = Field(None, min_length=1)
    tasks: dict[Name, Name] = {}
    columns: Columns = Columns()


class PublishedResults(Strict):
    """Published results that a study consists of.

    `models`: a table with the columns model, family, size, n_params, n_tokens, role and evidence, one row per model. Only
    those of role `fit` whose tokens are known enter fits; an empty cell of n_tokens means unknown. `scores`: one row per
    model and task, or a folder of results as mteb writes them. `reference` models are drawn hollow, `external` ones are
    in tables only. `trained_on`: tasks of the training data, which are in no mean. `tasks`: as in External.
    """

    scores: Annotated[
        str, Field(min_length=1, description="a .csv file or a folder, absolute or from where the study is run")
    ]
    models: Annotated[str, Field(pattern=r"\.csv$", description="a file, absolute or from where the study is run")]
    source: Annotated[str, Field(min_length=1, description="who published them, and where")]
    licence: str = ""
    trained_on: list[Name] = []
    tasks: dict[Name, Name] = {}
    columns: Columns = Columns()


class Published(Strict):
    """One table, or folder of mteb, as the job reads it.

    `names` maps each name of a task to that of the study, or to None if the study lacks the task. `splits`: the split of
    each task, where known. `revisions`: of the data of mteb's tasks, to compare result files of mteb with.
    """

    source: str
    metric: str
    models: list[str] | None
    names: dict[str, str | None]
    splits: dict[str, str]
    revisions: dict[str, str] = Field({}, exclude_if=lambda revisions: not revisions)
    columns: Columns


class Spec(Strict):
    """The spec of one job of this stage; `headline`: the tasks and groups that the mean is over."""

    headline: list[str] = Field(min_length=1)
    tables: list[Published] = Field(min_length=1)
