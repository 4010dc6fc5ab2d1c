"""The stage `evaluate`: one encoder on a batch of retrieval tasks, <task>.json and <task>.parquet each."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from retscale.encoder.card import EncoderCard
from retscale.errors import UserError
from retscale.evaluate import task_tables
from retscale.evaluate.config import EvaluateConfig, Spec
from retscale.evaluate.contrastive import Contrast
from retscale.evaluate.documents import Documents
from retscale.evaluate.result import Result
from retscale.evaluate.scored import check_grades, depth, per_query, summary
from retscale.evaluate.search import check_finite, rank_candidates, top_k
from retscale.evaluate.task_tables import Task
from retscale.evaluate.vectors import shards, shards_ahead
from retscale.model import accelerator
from retscale.model import encoder as encoders
from retscale.model.device import device, use_threads
from retscale.model.encoder import Encoder
from retscale.model.positions import extrapolates
from retscale.model.tokenize import check_room, fingerprint
from retscale.provenance import code_cache
from retscale.task.card import TaskCard
from retscale.task.inputs import by_task
from retscale.tokens.card import opened
from retscale.tokens.file import Tokens

# Unfinished work, shared by all studies run in this folder: vectors, which lie on the cluster's scratch instead where its
# site file names one. May be deleted when no job runs.
STATE = Path(".state/evaluate")


def run(spec: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Score each task of `spec`, yielding its name when its files are written."""
    config = Spec.model_validate(spec)
    accelerator.ready()
    card = check_encoder(config, inputs["encoder"])
    use_threads(config.threads)
    encoder = encoders.load_encoder(inputs["encoder"], config.precision, config.tokens_per_batch, config.length)
    prompt_sha256, at_length = card.prompt_sha256, {}
    if config.length:
        prompt_sha256 = fingerprint(encoder.tokenizer, encoder.prompt)
        beyond = extrapolates(encoder.models[0].config, config.length, config.trained_length, config.checkpoint)
        at_length = {"length": config.length, "extrapolates": beyond}
    code_sha256 = code_cache.digest(__name__)[0]
    tasks = by_task(config.tasks, inputs["tasks"])
    corpora = [TaskCard.read(path).sha256["corpus"] for _, path in tasks]
    token_files = {path.stem: path for path in inputs["tokens"]}
    if missing := [name for name, _ in tasks if name not in token_files]:
        raise UserError(
            f"--tokens: there are none of {', '.join(missing)}; run the tokens stage for this encoder first"
        )
    for number, (name, path) in enumerate(tasks):
        task = task_tables.read(path)
        check_grades(task, config.relevant)
        folder = (
            Path(os.environ.get("RETSCALE_SCRATCH") or STATE)
            / "vectors"
            / encoders.digest([encoder.sha256, corpora[number], config.storage, code_sha256])
        )
        passages = opened(token_files[name], "passage", corpora[number], prompt_sha256)
        rows, scores, entropy = rank(task, passages, encoder, config, folder)
        table = per_query(task, rows, scores, config.names, config.relevant)
        table.to_parquet(out / f"{name}.parquet", index=False)
        Result.write(out / f"{name}.json", summary(config, task, table) | {"contrastive_entropy": entropy} | at_length)
        yield name
        if corpora[number] not in corpora[number + 1 :]:
            shutil.rmtree(folder, ignore_errors=True)


def check_encoder(job: Spec, path: Path) -> EncoderCard:
    """The encoder.json; UserError unless it is of the checkpoint, recipe and step under which results are stored."""
    card = EncoderCard.read(path)
    stated = {"checkpoint": job.checkpoint, "recipe": job.recipe}
    actual = {"checkpoint": card.checkpoint, "recipe": card.recipe.id}
    if job.step is not None:
        stated["step"], actual["step"] = job.step, card.steps
    for key, value in stated.items():
        if actual[key] != value:
            raise UserError(
                f"--encoder: {path} is of the {key} {actual[key]!r}, but the spec says {value!r}; correct one of them"
            )
    return card


def rank(
    task: Task, passages: Tokens, encoder: Encoder, config: EvaluateConfig, folder: Path
) -> tuple[np.ndarray, np.ndarray, float | None]:
    """Row numbers and cosine scores (queries, at most k) of each query's best documents; and the contrastive entropy.

    `passages` are the tokens of the documents, whose vectors are kept in `folder` until the caller has published what they
    are for. p-MRR wants more than k documents.
    """
    name = task.card.id
    for instruction in task.instructions:
        check_room(encoder.tokenizer, instruction, encoder.prompt, f"the task {name}")
    queries = encoder.embed(encoder.tokens(task.queries, "query"), f"{name}: queries")
    check_finite(queries, task.query_ids, "query")

    def embed(rows: slice, replica: int) -> np.ndarray:
        return encoder.embed(passages[rows], f"{name}: documents {rows.start + 1} to {rows.stop}", replica)

    where, replicas = device(), len(encoder.models)
    vectors = shards(len(passages), embed, replicas, shards_ahead(where, replicas), np.dtype(config.storage), folder)
    documents = Documents.make(task.doc_ids, passages.number)
    contrast = Contrast.of(task, documents)
    k = depth(config, task)
    own_documents = task.own_document() if task.card.ignore_identical_ids else np.full(len(queries), -1)
    with contextlib.closing(vectors):
        watched = contrast.watch(vectors)
        if task.card.judged_only:
            candidates = (task.judged_documents != own_documents[task.judged_queries]) & task.candidate
            pairs = task.judged_queries[candidates], task.judged_documents[candidates]
            best = rank_candidates(queries, watched, documents, pairs, k, device=where)
        else:
            has_own = np.flatnonzero(own_documents >= 0)
            exclude = has_own, own_documents[has_own]
            best = top_k(queries, watched, documents, k, exclude=exclude, device=where)
    return *best, contrast.entropy(queries)
