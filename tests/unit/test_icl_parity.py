"""Per-item agreement with lm-evaluation-harness on the same prompts and model, and where the gauntlet differs."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from icl_models import TEXT, decoder, tokenizer
from transformers import LlamaConfig

from retscale.icl import items as icl_items
from retscale.icl.config import IclTask
from retscale.icl.decoder import Decoder
from retscale.icl.prompt import answer_length, build, shots, tokens
from retscale.icl.run import Reader, evaluate
from retscale.study import catalog

ROOT = Path(__file__).parents[2]

sys.path.insert(0, str(ROOT / "benchmarks"))
import harness

pytestmark = pytest.mark.slow

LENGTH = 2048
PUBLISHED = ["piqa.0", "arc_easy.3", "copa.0", "winograd.3", "lambada_openai.0", "simple_arithmetic_nospaces.5"]
PUBLISHED += ["bigbench_qa_wikidata.3", "triviaqa_sm_sub.3"]


@pytest.fixture(scope="module")
def reader() -> Reader:
    config = LlamaConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=400,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=True,
    )
    words = tokenizer()
    return Reader(Decoder(decoder(config), words.pad_token_id), words, LENGTH, 4096, 1)


@pytest.fixture(scope="module")
def peer(reader):
    return harness.model(reader.decoder.model, reader.tokenizer, 4, LENGTH)


def published(name: str, folder: Path) -> IclTask:
    over = {"use": "gauntlet-v0.3", "max_items": 4, "source": {"folder": str(folder)}}
    entry = next(entry for entry in catalog.expand([over], "icl") if entry["id"] == name)
    return IclTask.model_validate(catalog.resolve("icl", entry, "", "")[1])


def own(kind: str, folder: Path, more: tuple[dict, ...] = (), shown: int = 2) -> IclTask:
    """A small task of each type, on texts of ours; `more` rows follow."""
    words = [text.rstrip(".").split() for text in TEXT for _ in range(3)]
    rows = {
        "multiple_choice": [
            {"query": " ".join(w[: 5 + i]), "choices": [" ".join(w[5 + i : 8 + i]), w[i], "house"], "gold": i % 3}
            for i, w in enumerate(words)
        ],
        "schema": [
            {"context_options": [" ".join(w[:6]), " ".join(w[i : 7 + i])], "continuation": w[9], "gold": i % 2}
            for i, w in enumerate(words)
        ],
        "language_modeling": [{"context": " ".join(w[: 5 + i]), "continuation": w[5 + i]} for i, w in enumerate(words)],
        "generation_task_with_answers": [
            {"context": " ".join(w[: 6 + i]), "answer": "house", "aliases": [w[i]]} for i, w in enumerate(words)
        ],
    }[kind]
    rows += more
    path = folder / f"{kind}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = {"kind": "jsonl", "folder": str(folder), "file": path.name}
    return IclTask.model_validate({"type": kind, "source": source, "shots": shown, "stop": ["\n"]})


def both(name: str, task: IclTask, reader: Reader, peer):
    every, _ = icl_items.read(task)
    examples, chosen = shots(every, task), icl_items.sample(every, task)
    prompts = [build(every[i], [every[j] for j in examples[i]], task) for i in chosen]
    generated = task.type == "generation_task_with_answers"
    new = answer_length(reader.tokenizer, every, task) if generated else 0
    theirs = harness.run(peer, [harness.task(name, task, [every[i] for i in chosen], prompts, new)])[name]
    result, ours = evaluate(task, name, None, reader)
    return theirs, ours, result, [every[i] for i in chosen]


def agree(name: str, task: IclTask, reader: Reader, peer) -> None:
    theirs, ours, result, items = both(name, task, reader, peer)
    assert len(theirs) == len(ours) and result["trimmed"] == 0
    if task.type == "generation_task_with_answers":
        # The harness cuts before the stop, we behind it.
        cut = [
            min((output.find(s) for s in task.stop if s in output), default=len(output)) for output in ours["output"]
        ]
        assert [row["resps"][0][0] for row in theirs] == [output[:at] for output, at in zip(ours["output"], cut)]
        return
    sums = [np.array([answer[0][0] for answer in row["resps"]]) for row in theirs]
    for row, total in zip(ours.itertuples(), sums):
        np.testing.assert_allclose(row.logprobs * row.tokens, total, rtol=1e-4, atol=2e-3)
    gold = [item.end or item.choices[item.gold] for item in items]
    costs = [-total[item.gold] / np.log(2) / len(text.encode()) for total, item, text in zip(sums, items, gold)]
    np.testing.assert_allclose(ours["bits_per_byte"], costs, rtol=1e-4, atol=2e-3)
    if not task.categories:
        assert result["bits_per_byte"] == pytest.approx(np.mean(costs), rel=1e-4)
    if task.type == "language_modeling":
        assert ours["correct"].tolist() == [bool(row["acc"]) for row in theirs]
        return
    # The gauntlet compares log-probabilities by token; the harness by their sum (acc) and, of choices, by character.
    assert ours["prediction"].tolist() == [
        int(np.argmax(total / count)) for total, count in zip(sums, ours["tokens"], strict=True)
    ]
    if task.type == "multiple_choice":
        assert result["value_by"]["sum"] == np.mean([row["acc"] for row in theirs])
        if all(choice.isascii() for item in items for choice in item.choices):
            assert result["value_by"]["byte"] == np.mean([row["acc_norm"] for row in theirs])


@pytest.mark.parametrize("name", PUBLISHED)
def test_gauntlet_tasks_agree_item_by_item(name, shared, reader, peer):
    agree(name, published(name, shared / "gauntlet/local_data"), reader, peer)


@pytest.mark.parametrize("kind", ["multiple_choice", "schema", "language_modeling", "generation_task_with_answers"])
def test_tasks_of_each_type_agree_item_by_item(kind, reader, peer, tmp_path):
    agree(kind, own(kind, tmp_path), reader, peer)


def test_the_ways_to_compare_choices_differ(reader, peer, tmp_path):
    """The token, sum and byte rules are no synonyms: on one task they pick different choices of some item."""
    _, ours, _, items = both("ways", own("multiple_choice", tmp_path), reader, peer)
    sums = [row.logprobs * row.tokens for row in ours.itertuples()]
    ways = [
        [int(np.argmax(row)) for row in ours["logprobs"]],
        [int(np.argmax(row)) for row in sums],
        [int(np.argmax(row / [len(c) for c in item.choices])) for row, item in zip(sums, items)],
    ]
    assert ways[0] != ways[1] and ways[1] != ways[2]


def test_continuations_that_the_model_would_write_agree_as_well(reader, peer, tmp_path):
    """Random models hardly ever guess a word, so some continuations are made from what this one writes."""
    words, more = reader.tokenizer, []
    starts = [" ".join(text.split()[:n]) for text in TEXT for n in range(1, 20)]
    for start in starts:
        ids, mask = reader.decoder.batch([words(start)["input_ids"]])
        place = torch.tensor([0]), torch.tensor([ids.shape[1] - 1])
        text = words.decode(reader.decoder.logits(ids, mask, *place).argmax(1))
        if text[0] == " " and text.isascii() and text.strip() and len(words(text)["input_ids"]) == 1:
            more.append({"context": start, "continuation": text.strip()})
    task = own("language_modeling", tmp_path, tuple(more), shown=0)
    agree("lm", task, reader, peer)
    correct = evaluate(task, "lm", None, reader)[1]["correct"]
    assert correct[-len(more) :].all() and not correct[: -len(more)].any() and more


def test_the_harness_gives_every_item_the_same_shots_and_the_gauntlet_does_not():
    """By design: one stream of random numbers runs through the items, so each has examples of its own."""
    task = IclTask.model_validate(
        {"type": "schema", "source": {"kind": "jsonl", "folder": "x", "file": "x.jsonl"}, "shots": 3}
    )
    items = [icl_items.Item("", (f"a {i}", f"b {i}"), 0, end="end") for i in range(20)]
    drawn = shots(items, task)
    assert len({tuple(one) for one in drawn}) > 15 and all(i not in one for i, one in enumerate(drawn))
    assert tokens(tokenizer(), [build(items[0], [items[i] for i in drawn[0]], task)])
