"""`seeds:` of a recipe, or of a checkpoint that is pretrained here: each further seed makes a repeat, called ID.seed-S."""

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field

from retscale.checkpoint.config import Checkpoint
from retscale.collect.repeats import Repeat
from retscale.common.strict import Strict
from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.study import validation

Seed = Annotated[int, Field(ge=0, lt=2**31)]
KEY = "seeds"


class Seeds(Strict):
    """`use`: the seeds, which include the study's own; `checkpoints`: those that a recipe repeats, all if None."""

    use: list[Seed] = Field(min_length=2)
    checkpoints: list[str] | None = Field(None, min_length=1)


def recipes(
    entries: dict[str, Recipe], study_keys: Mapping[str, dict], parts: Mapping[str, list[str]], own: int, file: str
) -> tuple[dict[str, Repeat], dict[str, list[str]]]:
    """The repeats of recipes, and the checkpoints of each repeat.

    `study_keys`: the values of model.STUDY_KEYS by entry; `parts`: the checkpoints of each recipe; `own`: the study's seed.
    """
    repeats, repeated = {}, {}
    for id, where in _with_seeds("recipes", study_keys):
        if entries[id].tuning == "none":
            raise UserError(f"{file}: {where}: this recipe trains nothing, so it has no seed; remove it")
        seeds = _read(study_keys[id][KEY], own, file, where)
        for name in seeds.checkpoints or ():
            if name not in parts[id]:
                raise validation.unknown(file, f"{where}.checkpoints", "checkpoint of this recipe", name, parts[id])
        further = _repeats(id, seeds, own, entries, file, where)
        of = [name for name in parts[id] if seeds.checkpoints is None or name in seeds.checkpoints]
        repeats, repeated = repeats | further, repeated | dict.fromkeys(further, of)
    return repeats, repeated


def checkpoints(
    entries: dict[str, Checkpoint], study_keys: Mapping[str, dict], own: int, file: str
) -> dict[str, Repeat]:
    """The repeats of checkpoints. A seed repeats the pretraining, so it must happen here; UserError otherwise."""
    repeats = {}
    for id, where in _with_seeds("checkpoints", study_keys):
        if entries[id].source.kind != "pretrain":
            raise UserError(f"{file}: {where}: only a checkpoint that is pretrained here has a seed; remove it")
        seeds = _read({"use": study_keys[id][KEY]}, own, file, where)
        repeats |= _repeats(id, seeds, own, entries, file, where)
    return repeats


def _with_seeds(section: str, study_keys: Mapping[str, dict]) -> list[tuple[str, str]]:
    return [(id, f"{section} ({id}).{KEY}") for id, apart in study_keys.items() if KEY in apart]


def _read(written: object, own: int, file: str, where: str) -> Seeds:
    """The value of `seeds:`, which is a list, or a mapping that limits the seeds to some checkpoints."""
    seeds = validation.validate(Seeds, written if isinstance(written, dict) else {"use": written}, file, where)
    if twice := [seed for seed in seeds.use if seeds.use.count(seed) > 1]:
        raise UserError(f"{file}: {where}: {twice[0]} is given twice; name each seed once")
    if own not in seeds.use:
        raise UserError(
            f"{file}: {where}: the study's own seed, {own}, is missing; add it, or change the study's `seed`"
        )
    return seeds


def _repeats(id: str, seeds: Seeds, own: int, ids: Collection[str], file: str, where: str) -> dict[str, Repeat]:
    """The repeats of the entry `id`, by their ids; UserError if another entry has such an id."""
    further = {f"{id}.seed-{seed}": Repeat(of=id, seed=seed) for seed in seeds.use if seed != own}
    for name, repeat in further.items():
        if name in ids:
            raise UserError(
                f"{file}: {where}: the repeat with seed {repeat.seed} is called {name!r}, as another entry is; rename that"
            )
    return further
