"""A study's scores as mteb's result files, written by mteb's own classes."""

import json
from dataclasses import dataclass
from pathlib import Path

import mteb
from mteb.cache import ResultCache
from mteb.models.model_meta import ModelMeta, ScoringFunction
from mteb.results import TaskResult

from retscale.encoder.card import EncoderCard
from retscale.task.config import RetrievalTask, TaskData
from retscale.task.mteb_task import INSTRUCTION_METRICS

# Of a task that is not mteb's. Without any language mteb would find it no score, so it is undetermined (ISO 639-3, 15924).
UNKNOWN, LANGUAGE = "unknown", "und-Zzzz"
MTEB_NAMES = {ours: theirs for theirs, ours in INSTRUCTION_METRICS.items()}


@dataclass(frozen=True)
class MtebTask:
    """What mteb calls a task: its name, the revision of its data, which part of them is scored, and by what."""

    name: str
    revision: str
    split: str
    subset: str
    languages: list[str]
    main_score: str


def mteb_task(id: str, task: RetrievalTask, metric: str) -> MtebTask:
    """Of a task of mteb as it is, what mteb says; any other has its id in the study and the study's `metric`."""
    source = task.source
    split = getattr(source, "split", "test")
    settings = {name: field.default for name, field in TaskData.model_fields.items() if name not in ("source", "seed")}
    changed = task.pool or any(getattr(task, name) != default for name, default in settings.items())
    if source.kind != "mteb" or changed:
        return MtebTask(id, UNKNOWN, split, "default", [LANGUAGE], metric)
    about = mteb.get_task(source.name).metadata
    languages = about.hf_subsets_to_langscripts.get(source.subset, [LANGUAGE])
    return MtebTask(source.name, source.revision, split, source.subset, languages, about.main_score)


def by_mtebs_names(values: dict[str, float], relevant: int) -> dict[str, float]:
    """Means by our names, without those that mteb computes otherwise: only nDCG does not ask from which judgment on."""
    same = {name: value for name, value in values.items() if relevant == 1 or name.startswith("ndcg")}
    return {MTEB_NAMES.get(name, name): value for name, value in same.items()}


def task_result(task: MtebTask, scores: dict[str, float]) -> TaskResult:
    """Of one model; `scores` by mteb's names."""
    about = {"main_score": scores[task.main_score], "hf_subset": task.subset, "languages": task.languages}
    return TaskResult(
        dataset_revision=task.revision,
        task_name=task.name,
        mteb_version=mteb.__version__,
        scores={task.split: [scores | about]},
        evaluation_time=None,
    )


def model_meta(name: str, revision: str, card: EncoderCard) -> ModelMeta:
    """What mteb records of a model; what is not known here, such as a licence, is left empty."""
    return ModelMeta.create_empty(
        {
            "name": name,
            "revision": revision,
            "n_parameters": card.n_params.total,
            "n_embedding_parameters": card.n_params.total - card.n_params.non_embedding,
            "max_tokens": card.prompt.passage_length,
            "similarity_fn_name": ScoringFunction.COSINE,
            "use_instructions": bool(card.prompt.query_prefix or card.prompt.passage_prefix),
            "framework": ["Sentence Transformers", "PyTorch"],
        }
    )


def write(folder: Path, meta: ModelMeta, results: list[TaskResult]) -> None:
    """Into results/MODEL/REVISION of `folder`, which mteb's ResultCache reads."""
    cache = ResultCache(folder)
    for result in results:
        path = cache.get_task_result_path(result.task_name, meta)
        path.parent.mkdir(parents=True, exist_ok=True)
        result.to_disk(path)
        (path.parent / "model_meta.json").write_text(json.dumps(meta.to_dict(), indent=1, default=str) + "\n")
