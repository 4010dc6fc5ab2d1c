"""Keys of a study that have no effect because of another key: an error, since they were written for a reason.

Only keys in the study file itself are checked: an override may make a key of the catalog or of a base idle. A key that
`{use: SUITE, ...}` gives to all tasks of a suite must have an effect on one of them only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel

from retscale.checkpoint.config import Checkpoint
from retscale.figure.config import FigureConfig
from retscale.finetune.config import OF_TRAINING, Recipe
from retscale.icl.config import Built, IclTask
from retscale.items.config import JsonlSource
from retscale.mine.config import MineConfig
from retscale.pairs.config import PairsConfig
from retscale.study import catalog
from retscale.study import model as written
from retscale.task.config import Pool, RetrievalTask, RowsSource

if TYPE_CHECKING:
    from retscale.study.study import Study


class Rule(NamedTuple):
    """The `keys` of a `model` have an effect only if `applies`(entry, study); `requirement` says the same in words."""

    model: type[BaseModel]
    keys: tuple[str, ...]
    applies: Callable[[BaseModel, object], object]
    requirement: str


RULES = [
    Rule(written.Study, ("curve_tasks",), lambda _, study: study.kept_encoders, "a recipe that has `keep`"),
    Rule(written.Study, ("averages",), lambda _, study: study.averaged, "a task of that gauntlet under `icl`"),
    Rule(
        written.Study,
        ("text",),
        lambda file, study: file.only or any(c.source.kind == "pretrain" for c in study.checkpoints.values()),
        "a checkpoint that is pretrained here",
    ),
    Rule(Checkpoint, ("gated",), lambda checkpoint, _: checkpoint.source.kind == "hub", "a source of kind `hub`"),
    Rule(PairsConfig, ("seed",), lambda pairs, _: pairs.max_pairs, "`max_pairs`"),
    Rule(
        PairsConfig,
        ("near_words", "near_share"),
        lambda pairs, study: pairs.exclude or study.held_out,
        "`held_out` in the study or `exclude` here",
    ),
    Rule(
        MineConfig,
        ("variant", "k1", "b", "stopwords", "stemmer"),
        lambda mine, _: mine.method == "bm25",
        "`method: bm25`",
    ),
    Rule(MineConfig, ("seed",), lambda mine, _: mine.choose == "random", "`choose: random`"),
    Rule(Recipe, OF_TRAINING, lambda recipe, _: recipe.trains, "a `tuning` other than `none`"),
    Rule(Recipe, ("lora",), lambda recipe, _: recipe.tuning == "lora", "`tuning: lora`"),
    Rule(RetrievalTask, ("max_documents",), lambda task, _: not task.judged_only, "`judged_only: false`"),
    Rule(
        RetrievalTask,
        ("seed",),
        lambda task, _: task.pool.random if task.pool else task.max_queries or task.max_documents,
        "`max_queries` or `max_documents`, or with `random` of a `pool`",
    ),
    Rule(RetrievalTask, ("instructed",), lambda task, _: task.own_instructions, "queries that carry instructions"),
    Rule(Pool, ("depth",), lambda pool, _: pool.encoders, "`encoders`"),
    Rule(RetrievalTask, ("corpus",), lambda task, _: task.alone, "`alone: true`"),
    Rule(RowsSource, ("relevant",), lambda source, _: source.label, "`label`"),
    Rule(JsonlSource, ("repo", "revision", "root"), lambda source, _: source.needs_fetch, "a file that is fetched"),
    Rule(IclTask, ("stop",), lambda task, _: task.generated, "a type whose answers are generated"),
    Rule(
        IclTask,
        ("cot_delimiter", "normalise"),
        lambda task, _: task.type == "generation_task_with_answers",
        "`type: generation_task_with_answers`",
    ),
    Rule(IclTask, ("execute",), lambda task, _: task.type == "code_evaluation", "`type: code_evaluation`"),
    Rule(IclTask, ("categories",), lambda task, _: task.items.kind == "released", "items of kind `released`"),
    Rule(IclTask, ("shot_seed", "example_delimiter"), lambda task, _: task.shots, "`shots`"),
    Rule(IclTask, ("delimiter",), lambda task, _: task.shots or task.type != "schema", "`shots` in a schema"),
    Rule(
        IclTask,
        ("seed",),
        lambda task, _: task.max_items or isinstance(task.items, Built),
        "`max_items` or items built from text",
    ),
    Rule(FigureConfig, ("trend",), lambda style, study: style is study.file.figures.get("1b"), "figure 1b"),
    Rule(FigureConfig, ("accent",), lambda style, study: style is study.file.figures.get("ablation"), "the ablation"),
]


def idle(study: Study, raw: dict) -> list[str]:
    """One line for each key without effect in `raw`, the mapping in the study's own file."""
    requirements = dict(idle_keys(study.file, raw, study))
    for section, kind in written.LISTS.items():
        for number, entry in enumerate(getattr(study.file, section) if section in raw else ()):
            members = [_id(member) for member in catalog.expand([entry], kind)] if isinstance(entry, dict) else []
            entries = getattr(study, section)
            per_member = [dict(idle_keys(entries[id], entry, study)) for id in members if id in entries]
            for key in set(per_member[0]).intersection(*per_member[1:]) if per_member else ():
                requirements[f"{section}.{number}.{key}"] = per_member[0][key]
    does_nothing = "here it has no effect, so remove it"
    return [
        f"{key}: has an effect only with {requirement}; {does_nothing}"
        for key, requirement in sorted(requirements.items())
    ]


def idle_keys(entry: BaseModel, raw: dict, study: Study) -> Iterator[tuple[str, str]]:
    """(path, requirement) of each key without effect in the mapping `raw`, from which `entry` was read."""
    for key in raw.keys() & type(entry).model_fields.keys():
        value, field = getattr(entry, key), type(entry).model_fields[key]
        for rule in RULES:
            concerned = isinstance(entry, rule.model) and key in rule.keys
            if concerned and value != field.get_default(call_default_factory=True) and not rule.applies(entry, study):
                yield key, rule.requirement
        yield from ((f"{key}.{path}", requirement) for path, requirement in _nested(value, raw[key], study))


def _nested(value: object, raw: object, study: Study) -> Iterator[tuple[str, str]]:
    if isinstance(value, BaseModel) and isinstance(raw, dict):
        yield from idle_keys(value, raw, study)
    elif isinstance(value, dict) and isinstance(raw, dict):
        for name, nested in raw.items():
            yield from (
                (f"{name}.{path}", requirement) for path, requirement in _nested(value.get(str(name)), nested, study)
            )


def _id(member: str | dict) -> str:
    return member if isinstance(member, str) else str(member.get("id", member.get("use")))
