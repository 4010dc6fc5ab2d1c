"""The specs of all jobs: each holds exactly the settings that its job uses, so that no other change runs it again.

Settings that only describe (license, family, labels) go to `collect` and `report`, which are cheap to run again.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from pydantic import BaseModel

from retscale.encoder.config import GIVEN, Truncation
from retscale.study import catalog, comparisons, names
from retscale.study.study import Study

DESCRIPTIVE = {"licence", "origin", "note"}
LABELS = {"family", "size", "role", "gated", "model_type", "learned_positions", "unsupported", "evidence"}


def text(study: Study) -> dict:
    return study.text.model_dump(mode="json", exclude={"sources": {"__all__": DESCRIPTIVE}})


def checkpoint(study: Study, id: str) -> dict:
    entry = plain(study.checkpoints[id], without=DESCRIPTIVE | LABELS)
    threads = {"threads": study.file.threads} if entry["source"]["kind"] == "pretrain" else {}
    repeat = study.repeats.checkpoints.get(id)
    return {
        "id": id,
        "seed": repeat.seed if repeat else study.file.seed,
        "precision": study.file.precision,
        **threads,
        **entry,
    }


def pairs(study: Study, id: str) -> dict:
    config = plain(study.pairs[id], without=DESCRIPTIVE | {"tasks"})
    exclude, held_out = config["exclude"], {}
    for name, test in study.held_out.items():
        if test.source.kind == "wheel" and not test.texts_from:
            part = {"name": name, "strip": getattr(test.source, "strip", None)}
            part |= test.source.model_dump(mode="json", include={"wheel", "files", "part"})
            exclude += [part | {"field": field} for field in test.text_fields()]
        else:
            source = None if test.texts_from else plain(test.source)
            held_out[name] = {"fields": test.text_fields(), "source": source}
    return {"id": id, **config, "held_out": held_out}


def mine(study: Study) -> dict:
    """An encoder's settings only where one is used: BM25 must not run again for another precision."""
    config = plain(study.file.mine)
    if study.file.mine.encoders():
        config |= {"precision": study.file.precision, "tokens_per_batch": study.file.tokens_per_batch}
        config["threads"] = study.file.threads
    return config


def finetune(study: Study, recipe: str) -> dict:
    repeat = study.repeats.recipes.get(recipe)
    return {
        "recipe": {"id": recipe, **plain(study.recipes[recipe].used(), without={"weights"})},
        "pairs": study.mixture(recipe),
        "seed": repeat.seed if repeat else study.file.seed,
        "precision": study.file.precision,
        "threads": study.file.threads,
    }


def training_tokens(study: Study, recipe: str, pairs: str) -> dict:
    instructions = study.recipes[recipe].instructions
    data = {"instruction": instructions[pairs]} if pairs in instructions else {}
    return {"prompt": plain(study.recipes[recipe].prompt), "tasks": {pairs: data}}


def tokens(tasks: list[str]) -> Callable[..., dict]:
    """The function that makes the spec of an encoder's job on the tasks of a batch."""

    def cut(study: Study, checkpoint: str, recipe: str) -> dict:
        prompt = None if recipe == GIVEN else plain(study.recipes[recipe].prompt)
        return {"prompt": prompt, "tasks": {id: {} for id in tasks}, **at_lengths(study, checkpoint, recipe, tasks)}

    return cut


def at_lengths(study: Study, checkpoint: str, recipe: str, tasks: list[str]) -> dict:
    """The key with the further lengths of an encoder on a batch of tasks; empty if there are none."""
    lengths = study.lengths(checkpoint, recipe, tasks)
    return {"lengths": {str(length): names for length, names in lengths.items()}} if lengths else {}


def trained_length(study: Study, checkpoint: str) -> dict:
    """The context length of a checkpoint that is pretrained here; the files of other checkpoints state theirs."""
    source = study.checkpoints[checkpoint].source if checkpoint in study.checkpoints else None
    return {"trained_length": source.block_length} if source and source.kind == "pretrain" else {}


def task(study: Study, id: str) -> dict:
    task = study.tasks_to_read[id]
    if task.pool:
        return {"id": id, "source": {"kind": "cut", "of": task.cut_of, **plain(task.pool)}, "seed": task.seed}
    return {"id": id, **plain(task, without=DESCRIPTIVE | {"alone", "corpus", "group", "cut_of", "pool"})}


def evaluate(tasks: list[str]) -> Callable[..., dict]:
    """As `tokens`: the job evaluates the last encoder of a training, and the kept ones on tasks of curves."""

    def cut(study: Study, checkpoint: str, recipe: str) -> dict:
        keep, lengths = study.kept_steps(recipe, tasks), at_lengths(study, checkpoint, recipe, tasks)
        return {
            "checkpoint": checkpoint,
            "recipe": recipe,
            "step": None,
            "tasks": {id: {} for id in tasks},
            **({"keep": keep, "curve_tasks": study.in_curves(tasks)} if keep else {}),
            **(lengths | trained_length(study, checkpoint) if lengths else {}),
            "precision": study.file.precision,
            "tokens_per_batch": study.file.tokens_per_batch,
            "threads": study.file.threads,
            **plain(study.file.evaluate),
        }

    return cut


def encoder(study: Study, id: str) -> dict:
    given = study.encoders[id]
    truncation = plain(given, without=type(given).model_fields.keys() - Truncation.model_fields)
    return {"id": id, "source": plain(given.source), **truncation}


def reference(tasks: list[str]) -> Callable[..., dict]:
    """The function that makes the spec of a reference's job on the tasks of a batch."""

    def cut(study: Study, id: str) -> dict:
        scoring = plain(study.file.evaluate, without={"storage"})
        return {"id": id, "system": plain(study.references[id]), "tasks": {task: {} for task in tasks}, **scoring}

    return cut


def leakage(study: Study) -> dict:
    return {"tasks": {id: {} for id in sorted(study.tasks)}}


def items(study: Study, task: str) -> dict:
    return {"id": task, "source": study.items_to_fetch[task].source.model_dump(mode="json")}


def icl(study: Study, checkpoint: str) -> dict:
    return {
        "checkpoint": checkpoint,
        "tasks": {id: plain(task, without=DESCRIPTIVE) for id, task in study.icl.items()},
        "precision": study.file.precision,
        "tokens_per_batch": study.file.tokens_per_batch,
        "threads": study.file.threads,
        "seed": study.file.seed,
    }


def collect(study: Study) -> dict:
    if study.published:
        return published(study)
    return {
        "study": study.name,
        "headline": study.headline,
        "in_domain": study.in_domain,
        **({"in_domain_by_recipe": study.in_domain_by_recipe} if study.in_domain_by_recipe else {}),
        **({"beside": study.beside} if study.beside else {}),
        "groups": study.groups,
        **({"comparisons": plain(pairs)} if (pairs := comparisons.of(study)) else {}),
        "recipes": [id for id in study.ladders if id not in study.untuned],
        **({"repeats": plain(study.repeats)} if study.repeats else {}),
        **({"untuned": study.untuned} if study.untuned else {}),
        "main_recipe": next(iter(study.recipes)),
        "checkpoints": {
            id: {"family": c.family, "size": c.size, "role": c.role}
            | ({"icl": False} if id in study.retrieval_only else {})
            for id, c in study.checkpoints.items()
        },
        **versions(study),
        "encoders": list(study.encoders),
        **({"references": {id: plain(system) for id, system in study.references.items()}} if study.references else {}),
        "averages": {version: catalog.gauntlet(version) for version in study.file.averages},
        "seed": study.file.seed,
    }


def published(study: Study) -> dict:
    """The spec of `collect` for a study of published results."""
    known = names.published(study)
    settings = plain(study.published, without={"scores", "models", "licence", "trained_on", "tasks"})
    settings |= {"metric": study.file.fit.metric, "models": None, "splits": splits(study)}
    if Path(study.published.scores).is_dir():  # files of mteb state the revision of their data
        settings["revisions"] = revisions(study)
    settings["names"] = known | {name: known[task] for name, task in study.published.tasks.items()}
    return {
        "study": study.name,
        "headline": study.headline,
        "in_domain": study.in_domain,
        **({"beside": study.beside} if study.beside else {}),
        "groups": study.groups,
        **versions(study),
        "published": settings,
        "seed": study.file.seed,
    }


def versions(study: Study) -> dict:
    """The keys with tasks that are in no mean, and with cuts and their whole tasks; none if the study has none."""
    named = {"contrasts": list(study.contrasts), "cuts": study.cuts}
    return {key: value for key, value in named.items() if value}


def fit(study: Study) -> dict:
    return {**plain(study.file.fit), "seed": study.file.seed}


def external(study: Study) -> dict:
    """The spec of `external`: how to read each published table, and which task of the study each name in it means."""
    known, tables = names.published(study), []
    for entry in study.file.external:
        own = {name: known[task] for name, task in entry.tasks.items()}
        settings = plain(entry, without={"table", "results", "licence", "tasks"})
        if entry.results:  # files of mteb
            settings["revisions"] = revisions(study)
        tables.append(settings | {"names": known | own, "splits": splits(study)})
    return {"headline": list(study.headline), "tables": tables}


def splits(study: Study) -> dict[str, str]:
    """The split of each task whose source names one."""
    return {id: split for id, task in study.tasks.items() if (split := getattr(task.source, "split", None))}


def revisions(study: Study) -> dict[str, str]:
    """The revision of the data of each task from mteb."""
    return {id: task.source.revision for id, task in study.tasks.items() if task.source.kind == "mteb"}


def figure(study: Study, name: str) -> dict:
    return {"name": name, **plain(study.file.figures[name])}


def report(study: Study) -> dict:
    def described(entries: dict) -> dict:
        return {id: {key: getattr(entry, key, "") for key in sorted(DESCRIPTIVE)} for id, entry in entries.items()}

    return {
        **{key: getattr(study.file, key) for key in ("title", "description", "deviations", "machine")},
        "checkpoints": {
            id: description | {"tokens": study.checkpoints[id].evidence.get("tokens", "")}
            for id, description in described(study.checkpoints).items()
            if id not in study.repeats.checkpoints
        }
        | described(study.encoders),
        "pairs": described(study.pairs),
        "mixtures": {recipe: study.mixture(recipe) for recipe in study.ladders},
        "text": described({source.name: source for source in study.text.sources} if study.text else {}),
        "tasks": described(study.tasks),
        "icl": described(study.icl),
        "external": [entry.licence for entry in study.file.external],
        "published": study.published and {key: getattr(study.published, key) for key in ("source", "licence")},
    }


def plain(config: BaseModel, without: Collection[str] = ()) -> dict:
    """A model as plain JSON types."""
    return config.model_dump(mode="json", exclude=set(without))
