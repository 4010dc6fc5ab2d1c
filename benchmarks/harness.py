"""lm-evaluation-harness on the very prompts of an in-context task, for the parity tests and the benchmark."""

import logging

import lm_eval
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from retscale.icl.config import IclTask
from retscale.icl.item import Item
from retscale.icl.prompt import Prompt

logging.getLogger("lm_eval").setLevel(logging.ERROR)

KINDS = {
    "multiple_choice": "multiple_choice",
    "schema": "multiple_choice",
    "language_modeling": "loglikelihood",
    "generation_task_with_answers": "generate_until",
}


def model(model, tokenizer, batch_size: int, max_length: int) -> HFLM:
    """The harness's own wrapper around a loaded model."""
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size, max_length=max_length, device="cpu")


def task(name: str, config: IclTask, items: list[Item], prompts: list[Prompt], new_tokens: int = 0) -> ConfigurableTask:
    """A task of the harness with a document an item. Its few-shot examples are part of the prompt."""
    documents = [
        {
            "prompt": prompt.examples + (prompt.contexts[0] if len(prompt.contexts) == 1 else ""),
            "contexts": [prompt.examples + context for context in prompt.contexts],
            "choices": list(prompt.ends),
            "end": f" {prompt.ends[0]}" if prompt.ends else "",
            "gold": item.gold,
        }
        for item, prompt in zip(items, prompts)
    ]
    asked = {"doc_to_text": "{{prompt}}", "doc_to_choice": "{{choices}}", "doc_to_target": "gold"}
    if config.type == "schema":
        asked = {"doc_to_text": "gold", "doc_to_choice": "{{contexts}}", "doc_to_target": "{{end}}"}
    if config.type == "language_modeling":
        asked = {"doc_to_text": "{{prompt}}", "doc_to_target": "{{end}}"}
    if config.type == "generation_task_with_answers":
        stop = {"until": config.stop, "max_gen_toks": new_tokens, "do_sample": False}
        asked = {"doc_to_text": "{{prompt}}", "doc_to_target": "{{gold}}", "generation_kwargs": stop}
    metrics = {"multiple_choice": ["acc", "acc_norm"], "schema": ["acc"], "language_modeling": ["acc"]}
    return ConfigurableTask(
        config={
            "task": name,
            "custom_dataset": lambda **_: {"test": Dataset.from_list(documents)},
            "test_split": "test",
            "output_type": KINDS[config.type],
            "target_delimiter": " " if config.type == "multiple_choice" else "",
            "metric_list": [{"metric": metric} for metric in metrics.get(config.type, ["exact_match"])],
            **asked,
        }
    )


def run(peer: HFLM, tasks: list[ConfigurableTask]) -> dict[str, list[dict]]:
    """Each task's samples, in the order of its items."""
    none = TaskManager(include_defaults=False)  # to read those that the harness comes with takes seconds
    evaluated = lm_eval.simple_evaluate(
        model=peer, tasks=tasks, num_fewshot=0, task_manager=none, bootstrap_iters=0, log_samples=True
    )
    return {name: sorted(rows, key=lambda row: row["doc_id"]) for name, rows in evaluated["samples"].items()}
