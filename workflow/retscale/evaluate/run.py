"""The stage `evaluate`: one encoder on a batch of retrieval tasks, <task>.json and <task>.parquet each."""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from retscale.errors import UserError
from retscale.evaluate import metrics, task_tables
from retscale.evaluate.config import EvaluateConfig
from retscale.evaluate.search import rank_candidates, top_k
from retscale.evaluate.task_tables import Task
from retscale.model.device import device, dtype
from retscale.model.encode import encode
from retscale.model.load import load_backbone, load_tokenizer
from retscale.model.prompt import Prompt, Side
from retscale.model.tokenize import fingerprint

Embed = Callable[[list[str], Side, str], np.ndarray]


def run(spec: dict, inputs: dict, out: Path) -> Iterator[str]:
    """Score each task of `spec`, yielding its name when its files are written."""
    k = EvaluateConfig(k=spec["k"]).k
    embed = load_encoder(inputs["encoder"], spec["precision"], spec["tokens_per_batch"])
    for name, path in zip(spec["tasks"], inputs["tasks"], strict=True):
        task = task_tables.read(path)
        if task.facts["id"] != name:
            raise UserError(
                f"{path} is the task {task.facts['id']!r}, where the spec has {name!r}; give --tasks in the order of the spec"
            )
        rows, scores = rank(task, embed, k)
        table = per_query(task, rows, scores)
        table.to_parquet(out / f"{name}.parquet", index=False)
        result = {
            "checkpoint": spec["checkpoint"],
            "recipe": spec["recipe"],
            "task": name,
            "metrics": {metric: float(table[metric].mean()) for metric in METRICS},
            "n_queries": len(task.queries),
            "n_documents": len(task.documents),
            "judged_only": task.facts["judged_only"],
            "ties": int((np.isfinite(scores[:, 1:]) & (scores[:, 1:] == scores[:, :-1])).any(1).sum()),
            "k": k,
        }
        (out / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        yield name


METRICS = ("ndcg_at_10", "recall_at_10", "recall_at_100", "mrr_at_10")


def load_encoder(path: Path, precision: str, tokens_per_batch: int) -> Embed:
    """embed(texts, side, what) of the encoder whose encoder.json is `path`.

    Prompt and pooling are those that it was trained with, and cannot be others. UserError if its files are not the ones
    that encoder.json lists, or if texts would become other tokens than in training.
    """
    facts = json.loads(path.read_text(encoding="utf-8"))
    for name, expected in facts["files"].items():
        with (path.parent / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise UserError(
                    f"{path.parent / name} is not the file that {path.name} lists; fine-tune this encoder again"
                )
    tokenizer = load_tokenizer(path.parent)
    prompt = trained_prompt(facts, tokenizer, path)
    model = load_backbone(path.parent, dtype(precision)).to(device())

    def embed(texts: list[str], side: Side, what: str) -> np.ndarray:
        vectors = encode(
            model,
            tokenizer,
            texts,
            prompt,
            side,
            pooling=facts["pooling"],
            normalize=facts["normalize"],
            tokens_per_batch=tokens_per_batch,
            what=what,
        )
        bad = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(bad):
            raise UserError(
                f"{path.parent}: {len(bad)} of {len(texts)} embeddings are not finite ({what}), first that of "
                f"{texts[bad[0]][:80]!r}; the encoder has diverged: fine-tune it with a lower learning rate"
            )
        return vectors

    return embed


def trained_prompt(facts: dict, tokenizer: PreTrainedTokenizerBase, path: Path) -> Prompt:
    """The prompt in encoder.json; UserError unless it makes of texts the tokens that it made in training."""
    try:
        prompt = Prompt.model_validate(facts["prompt"])
        same = fingerprint(tokenizer, prompt) == facts["prompt_sha256"]
    except (KeyError, ValidationError):
        raise UserError(f"{path} holds no valid prompt; fine-tune this encoder again") from None
    if not same:
        raise UserError(
            f"{path}: with this prompt and tokenizer texts become other tokens than in training (prompt_sha256 "
            f"differs); undo the edit, install the tokenizers and transformers that {path.parent.name} was trained "
            "with, or fine-tune it again"
        )
    return prompt


def rank(task: Task, embed: Embed, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers and cosine scores (queries, at most k) of each query's best documents."""
    name = task.facts["id"]
    queries = embed(task.queries, "query", f"{name}: queries")
    documents = embed(task.documents, "passage", f"{name}: documents")
    own = task.own_document() if task.facts["ignore_identical_ids"] else np.full(len(queries), -1)
    if task.facts["judged_only"]:
        offered = task.judged_documents != own[task.judged_queries]
        pairs = task.judged_queries[offered], task.judged_documents[offered]
        return rank_candidates(queries, documents, task.doc_ids, pairs, k)
    return top_k(queries, documents, task.doc_ids, k, exclude=own, device=device())


def per_query(task: Task, rows: np.ndarray, scores: np.ndarray) -> pd.DataFrame:
    """One row a query: the metrics, and the ranking they were computed from."""
    gains = metrics.ranked_gains(rows, task.judged_queries, task.judged_documents, task.scores)
    ideal = metrics.ideal_gains(len(rows), task.judged_queries, task.scores, 10)
    relevant = np.bincount(task.judged_queries[task.scores > 0], minlength=len(rows))
    found = rows >= 0
    return pd.DataFrame(
        {
            "query_id": task.query_ids,
            "ndcg_at_10": metrics.ndcg(gains, ideal, 10),
            "recall_at_10": metrics.recall(gains, relevant, 10),
            "recall_at_100": metrics.recall(gains, relevant, 100),
            "mrr_at_10": metrics.mrr(gains, 10),
            "doc_ids": [task.doc_ids[row[there]].tolist() for row, there in zip(rows, found)],
            "scores": [row[there] for row, there in zip(scores, found)],
        }
    )
