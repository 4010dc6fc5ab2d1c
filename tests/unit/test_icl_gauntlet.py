"""The gauntlet's five task types as released, its averages, and what is refused."""

import csv
import dataclasses
import hashlib
import json
import re
import subprocess
import time
import zlib
from pathlib import Path

import artifacts
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import retscale
from host import Waits
from icl_models import decoder, save, tokenizer
from pydantic import ValidationError
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BloomConfig,
    ElectraConfig,
    Gemma2Config,
    GemmaConfig,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    ModernBertConfig,
    MptConfig,
    Olmo2Config,
    OlmoConfig,
    OPTConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
    RobertaConfig,
    T5Config,
)

from retscale import cli
from retscale.errors import UserError
from retscale.icl import items as icl_items
from retscale.icl import run as icl_run
from retscale.icl import sandbox
from retscale.icl.answer import extract, matches, normalize
from retscale.icl.average import averages, centered
from retscale.icl.cache import bytes_per_token
from retscale.icl.config import IclTask
from retscale.icl.decoder import Decoder
from retscale.icl.generate import Sampler, _generate_batch, generate, similar_batches, text
from retscale.icl.item import Item
from retscale.icl.prompt import Prompt, answer_length, build, cut, shots, tokens
from retscale.icl.run import Reader, evaluate, run
from retscale.icl.score import score
from retscale.icl.summary import accuracy
from retscale.items import run as items_run
from retscale.model.attention import use_fused
from retscale.study import catalog

SMALL = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 400}
GROUPED = {**SMALL, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 512}
FAMILIES = {
    "llama, smollm2": LlamaConfig(**GROUPED),
    "pythia": GPTNeoXConfig(**SMALL, intermediate_size=64),
    "gpt-2, cerebras-gpt": GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=400, n_positions=512),
    "gpt-neo": GPTNeoConfig(
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=16,
        vocab_size=400,
    ),
    "mpt": MptConfig(d_model=32, n_heads=4, n_layers=2, vocab_size=400, max_seq_len=512),
    "bloom": BloomConfig(hidden_size=32, n_layer=2, n_head=4, vocab_size=400),
    "opt": OPTConfig(**SMALL, ffn_dim=64, word_embed_proj_dim=32),
    "qwen2": Qwen2Config(**GROUPED),
    "gemma": GemmaConfig(**GROUPED, head_dim=8),
    "gemma2": Gemma2Config(**GROUPED, head_dim=8, sliding_window=16),
    "gpt-j": GPTJConfig(n_embd=32, n_layer=2, n_head=4, rotary_dim=8, vocab_size=400, n_positions=512),
    "mistral": MistralConfig(**GROUPED, sliding_window=128),
    "olmo": OlmoConfig(**GROUPED),
    "olmo2": Olmo2Config(**GROUPED),
    "phi": PhiConfig(**SMALL, intermediate_size=64, max_position_embeddings=512),
    "qwen3": Qwen3Config(**GROUPED, head_dim=8),
}
SMALL_ENCODER = {**SMALL, "intermediate_size": 64, "pad_token_id": 0}
ENCODERS = {
    "bert": BertConfig(**SMALL_ENCODER),
    "roberta": RobertaConfig(**SMALL_ENCODER),
    "electra": ElectraConfig(**SMALL_ENCODER),
    "modernbert": ModernBertConfig(**SMALL_ENCODER),
    "t5": T5Config(vocab_size=400, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4),
}


def task(kind: str = "multiple_choice", **more) -> IclTask:
    source = {"kind": "jsonl", "folder": "nowhere", "file": "x.jsonl"}
    return IclTask.model_validate({"type": kind, "source": source} | more)


def file(folder: Path, rows: list[dict], kind: str, **more) -> IclTask:
    """A task of `rows`."""
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return task(kind, **more, source={"kind": "jsonl", "folder": str(folder), "file": "x.jsonl"})


def repository(folder: Path, rows: list[dict]) -> tuple[str, str]:
    """A git repository with `rows` in x.jsonl, and its commit."""
    made = folder / "repository"
    made.mkdir()
    (made / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for arguments in (["init"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-m", "one"]):
        subprocess.run(["git", "-C", made, *arguments], check=True, capture_output=True)
    head = subprocess.run(["git", "-C", made, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    return str(made), head.stdout.strip()


# --- prompts


def test_shots_are_the_released_ones():
    """Golden lists: llm-foundry's get_fewshot_sample_idxs with random.Random(1234), run apart from this code."""
    some = [Item(f"q{i}", ("a", "b"), 0) for i in range(8)]
    expected = [[1, 6, 7], [0, 5, 6], [0, 1, 3], [0, 6, 7], [2, 5, 7], [0, 1, 7], [0, 1, 7], [0, 1, 4]]
    assert shots(some, task(shots=3)) == expected
    more = [Item(f"q{i}", ("a", "b"), 0) for i in range(40)]
    assert shots(more, task(shots=3))[:4] == [[28, 5, 7], [2, 5, 37], [15, 6, 22], [1, 22, 39]]


def test_shots_come_from_the_items_own_category_with_a_stream_of_its_own():
    some = [Item(f"q{i}", ("a", "b"), 0, category="odd" if i % 2 else "even") for i in range(16)]
    drawn = shots(some, task(shots=3, categories=True))
    alone = shots(some[::2], task(shots=3))
    assert drawn[::2] == [[2 * j for j in one] for one in alone] and drawn[1::2] == [
        [2 * j + 1 for j in o] for o in alone
    ]
    with pytest.raises(UserError, match="category 'even' has 8 items, too few for 8 shots"):
        shots(some, task(shots=8, categories=True))


def test_prompts_of_each_type():
    one, other = Item("Q1", ("a1", "b1"), 1), Item("Q2", ("a2", "b2"), 0)
    prompt = build(one, [other, other], task(delimiter="\nAnswer: ", prelimiter="> "))
    assert prompt == Prompt("> Q2\nAnswer: a2\n> Q2\nAnswer: a2", ("\n> Q1\nAnswer:",), ("a1", "b1"))
    assert build(one, [], task()) == Prompt("", ("Q1",), ("a1", "b1"))

    one, other = Item("25 - 7 =", ("-734",), 0), Item("1 + 1 =", ("2",), 0)
    assert build(one, [other], task("language_modeling")) == Prompt("1 + 1 = 2", ("\n25 - 7 =",), ("-734",))

    one, other = Item("", ("so Sarah", "so Maria"), 1, end="won."), Item("", ("he", "she"), 0, end="lost.")
    assert build(one, [], task("schema")) == Prompt("", ("so Sarah", "so Maria"), ("won.",))
    prompt = build(one, [other], task("schema", prelimiter="> "))  # the two openings stand in the other order
    assert prompt == Prompt("> he lost.", ("> \nso Sarah", "> \nso Maria"), ("won.",))

    thought = {"prelimiter": "Question: ", "delimiter": "\n\nA:", "cot_delimiter": "The answer is "}
    one, other = Item("x", ("1",), 0, thought="t1 "), Item("y", (" 2 ", "two"), 0, thought="t2")
    prompt = build(one, [other], task("generation_task_with_answers", **thought))
    assert prompt == Prompt("Question: y\n\nA:t2The answer is 2", ("\nQuestion: x\n\nA:",), ())
    assert build(Item("def f():\n", ("  pass",), 0), [], task("code_evaluation")).contexts == ("def f():\n ",)


def test_special_tokens_come_before_the_examples_only():
    words = tokenizer()
    words._tokenizer.post_processor = TemplateProcessing(single="<eos> $A <eos>", special_tokens=[("<eos>", 0)])

    def plain(t):
        return words(t, add_special_tokens=False)["input_ids"]

    with_shots, without = tokens(words, [Prompt("one", ("\ntwo",), ("three",)), Prompt("", ("two",), ("three",))])
    assert with_shots.contexts == [[0, *plain("one"), *plain("\ntwo")]] and with_shots.ends == [plain(" three")]
    assert without.contexts == [[0, *plain("two")]]
    assert tokens(words, [Prompt("", ("x",), (" y",))])[0].ends == [plain(" y")]  # no second blank


def test_released_rows_become_items(tmp_path):
    rows = {
        "multiple_choice": {"query": " q \n", "choices": [" a", "b"], "gold": 1, "category": "c"},
        "language_modeling": {"context": " c ", "continuation": " -734"},
        "schema": {"context_options": ["a ", "b"], "continuation": " end ", "gold": 0},
        "generation_task_with_answers": {
            "context": "q ",
            "answer": "A ",
            "aliases": ["B", "A "],
            "chain_of_thought": "t",
        },
    }
    expected = {
        "multiple_choice": Item("q", (" a", "b"), 1, category="c"),
        "language_modeling": Item("c", ("-734",), 0),
        "schema": Item("", ("a ", "b"), 0, end="end"),
        "generation_task_with_answers": Item("q", ("A ", "B"), 0, thought="t"),
    }
    for kind, row in rows.items():
        assert icl_items.read(file(tmp_path, [row], kind))[0] == [expected[kind]]


BAD = {
    "gold is 2; with 2 choices it must be 0 to 1": (
        "multiple_choice",
        {"query": "q", "choices": ["a", "b"], "gold": 2},
    ),
    "gold is -1": ("schema", {"context_options": ["a", "b"], "continuation": "c", "gold": -1}),
    "gold is True": ("multiple_choice", {"query": "q", "choices": ["a", "b"], "gold": True}),
    "at least two choices, none of them empty": ("multiple_choice", {"query": "q", "choices": ["a", " "], "gold": 0}),
    "none of them empty; found \\[\\]": ("multiple_choice", {"query": "q", "choices": [], "gold": 0}),
    "needs the field 'gold'; it has 'query', 'choices'": ("multiple_choice", {"query": "q", "choices": ["a", "b"]}),
    "query must be a text, found 3": ("multiple_choice", {"query": 3, "choices": ["a", "b"], "gold": 0}),
    "choices must be a list of texts": ("multiple_choice", {"query": "q", "choices": "ab", "gold": 0}),
    "continuation is empty": ("language_modeling", {"context": "c", "continuation": " "}),
    "answer is empty": ("generation_task_with_answers", {"context": "c", "answer": ""}),
    "aliases must be": ("generation_task_with_answers", {"context": "c", "answer": "a", "aliases": [1]}),
    "chain_of_thought must be": (
        "generation_task_with_answers",
        {"context": "c", "answer": "a", "chain_of_thought": 1},
    ),
    "1 test_inputs for 0": (
        "code_evaluation",
        {
            "prompt": "",
            "canonical_solution": "",
            "entry_point": "f",
            "test_inputs": ["1"],
            "test_outputs": [],
            "language": "c",
        },
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_rows_that_are_no_items_are_refused_with_their_line(message, tmp_path):
    kind, row = BAD[message]
    good = {"query": "q", "choices": ["a", "b"], "gold": 0}
    rows = [good, row] if kind == "multiple_choice" else [row]
    with pytest.raises(UserError, match=rf"x.jsonl, line {len(rows)}: .*{message}"):
        icl_items.read(file(tmp_path, rows, kind))


def test_files_that_are_missing_broken_or_not_the_pinned_ones_are_refused(tmp_path):
    there = file(tmp_path, [{"context": "c", "continuation": "d"}], "language_modeling")
    digest = hashlib.sha256((tmp_path / "x.jsonl").read_bytes()).hexdigest()
    pinned = there.model_copy(update={"source": there.source.model_copy(update={"sha256": digest})})
    assert icl_items.read(pinned)[1] == {"sha256": digest}
    (tmp_path / "x.jsonl").write_text('{"context": "c", "continuation": "e"}\n')
    with pytest.raises(UserError, match="is pinned; it is not the released file"):
        icl_items.read(pinned)
    (tmp_path / "x.jsonl").write_text("{\n")
    with pytest.raises(UserError, match="line 1: not JSON"):
        icl_items.read(there)
    with pytest.raises(UserError, match="the file x.jsonl is missing below nowhere"):
        icl_items.read(task())
    with pytest.raises(ValidationError, match="name a `folder`"):
        task(source={"kind": "jsonl", "file": "x.jsonl"})
    with pytest.raises(UserError, match="some items have no `category`"):
        icl_items.read(file(tmp_path, [{"context": "c", "continuation": "d"}], "language_modeling", categories=True))


def test_a_file_of_ones_own_may_begin_with_a_mark_and_must_be_text(tmp_path):
    there = file(tmp_path, [], "language_modeling")
    row = '{"context": "é", "continuation": "d"}\r\n'.encode()
    (tmp_path / "x.jsonl").write_bytes(b"\xef\xbb\xbf" + row)
    assert icl_items.read(there)[0] == [Item("é", ("d",), 0)]
    for end, says in (
        (b'{"context": "\xe9"}', "line 2: not UTF-8, byte 0xe9 at 13"),
        (rb'{"context": "\uD83D", "continuation": "d"}', "line 2: not JSON: .*surrogates not allowed"),
        (b"[" * 100_000, "line 2: not JSON"),
    ):
        (tmp_path / "x.jsonl").write_bytes(row + end)
        with pytest.raises(UserError, match=says):
            icl_items.read(there)


def test_a_fetched_file_is_read(tmp_path):
    repo, revision = repository(tmp_path, [{"context": "c", "continuation": "d"}])
    config = task("language_modeling", source={"kind": "jsonl", "repo": repo, "revision": revision, "file": "x.jsonl"})
    items_run.run({"id": "t", "source": config.source.model_dump()}, {}, tmp_path)
    assert icl_items.read(config, tmp_path / "items.json")[0] == [Item("c", ("d",), 0)]
    with pytest.raises(UserError, match="must be fetched first"):
        icl_items.read(config)


# --- the engine


def questions(rng, count: int = 8) -> tuple[list, list[int]]:
    """Texts of several choices a question behind contexts of 20 to 90 tokens."""
    joined, owners = [], []
    for question in range(count):
        context = rng.integers(1, 400, rng.integers(20, 90)).tolist()
        for _ in range(3):
            end = rng.integers(1, 400, rng.integers(1, 9)).tolist()
            joined.append((context + end, len(end)))
            owners.append(question)
    return joined, owners


def alone(model, joined) -> list[float]:
    """The mean log-probability of each end, one text at a time, by the model's own forward pass."""
    scores = []
    for ids, length in joined:
        with torch.inference_mode():
            logprobs = model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)
        places = range(len(ids) - length, len(ids))
        scores.append(float(np.mean([logprobs[at - 1, ids[at]] for at in places])))
    return scores


@pytest.mark.parametrize("family", FAMILIES)
def test_shared_prefixes_change_nothing(family):
    model = decoder(FAMILIES[family])
    use_fused(model)
    shared = Decoder(model, 0)
    assert shared.unshareable is None
    joined, owners = questions(np.random.default_rng(0))
    expected = alone(model, joined)
    calls = []
    read, shared.read = shared.read, lambda *batch: calls.append(1) or read(*batch)
    np.testing.assert_allclose(score(shared, joined, owners, 500, "t")[0], expected, rtol=0, atol=1e-5)
    assert len(calls) > 1  # questions were read once
    start = np.random.default_rng(1).integers(1, 400, 60).tolist()
    longer = [(start + ids, length) for ids, length in joined]
    calls.clear()
    mean = score(shared, longer, range(len(longer)), 500, "t")[0]
    np.testing.assert_allclose(mean, alone(model, longer), rtol=0, atol=1e-5)
    assert len(calls) == 1 and not np.allclose(mean, expected, atol=1e-3)  # read once, and it matters


def test_a_model_that_cannot_continue_from_a_cache_is_read_whole_and_says_why():
    whole = Decoder(decoder(MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=400), scale=1), 0)
    assert "cannot continue from a cache" in whole.unshareable
    joined, owners = questions(np.random.default_rng(0), 2)
    np.testing.assert_allclose(score(whole, joined, owners, 500, "t")[0], alone(whole.model, joined), atol=1e-5)
    with pytest.raises(UserError, match="cannot generate answers"):
        generate(whole, tokenizer(), [[1, 2]], 3, 100, "t")


def test_a_wrong_cache_is_noticed(monkeypatch):
    model, batch = decoder(FAMILIES["mpt"]), Decoder.batch
    use_fused(model)
    assert Decoder(model, 0).unshareable is None
    # Padding on the other side stands between a prefix and its rest, where ALiBi counts it.
    monkeypatch.setattr(Decoder, "batch", lambda self, texts, left=False: batch(self, texts))
    assert Decoder(model, 0).unshareable == "its logits behind a cache differ from those of a whole text"


@pytest.mark.parametrize("family", ["llama, smollm2", "mpt", "gpt-neo"])
def test_generated_texts_equal_the_models_own_generate(family):
    model, words = decoder(FAMILIES[family], scale=4), tokenizer()
    use_fused(model)
    rng = np.random.default_rng(0)
    start = rng.integers(1, 400, 40).tolist()
    prompts = [start + rng.integers(1, 400, n).tolist() for n in (30, 3, 12, 14, 15, 1)]
    for before, texts in (("alike", prompts), ("apart", [prompt[i:] for i, prompt in enumerate(prompts)])):
        ours = generate(Decoder(model, 0), words, texts, 12, 300, before)
        for prompt, output in zip(texts, ours):
            ids = torch.tensor([prompt])
            for _ in range(12):
                with torch.inference_mode():
                    token = model(input_ids=ids).logits[0, -1].argmax()
                ids = torch.cat([ids, token.view(1, 1)], 1)
                if token == words.eos_token_id:
                    break
            assert output == words.decode(ids[0, len(prompt) :], skip_special_tokens=True)


def test_generation_stops_behind_a_stop_and_draws_the_same_whatever_the_batch():
    model, words = Decoder(decoder(FAMILIES["llama, smollm2"], scale=2), 0), tokenizer()
    prompts = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    free = generate(model, words, prompts, 20, 1000, "t")
    stop = free[0][3]
    stopped = generate(model, words, prompts, 20, 1000, "t", stop=[stop])
    assert all(full.startswith(cut) and stop not in cut[:-1] for full, cut in zip(free, stopped))
    assert len(stopped[0]) < len(free[0])
    drawn = generate(model, words, prompts, 8, 1000, "t", temperature=1.0, seed=1)
    assert drawn == generate(model, words, prompts, 8, 10, "t", temperature=1.0, seed=1)
    assert drawn != generate(model, words, prompts, 8, 1000, "t", temperature=1.0, seed=2)


def written_one_at_a_time(model, words, prompt, row, new_tokens, stop=(), temperature=0.0, seed=0) -> str:
    """By the whole text for each token, a look at every one, and torch's own draws."""
    ids, stream = torch.tensor([prompt]), torch.Generator().manual_seed(zlib.crc32(f"{seed} {row}".encode()))
    for _ in range(new_tokens):
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, -1]
        if temperature:
            token = torch.multinomial((logits.double() / temperature).softmax(0), 1, generator=stream)
        else:
            token = logits.argmax()
        ids = torch.cat([ids, token.view(1, 1)], 1)
        output = text(words, ids[0, len(prompt) :].tolist())
        if token == words.eos_token_id or any(end in output for end in stop):
            break
    return output


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_generates_behind_a_cache_what_it_writes_without(family):
    model, words = decoder(FAMILIES[family], scale=4), tokenizer()
    use_fused(model)
    prompts = [np.random.default_rng(n).integers(1, 400, n).tolist() for n in (3, 30, 14)]
    expected = [written_one_at_a_time(model, words, prompt, i, 9) for i, prompt in enumerate(prompts)]
    assert generate(Decoder(model, words.pad_token_id), words, prompts, 9, 1000, "t") == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("family", ["llama, smollm2", "mpt"])
def test_generated_texts_are_those_of_a_look_at_every_token(family, temperature, monkeypatch):
    model, words = decoder(FAMILIES[family], scale=2), tokenizer()
    use_fused(model)
    rng = np.random.default_rng(3)
    prompts = [rng.integers(1, 400, n).tolist() for n in (3, 30, 12, 14, 15, 1)]
    stop = ["th", words.decode([prompts[0][0]])]
    expected = {
        end: [written_one_at_a_time(model, words, p, i, 21, end, temperature, 5) for i, p in enumerate(prompts)]
        for end in ((), tuple(stop))
    }
    assert expected[()] != expected[tuple(stop)] or not temperature
    ours = Decoder(model, words.pad_token_id)
    for end, texts in expected.items():
        for budget in (20, 150, 1000):
            assert generate(ours, words, prompts, 21, budget, "t", end, temperature, 5) == texts
    monkeypatch.setattr("retscale.icl.generate.SPREAD", 100)
    assert generate(ours, words, prompts, 21, 1000, "t", stop, temperature, 5) == expected[tuple(stop)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("family", ["llama, smollm2", "gpt-neo"])
def test_the_host_waits_for_no_token(family, temperature):
    model, words = Decoder(decoder(FAMILIES[family]), 0), tokenizer()
    counts = []
    for new_tokens in (8, 40):
        with Waits() as waits:
            generate(model, words, [[5, 6, 7], [8, 9]], new_tokens, 1000, "t", ["no such text"], temperature)
        counts.append(waits.count)
    assert counts[0] == counts[1]


def test_the_host_looks_every_few_steps_and_stops_then(monkeypatch):
    model, words = Decoder(decoder(FAMILIES["llama, smollm2"], scale=2), 0), tokenizer()
    steps, step = [], model.next_logits
    model.next_logits = lambda ids, *rest: steps.append(ids.shape[1]) or step(ids, *rest)
    first = generate(model, words, [[5, 6, 7], [8, 9]], 60, 1000, "t")
    assert sum(steps) == 2 + 60
    steps.clear()
    generate(model, words, [[5, 6, 7], [8, 9]], 60, 1000, "t", stop=[text[:1] for text in first])
    assert len(steps) == 8


def test_a_long_prompt_is_read_in_parts():
    model, words = Decoder(decoder(FAMILIES["llama, smollm2"], scale=2), 0), tokenizer()
    prompts = np.random.default_rng(1).integers(1, 400, (3, 50)).tolist()
    whole, steps, step = generate(model, words, prompts, 5, 1000, "t"), [], model.next_logits
    model.next_logits = lambda ids, *rest: steps.append(ids.numel()) or step(ids, *rest)
    parts = _generate_batch(model, words, prompts, 5, (), model.empty_prefix(3), Sampler(0, 0, range(3)), 40)
    assert [text(words, ids) for ids in parts] == whole
    assert max(steps) <= 40


def test_a_cache_knows_what_a_token_costs():
    config = FAMILIES["llama, smollm2"]
    heads, width = config.num_key_value_heads, config.hidden_size // config.num_attention_heads
    assert bytes_per_token(Decoder(decoder(config), 0)) == 2 * 4 * config.num_hidden_layers * heads * width


def test_batches_of_like_lengths_hold_every_index_once():
    lengths = np.random.default_rng(0).integers(1, 100, 200).tolist()
    batches = similar_batches(lengths, 400, 16)
    assert sorted(int(i) for rows in batches for i in rows) == list(range(200))
    for rows in batches:
        own = [lengths[i] for i in rows]
        assert max(own) - min(own) <= 16 and (len(own) == 1 or max(own) * len(own) <= 400)


def test_sentencepiece_gets_its_first_blank_back():
    class Sentencepiece:
        def __call__(self, text, **_):
            return {"input_ids": [1, 2]}

        def decode(self, ids, **_):
            return "house"

    assert text(Sentencepiece(), [3]) == " house" and text(tokenizer(), tokenizer()(" house")["input_ids"]) == " house"


# --- answers


@pytest.mark.parametrize(
    ("output", "accepted", "options", "right"),
    [
        (" The Onion, of course", ("onion",), {}, True),
        ("red onion", ("onion",), {}, False),
        (" a_b's", ("a b s",), {}, True),
        ("‘Onion’´`!", ("Onion",), {}, True),
        (" 18", ("18",), {"normalise": False}, False),
        ("so 9 * 2. The answer is 18.\n\nQ: next. The answer is 3", ("18",), {"normalise": False, "cot": True}, True),
        ("The answer is 1. The answer is 18", ("18",), {"normalise": False, "cot": True}, True),
        ("The answer is 180", ("18",), {"normalise": False, "cot": True}, True),  # a beginning is enough, as released
        ("it is 18", ("18",), {"normalise": False, "cot": True}, False),
        ("Question: 18", ("18",), {"normalise": False, "cot": True}, False),
    ],
)
def test_answers_are_cut_normalised_and_compared(output, accepted, options, right):
    cot = {"cot_delimiter": "The answer is ", "stop": ["\n\n", "Question:"]} if options.pop("cot", False) else {}
    assert matches(output, accepted, task("generation_task_with_answers", **options, **cot)) is right


def test_the_earliest_stop_counts_and_articles_go():
    assert extract("a Question: b\n\nc", task("generation_task_with_answers", stop=["\n\n", "Question:"])) == "a "
    assert normalize("The  Answer, an (Apple)_pie") == "answer apple pie"


def test_answers_may_be_as_long_as_the_longest_of_the_data():
    words = tokenizer()
    some = [Item("q", ("house", "the distant town"), 0, thought="wars and kings"), Item("q", ("dog",), 0, thought="")]
    plain = len(words("wars and kings" + "the distant town")["input_ids"])
    assert answer_length(words, some, task("generation_task_with_answers")) == plain
    longer = len(words("wars and kings => the distant town")["input_ids"]) + 10
    assert answer_length(words, some, task("generation_task_with_answers", cot_delimiter=" => ")) == longer


# --- the stage


@pytest.fixture(scope="module")
def reader() -> Reader:
    words = tokenizer()
    return Reader(Decoder(decoder(FAMILIES["llama, smollm2"]), words.pad_token_id), words, 64, 512, 1)


def test_categories_count_alike_whatever_their_size(reader, tmp_path):
    rows = [
        {"query": f"the {i} house", "choices": ["dog", "king", "war"], "gold": i % 3, "category": "ab"[i > 8]}
        for i in range(12)
    ]
    result, table = evaluate(file(tmp_path, rows, "multiple_choice", categories=True, shots=1), "t", None, reader)
    means = table.groupby("category")["correct"].mean()
    assert result["value"] == means.mean() and result["categories"] == means.to_dict()
    sizes = np.array([9, 3])
    assert result["stderr"] == pytest.approx(np.sqrt((means * (1 - means) / sizes).sum()) / 2)
    assert result["score"] == pytest.approx((means.mean() - 1 / 3) / (2 / 3))


def test_the_interval_is_that_of_a_bootstrap_over_items():
    rng = np.random.default_rng(0)
    correct, categories = rng.random(90) < 0.7, ["a"] * 60 + ["b"] * 30
    result = accuracy(correct, categories, 1, "t")
    parts = [correct[:60], correct[60:]]
    draws = [np.mean([rng.choice(part, len(part)).mean() for part in parts]) for _ in range(4000)]
    np.testing.assert_allclose([result["low"], result["high"]], np.quantile(draws, [0.025, 0.975]), atol=0.015)
    np.testing.assert_allclose(result["stderr"], np.std(draws), rtol=0.05)
    assert result == accuracy(correct, categories, 1, "t") != accuracy(correct, categories, 2, "t")


def test_odd_data_is_named(reader, tmp_path):
    same = [{"query": f"q {i}", "choices": ["dog", "dog"], "gold": 0} for i in range(5)]
    result, table = evaluate(file(tmp_path, [*same, same[0]], "multiple_choice"), "t", None, reader)
    assert result["value"] == 1 and result["tied"] == 6 and table["tied"].all()  # the first of equals
    assert result["odd"][0] == "the right choice is always number 0: a model that ties on every item scores 1"
    assert result["odd"][1] == "1 of 6 items occur twice in the data"
    rows = [{"query": f"q {i}", "choices": ["dog", "king"], "gold": int(i % 5 > 0)} for i in range(60)]
    result, _ = evaluate(file(tmp_path, rows, "multiple_choice", baseline=0.5), "t", None, reader)
    assert result["odd"] == [
        "choice number 1 is right in 80% of the items: always taking it scores above the baseline of 50%"
    ]
    rows = [{"context": "q", "answer": "The"}, {"context": "r", "answer": "dog"}]
    result, _ = evaluate(file(tmp_path, rows, "generation_task_with_answers"), "t", None, reader)
    assert "1 of 2 items accept an answer that is empty once normalized" in result["odd"][0] and result["value"] >= 0.5


def test_long_prompts_are_trimmed_on_the_left_and_counted(reader, tmp_path):
    rows = [{"query": "house " * n, "choices": ["dog", "king"], "gold": 0} for n in (3, 80)]
    result, table = evaluate(file(tmp_path, rows, "multiple_choice"), "t", None, reader)
    assert result["trimmed"] == 2 and result["max_length"] == 64
    ids = reader.tokenizer(("house " * 80).strip())["input_ids"]
    end = reader.tokenizer(" king")["input_ids"]
    expected = alone(reader.decoder.model, [((ids + end)[-64:], len(end))])[0]
    assert table["logprobs"][1][1] == pytest.approx(expected, abs=1e-5)
    assert evaluate(file(tmp_path, rows, "multiple_choice", max_length=32), "t", None, reader)[0]["max_length"] == 32
    with pytest.raises(UserError, match="only 64 tokens fit"):
        evaluate(
            file(tmp_path, [{"context": "q", "continuation": "dog " * 99}], "language_modeling"), "t", None, reader
        )
    rows = [{"context": "q", "answer": "dog " * 99}]
    with pytest.raises(UserError, match="leave no room"):
        evaluate(file(tmp_path, rows, "generation_task_with_answers"), "t", None, reader)


def with_start(reader: Reader) -> Reader:
    """Its tokenizer puts a start-of-text token, number 7, before every text."""
    made = tokenizer()
    word = made.convert_ids_to_tokens(7)
    made.backend_tokenizer.post_processor = TemplateProcessing(single=f"{word} $A", special_tokens=[(word, 7)])
    return dataclasses.replace(reader, tokenizer=made)


def test_a_cut_prompt_keeps_its_start_of_text(reader, tmp_path):
    reader = with_start(reader)
    rows = [{"query": "house " * 80, "choices": ["dog", "king"], "gold": 0}]
    _, table = evaluate(file(tmp_path, rows, "multiple_choice"), "t", None, reader)
    texts = rows[0]["query"].strip(), " king"
    ids, end = (reader.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts)
    expected = alone(reader.decoder.model, [([7, *ids[len(ids) - 63 + len(end) :], *end], len(end))])[0]
    assert table["logprobs"][0][1] == pytest.approx(expected, abs=1e-5)
    rows = [{"context": "house " * 80, "answer": "dog"}]
    task = file(tmp_path, rows, "generation_task_with_answers")
    _, table = evaluate(task, "t", None, reader)
    new = answer_length(reader.tokenizer, [Item("", ("dog",), 0)], task)
    prompt = [7, *ids[len(ids) - (64 - new - 1) :]]
    assert table["output"].tolist() == generate(reader.decoder, reader.tokenizer, [prompt], new, 4096, "t")


@pytest.mark.parametrize(
    "context, room, expected",
    [
        ([7, 1, 2], 3, [7, 1, 2]),
        ([7, 1, 2, 3], 3, [7, 2, 3]),
        ([7, 1, 2, 3], 1, [3]),
        ([1, 2, 3, 4], 3, [2, 3, 4]),
    ],
)
def test_what_a_cut_context_keeps(context, room, expected):
    assert cut(context, room, [7]) == expected
    assert cut(context, room, []) == context[-room:]


@pytest.mark.parametrize("kind", ["multiple_choice", "generation_task_with_answers"])
def test_items_that_are_too_long_may_be_left_out_and_are_counted(reader, tmp_path, kind):
    query = "query" if kind == "multiple_choice" else "context"
    more = {"choices": ["dog", "king"], "gold": 0, "answer": "dog"}
    rows = [{query: "house " * n, "category": str(n)} | more for n in (3, 80, 4)]
    every, whole = evaluate(file(tmp_path, rows, kind), "t", None, reader)
    result, table = evaluate(file(tmp_path, rows, kind, too_long="skip"), "t", None, reader)
    assert (every["n_items"], every["skipped"]) == (3, 0) and every["trimmed"] == (
        2 if kind == "multiple_choice" else 1
    )
    assert (result["n_items"], result["skipped"], result["trimmed"]) == (2, 1, 0)
    assert table["item"].tolist() == [0, 2] and table["correct"].tolist() == whole["correct"][[0, 2]].tolist()
    with pytest.raises(UserError, match="^all items of the categories 80 are longer than 64 tokens"):
        evaluate(file(tmp_path, rows, kind, too_long="skip", categories=True), "t", None, reader)
    with pytest.raises(UserError, match="^all items of the task are longer than 64 tokens, and too_long is `skip`"):
        evaluate(file(tmp_path, rows[1:2], kind, too_long="skip"), "t", None, reader)


CODE = {
    "prompt": "def f(x):\n",
    "canonical_solution": "    return x\n",
    "entry_point": "f",
    "test_inputs": ["(1,)"],
    "test_outputs": ["1"],
    "language": "python",
}


def test_programs_are_not_run_unless_the_study_says_so(reader, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "run", lambda *_: pytest.fail("a program was run"))
    config = file(tmp_path, [CODE, CODE | {"prompt": "def f(y):\n"}], "code_evaluation")
    generate, generated = icl_run.generate, []
    monkeypatch.setattr(icl_run, "generate", lambda *rest, **more: generated.append(1) or generate(*rest, **more))
    result, table = evaluate(config, "t", None, reader)
    assert result["value"] is None and result["score"] is None and result["executed"] is False
    assert len(table) == 2 and table["output"].isna().all() and table["correct"].isna().all()
    monkeypatch.setattr(sandbox, "_require_language", refused)
    with pytest.raises(UserError, match="no sandbox for python"):
        evaluate(config.model_copy(update={"execute": True}), "t", None, reader)
    assert not generated
    monkeypatch.setattr(sandbox, "require", lambda languages: None)
    monkeypatch.setattr(sandbox, "passes", lambda programs, what: [True, False])
    result, _ = evaluate(config.model_copy(update={"execute": True}), "t", None, reader)
    assert result["value"] == 0.5 and result["executed"] is True and generated


def refused(language: str) -> None:
    raise UserError(f"no sandbox for {language}")


def test_the_stage_runs_every_type_from_one_load_and_repeats_itself(tmp_path, monkeypatch):
    save(decoder(FAMILIES["llama, smollm2"]), tmp_path / "model")
    (tmp_path / "card.json").write_text(json.dumps(artifacts.card(max_length=64)))
    rows = {
        "multiple_choice": {"query": "q", "choices": ["a", "b"], "gold": 0},
        "schema": {"context_options": ["a", "b"], "continuation": "c", "gold": 0},
        "language_modeling": {"context": "c", "continuation": "d"},
        "generation_task_with_answers": {"context": "c", "answer": "d"},
        "code_evaluation": CODE,
    }
    tasks = {}
    for kind, row in rows.items():
        (tmp_path / kind).mkdir()
        tasks[kind] = file(tmp_path / kind, [row], kind).model_dump(mode="json")
    loads, load = [], icl_run.load_causal_lm
    monkeypatch.setattr(icl_run, "load_causal_lm", lambda *args: loads.append(1) or load(*args))
    spec = {"checkpoint": "c", "precision": "fp32", "tokens_per_batch": 256, "seed": 1, "tasks": tasks}
    for out in (tmp_path / "1", tmp_path / "2"):
        out.mkdir()
        assert list(run(spec, {"card": tmp_path / "card.json", "tasks": []}, out)) == list(rows)
    assert len(loads) == 2
    for kind in rows:
        assert (tmp_path / "1" / f"{kind}.parquet").read_bytes() == (tmp_path / "2" / f"{kind}.parquet").read_bytes()
        assert (tmp_path / "1" / f"{kind}.json").read_bytes() == (tmp_path / "2" / f"{kind}.json").read_bytes()


@pytest.mark.parametrize("kind", ENCODERS)
def test_encoders_are_refused_with_a_reason(tmp_path, kind):
    ENCODERS[kind].save_pretrained(tmp_path / "model")
    tokenizer().save_pretrained(tmp_path / "model")
    (tmp_path / "card.json").write_text(json.dumps(artifacts.card(max_length=64)))
    config = file(tmp_path, [{"context": "c", "continuation": "d"}], "language_modeling")
    spec = {"checkpoint": "c", "precision": "fp32", "tokens_per_batch": 256, "tasks": {"t": config.model_dump()}}
    with pytest.raises(UserError, match=f"holds a {kind}, which .* cannot be scored in context; remove `icl`"):
        list(run(spec, {"card": tmp_path / "card.json", "tasks": []}, tmp_path))


def test_the_command_takes_fetched_tasks_and_keeps_finished_ones(tmp_path, monkeypatch):
    """Through the command line: a task added to a batch, or changed, costs that task alone."""
    folder = save(decoder(FAMILIES["llama, smollm2"]), tmp_path / "model")
    card, fetched = tmp_path / "checkpoint/c/card.json", tmp_path / "items/far/items.json"
    near = file(
        tmp_path, [{"query": f"q {i}", "choices": ["dog", "king"], "gold": 0} for i in range(4)], "multiple_choice"
    )
    repo, revision = repository(tmp_path, [{"context": "c", "continuation": "d"}])
    far = task("language_modeling", source={"kind": "jsonl", "repo": repo, "revision": revision, "file": "x.jsonl"})
    tasks = {"far": far.model_dump(mode="json"), "near": near.model_dump(mode="json")}
    local = {"id": "c", "source": {"kind": "local", "path": str(folder)}, "tokens": 1000, "precision": "fp32"}
    assert cli.main(["checkpoint", "--spec", json.dumps(local), "--out", str(card)]) == 0
    spec = {"id": "far", "source": tasks["far"]["source"]}
    assert cli.main(["items", "--spec", json.dumps(spec), "--out", str(fetched)]) == 0

    def scored() -> dict[str, int]:
        spec = {"checkpoint": "c", "precision": "fp32", "tokens_per_batch": 256, "seed": 1, "tasks": tasks}
        out = [str(tmp_path / "icl/c" / f"{name}.json") for name in tasks]
        call = ["icl", "--spec", json.dumps(spec), "--card", str(card), "--tasks", str(fetched), "--out", *out]
        assert cli.main(call) == 0
        return {name: (tmp_path / "icl/c" / f"{name}.record.json").stat().st_mtime_ns for name in tasks}

    first = scored()
    record = json.loads((tmp_path / "icl/c/far.record.json").read_text())
    assert {row["name"] for row in record["inputs"]} == {"card", "tasks"} and list(record["spec"]["tasks"]) == ["far"]
    assert scored() == first
    tasks["more"] = tasks["near"] | {"max_items": 2}
    second = scored()
    assert second["far"] == first["far"] and second["near"] == first["near"] and "more" in second
    tasks["near"]["shots"] = 1
    third = scored()
    assert third["near"] != second["near"] and third["far"] == second["far"] and third["more"] == second["more"]


@pytest.mark.slow
def test_a_killed_job_keeps_the_tasks_that_were_finished(tmp_path):
    """kill -9 after the first task: the next run takes up the others, and ends with the bytes of an unbroken one."""
    folder, card = save(decoder(FAMILIES["llama, smollm2"]), tmp_path / "model"), tmp_path / "checkpoint/c/card.json"
    local = {"id": "c", "source": {"kind": "local", "path": str(folder)}, "tokens": 1000, "precision": "fp32"}
    assert cli.main(["checkpoint", "--spec", json.dumps(local), "--out", str(card)]) == 0
    rows = {
        "quick": [{"query": f"q {i}", "choices": ["dog", "king"], "gold": 0} for i in range(4)],
        "slow": [{"context": f"the {i} house", "answer": "a distant town " * 9} for i in range(200)],
        "last": [{"context": f"c {i}", "continuation": "d"} for i in range(4)],
    }
    kinds = dict(zip(rows, ("multiple_choice", "generation_task_with_answers", "language_modeling")))
    tasks = {}
    for name in rows:
        (tmp_path / name).mkdir()
        tasks[name] = file(tmp_path / name, rows[name], kinds[name]).model_dump(mode="json")
    spec = {"checkpoint": "c", "precision": "fp32", "tokens_per_batch": 256, "seed": 1, "tasks": tasks}

    def call(out: Path) -> list[str]:
        places = [str(tmp_path / out / f"{name}.json") for name in tasks]
        return ["icl", "--spec", json.dumps(spec), "--card", str(card), "--tasks", "--out", *places]

    broken = retscale(*call("broken"))
    while not (tmp_path / "broken/quick.json").exists():
        assert broken.poll() is None
        time.sleep(0.02)
    broken.kill()
    broken.wait()
    assert not (tmp_path / "broken/slow.json").exists()
    finished = (tmp_path / "broken/quick.record.json").stat().st_mtime_ns
    assert cli.main(call("broken")) == cli.main(call("whole")) == 0
    assert (tmp_path / "broken/quick.record.json").stat().st_mtime_ns == finished
    names = sorted(f"{name}{suffix}" for name in tasks for suffix in (".json", ".parquet"))
    for out in ("broken", "whole"):
        left = sorted(path.name for path in (tmp_path / out).iterdir() if not path.name.endswith(".record.json"))
        assert left == names
    for name in names:
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


# --- averages

VERSION = {"categories": {"one": ["a", "b"], "two": ["c"]}, "averages": {"core": ["one", "two"], "first": ["one"]}}


def test_averages_are_means_of_means_with_their_errors():
    by_name = {one.name: one for one in averages({"a": (0.2, 0.03), "b": (0.4, 0.04), "c": (-0.1, 0.02)}, VERSION)}
    assert by_name["one"].score == pytest.approx(0.3) and by_name["one"].stderr == pytest.approx(0.025)
    assert by_name["core"].score == pytest.approx(0.1) and by_name["core"].kind == "average"
    assert by_name["core"].stderr == pytest.approx(np.hypot(0.025, 0.02) / 2)
    assert centered(0.25, 0.5) == -0.5 and centered(1, 0.25) == 1


def test_a_category_with_a_missing_benchmark_is_absent_and_so_is_what_rests_on_it():
    by_name = {one.name: one for one in averages({"a": (0.2, 0.03), "c": (0.5, 0.0)}, VERSION)}
    assert by_name["one"].score is None and by_name["one"].missing == ["b"] and by_name["two"].score == 0.5
    assert by_name["core"].score is None and by_name["core"].missing == ["one"]


def test_every_version_of_the_gauntlet_has_its_tasks():
    counts = {name: len(catalog.suites()[name]) for name in catalog.gauntlets()}
    assert counts == {
        "gauntlet-v0": 33,
        "gauntlet-v0.1": 49,
        "gauntlet-v0.2": 33,
        "gauntlet-v0.3": 31,
        "gauntlet-v0.3-code": 39,
        "dclm-core-v1": 22,
        "dclm-core-v2": 22,
    }
    for version, parts in catalog.gauntlets().items():
        assert all(set(names) <= set(parts["categories"]) for names in parts["averages"].values()), version
        for entry in catalog.expand([version], "icl"):
            IclTask.model_validate(catalog.resolve("icl", entry, "", "")[1])
    assert len(catalog.gauntlets()["gauntlet-v0.3"]["averages"]["core_average"]) == 5


def test_a_suite_may_be_taken_with_other_settings():
    entries = catalog.expand([{"use": "gauntlet-v0.3", "max_items": 5, "source": {"folder": "/x"}}, "piqa"], "icl")
    id, data = catalog.resolve("icl", entries[0], "", "")
    assert (
        id == "jeopardy.3" and data["max_items"] == 5 and data["source"]["folder"] == "/x" and data["source"]["sha256"]
    )
    assert entries[-1] == "piqa" and len(entries) == 32


def test_the_catalog_says_what_the_released_yamls_say(shared):
    """Type, shots, chance level and delimiters of every benchmark of every version; hashes of the files at hand."""
    versions = {"v0.3_with_code": "v0.3-code"}
    with (shared / "gauntlet/task_table.csv").open() as lines:
        for row in csv.DictReader(lines):
            name = {"human_eval_ccp": "human_eval_cpp"}.get(row["task"], row["task"])
            category = catalog.gauntlets()["gauntlet-" + versions.get(row["version"], row["version"])]["categories"]
            stem = {"svamp": "svamp_thought", "gsm8k": "gsm8k_prepended"}.get(name)
            task_name = name if name in category[row["category"]] else stem
            assert category[row["category"]][task_name] == int(row["num_fewshot"])
            if not row["icl_task_type"]:
                continue  # the table could not look the misspelt one up
            config = IclTask.model_validate(catalog.entries("icl")[f"gauntlet.{task_name}"])
            kind = row["icl_task_type"].replace("question_answering", "generation_task_with_answers")
            assert (config.type, config.baseline) == (kind, float(row["random_baseline"]))
            words = (config.delimiter, config.prelimiter, config.cot_delimiter)
            assert words == tuple(
                json.loads(row[k]) for k in ("continuation_delimiter", "question_prelimiter", "cot_delimiter")
            )
            assert config.categories is (row["has_categories"] == "True")
            path = shared / "gauntlet/local_data" / config.source.file
            if path.exists():
                assert len(icl_items.read(at(config, path.parents[1]))[0]) == int(row["n_examples"])


def test_the_catalog_pins_every_file_whose_hash_is_known(shared):
    """By the list of the files at hand; of the others the commit alone says what they are."""
    text = (shared / "gauntlet/PROVENANCE.md").read_text()
    known = dict(re.findall(r"^\| local_data/(\S+) \|.*\| ([0-9a-f]{64}) \|$", text, re.M))
    sources = [
        IclTask.model_validate(entry).source
        for name, entry in catalog.entries("icl").items()
        if name.startswith("gauntlet.")
    ]
    assert known and sources
    for source in sources:
        assert source.revision in text and source.sha256 == known.get(source.file)
    assert {Path(source.file).stem for source in sources if source.sha256 is None} == {
        "mmlu",
        "hellaswag",
        "squad",
        "coqa",
        "bbq",
        "bigbench_elementary_math_qa",
    }


def test_every_task_names_its_origin_and_its_licence_or_that_none_is_known():
    for name, entry in catalog.entries("icl").items():
        assert entry["licence"].startswith(("upstream: ", "unknown", "Apache-2.0")) and entry["origin"], name


@pytest.mark.parametrize(
    ("name", "fixture", "category"),
    [
        ("mmlu", "mmlu_small", "computer_security"),
        ("hellaswag", "hellaswag_small", ""),
        ("piqa", "piqa_small", ""),
        ("winograd", "winograd_small", ""),
        ("lambada_openai", "lambada_small", ""),
        ("pubmed_qa_labeled", "pubmed_sm", ""),
        ("triviaqa_sm_sub", "triviaqa_small", ""),
        ("gsm8k", "gsm8k_small", ""),
        ("human_eval", "human_eval_small", ""),
    ],
)
def test_the_releases_own_samples_are_read_and_scored(reader, shared, name, fixture, category):
    """Four items each, of files too big to be at hand (mmlu, hellaswag) and of others, as their entries ask them."""
    path = shared / f"gauntlet/tests_local_data/{fixture}.jsonl"
    entry = catalog.entries("icl")[f"gauntlet.{name}"]
    source = {"kind": "jsonl", "folder": str(path.parent), "file": path.name}
    config = IclTask.model_validate(entry | {"source": source, "shots": 1})
    items, rows = icl_items.read(config)[0], [json.loads(line) for line in path.read_text().splitlines()]
    assert len(items) == len(rows) == 4 and {item.category for item in items} == {category}
    longer = dataclasses.replace(reader, max_length=512)
    if config.generated:
        assert [item.choices[0] for item in items] == [row.get("answer", row.get("canonical_solution")) for row in rows]
        return  # the tiny model's tokens are too many for their answers
    result, table = evaluate(config, name, None, longer)
    assert result["n_items"] == 4 and result["baseline"] == entry["baseline"]
    assert table["gold"].tolist() == [row.get("gold", 0) for row in rows]
    if config.type == "multiple_choice":
        asked = build(items[0], [items[1]], config)
        right = rows[1]["choices"][rows[1]["gold"]]
        assert asked.examples == rows[1]["query"].strip() + config.delimiter + right
        assert asked.contexts == (("\n" + rows[0]["query"].strip() + config.delimiter).rstrip(),)
        assert asked.ends == tuple(rows[0]["choices"])


def at(config: IclTask, folder: Path) -> IclTask:
    return config.model_copy(update={"source": config.source.model_copy(update={"folder": str(folder)})})


def test_published_accuracies_give_the_published_averages(shared):
    """DCLM's 30 models: (accuracy - baseline) / (1 - baseline) by category and over all 53 tasks, to 1e-9."""
    folder = shared / "dclm-icl"
    tasks = pd.read_csv(folder / "eval_meta_data_v1.csv").set_index("Eval Task")
    models = pd.read_csv(folder / "DCLM_model_database_30.csv")
    written = pd.read_csv(folder / "DCLM_model_database_30.csv", dtype=str)
    categories = {name: list(rows.index) for name, rows in tasks.groupby("Task Category")}
    version = {"categories": {**categories, "all": list(tasks.index)}, "averages": {}}
    assert len(models) == 30 and len(tasks) == 53 and len(categories) == 6
    for row, model in models.iterrows():
        scores = {name: (centered(model[name], tasks["Random baseline"][name] / 100), 0.0) for name in tasks.index}
        computed = {one.name: one.score for one in averages(scores, version)}
        assert computed.pop("all") == pytest.approx(model["Extended"], abs=1e-9)
        for name, value in computed.items():
            column = f"aggregated_task_categories_centered.{name}"
            exact = "E" not in written[column][row]  # one value is published with three digits, -2.85E-05
            assert value == pytest.approx(model[column], abs=1e-9 if exact else 5e-8)


def test_published_accuracies_give_the_published_core(shared):
    """The 22 tasks of DCLM's Core with the baselines of its first version, to 1e-9; by the second's they would not."""
    models = pd.read_csv(shared / "dclm-icl" / "DCLM_model_database_30.csv")
    off = {}
    for version in ("dclm-core-v1", "dclm-core-v2"):
        gauntlet = catalog.gauntlet(version)
        own = {
            id: IclTask.model_validate(catalog.resolve("icl", entry, "", "")[1]).baseline for id, entry in core(version)
        }
        baselines = own | gauntlet.pop("baselines")
        columns = {id: {"hellaswag.0": "hellaswag_zeroshot"}.get(id, id.rsplit(".", 1)[0]) for id in own}
        assert len(own) == len(set(columns.values())) == 22
        for _, model in models.iterrows():
            scores = {id: (centered(model[column], baselines[id]), 0.0) for id, column in columns.items()}
            mean = {one.name: one.score for one in averages(scores, gauntlet) if one.kind == "average"}["core"]
            off[version] = max(off.get(version, 0), abs(mean - model["Core"]))
    assert off["dclm-core-v1"] < 1e-9 < 1e-3 < off["dclm-core-v2"]


def core(version: str) -> list[tuple[str, dict]]:
    return [(entry["id"], entry) for entry in catalog.expand([version], "icl")]


def test_degenerate_tasks_of_the_gauntlet_are_named(shared):
    folder = shared / "gauntlet/local_data"
    from retscale.icl.summary import oddities

    for name, words in {
        "bigbench_strange_stories": "always number 0",
        "boolq": "right in 62%",
        "siqa": "12 of 1954",
    }.items():
        config = at(IclTask.model_validate(catalog.entries("icl")[f"gauntlet.{name}"]), folder)
        items, _ = icl_items.read(config)
        assert words in "; ".join(oddities(items, config, config.baseline)), name
