"""The catalog: facts given once, by name; a study picks from it and may override."""

from functools import cache
from pathlib import Path

from pydantic import BaseModel

from retscale.checkpoint.config import Checkpoint
from retscale.encoder.config import GivenEncoder
from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.icl.config import IclTask
from retscale.pairs.config import PairsConfig
from retscale.reference.config import Reference
from retscale.study import families, validation, yaml
from retscale.task.config import RetrievalTask
from retscale.text.config import TextConfig

FOLDER = Path(__file__).resolve().parents[3] / "config" / "catalog"

# Each kind of entry: the catalog's file and the model that an entry must fit.
KINDS = {
    "text": ("texts", TextConfig),
    "checkpoint": ("checkpoints", Checkpoint),
    "pairs": ("pairs", PairsConfig),
    "recipe": ("recipes", Recipe),
    "task": ("tasks", RetrievalTask),
    "icl": ("icl", IclTask),
    "encoder": ("encoders", GivenEncoder),
    "reference": ("references", Reference),
}


@cache
def entries(kind: str) -> dict[str, dict]:
    """The catalog's entries of `kind`, as written; of checkpoints the members of every family."""
    path = FOLDER / f"{KINDS[kind][0]}.yaml"
    if kind == "checkpoint":
        return {id: families.entry(member) for id, member in members().items()}
    return yaml.read(path) if path.exists() else {}


@cache
def aliases() -> dict[str, str]:
    """mteb's name of a retrieval task or group -> its name in this catalog."""
    groups = {name: members[0] for name, members in suites().items() if len(members) == 1}
    return groups | {
        entry["source"]["name"]: id for id, entry in entries("task").items() if entry["source"]["kind"] == "mteb"
    }


def task_name(name: str) -> str:
    """The catalog's name of a retrieval task or group, given by that name or by mteb's."""
    return aliases().get(name, name)


@cache
def grouped_tasks() -> dict[str, list[str]]:
    """The retrieval tasks of each group."""
    groups: dict[str, list[str]] = {}
    for name, entry in entries("task").items():
        if "group" in entry:
            groups.setdefault(entry["group"], []).append(name)
    return groups


@cache
def _families() -> dict[str, dict]:
    return yaml.read(FOLDER / "checkpoints.yaml")


@cache
def members() -> dict[str, dict]:
    """The members of every family of checkpoints, with the rules for their steps."""
    return families.members(_families(), merge)


@cache
def tuned_from() -> dict[str, str]:
    """The families of checkpoints that were tuned from another one, each with that one."""
    return families.tuned_from(_families())


@cache
def gauntlets() -> dict[str, dict]:
    """The versions of the in-context gauntlet: `categories` of {task: shots, or a list of them}, `averages` of categories,
    and perhaps `baselines` of some tasks in place of their own."""
    return yaml.read(FOLDER / "gauntlets.yaml")


def gauntlet_id(task: str, shots: int) -> str:
    """The id of a gauntlet's task in a study: versions that ask it alike share its results."""
    return f"{task}.{shots}"


def asked(tasks: dict[str, int | list[int]]) -> list[tuple[str, int]]:
    """Each task of a category with each of its numbers of shots."""
    return [(task, n) for task, shots in tasks.items() for n in (shots if isinstance(shots, list) else [shots])]


def gauntlet(version: str) -> dict:
    """A version of the in-context gauntlet with the ids of its tasks."""
    parts = gauntlets()[version]
    categories = {name: [gauntlet_id(*task) for task in asked(tasks)] for name, tasks in parts["categories"].items()}
    baselines = {
        gauntlet_id(task, shots): parts["baselines"][task]
        for category in parts["categories"].values()
        for task, shots in asked(category)
        if task in parts.get("baselines", {})
    }
    return {"averages": parts["averages"], "categories": categories} | ({"baselines": baselines} if baselines else {})


@cache
def suites() -> dict[str, list]:
    """Lists of tasks by name: those of suites.yaml, and every version of the gauntlet."""
    lists = yaml.read(FOLDER / "suites.yaml")
    for version, parts in gauntlets().items():
        members = {
            gauntlet_id(task, shots): {"use": f"gauntlet.{task}", "shots": shots}
            for category in parts["categories"].values()
            for task, shots in asked(category)
        }
        lists[version] = [{"id": id, **entry} for id, entry in members.items()]
    return lists


def model(kind: str) -> type[BaseModel]:
    return KINDS[kind][1]


def resolve(kind: str, entry: str | dict, file: str, where: str) -> tuple[str, dict]:
    """The id and the complete data of an entry of a study: a name, `use: NAME` with overrides, or all in place."""
    known = entries(kind)
    name = name_in_catalog(kind, entry)
    entry = {} if isinstance(entry, str) else {key: value for key, value in entry.items() if key != "use"}
    base = {} if name is None else known[name] if name in known else _at_step(kind, name, f"{file}: {where}")
    if base is None:
        allowed = {*known, *suites()} if kind in ("task", "icl") else known
        raise validation.unknown(file, where, kind, name, allowed, listing(kind))
    id = entry.pop("id", name)
    if id is None:
        raise UserError(f"{file}: {where}: give an `id`, or name a {kind} of the catalog with `use`")
    if isinstance(id, float):  # 1.10 is 1.1 by now
        raise UserError(f"{file}: {where}.id: {id} is a number; write it in quotes")
    entry = merge(base, entry)
    if kind == "checkpoint" and entry.get("family") in tuned_from():
        # What tuning adds is no growth with pretraining, and all that is tuned from one base shares its noise.
        entry = {"role": "reference"} | entry
    return str(id), entry


def name_in_catalog(kind: str, entry: str | dict) -> str | None:
    """The name in the catalog of what an entry of a study is made from; a retrieval task may be named as mteb does."""
    name = entry if isinstance(entry, str) else entry.get("use")
    return name if name is None else task_name(str(name)) if kind == "task" else str(name)


def listing(kind: str) -> str:
    """Where the entries of `kind` are listed."""
    return f"config/catalog/{KINDS[kind][0]}.yaml"


def _at_step(kind: str, name: str, where: str) -> dict | None:
    try:
        return families.at_step(name, members()) if kind == "checkpoint" else None
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def merge(base: dict, overrides: dict) -> dict:
    """`base` with the keys of `overrides`; mappings of the same kind are merged, anything else is replaced."""
    merged = base | overrides
    for key in base.keys() & overrides.keys():
        if isinstance(base[key], dict) and isinstance(overrides[key], dict):
            same_kind = base[key].get("kind") == overrides[key].get("kind", base[key].get("kind"))
            merged[key] = merge(base[key], overrides[key]) if same_kind else overrides[key]
    return merged


def expand(listed: list, kind: str) -> list:
    """The list with each suite's name replaced by its members; `{use: SUITE, ...}` overrides keys of all of them."""
    flat = []
    for entry in listed:
        name, overrides = (entry, {}) if isinstance(entry, str) else (entry.get("use"), {**entry})
        members = suites().get(name) if isinstance(name, str) and name not in entries(kind) else None
        overrides.pop("use", None)
        flat += [_override(member, overrides) for member in expand(members, kind)] if members else [entry]
    return flat


def _override(member: str | dict, overrides: dict) -> str | dict:
    return {**({"use": member} if isinstance(member, str) else member), **overrides} if overrides else member
