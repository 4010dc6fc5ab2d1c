import hashlib
import io
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import gguf_files
import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from huggingface_hub import constants as hub_constants
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig

from retscale.checkpoint import next_token, pretrain
from retscale.checkpoint import run as stage
from retscale.checkpoint.card import Card
from retscale.checkpoint.config import Checkpoint, Pretrain, Spec
from retscale.errors import UserError
from retscale.model import weight_files
from retscale.model.load import deterministic, load_backbone, load_causal_lm, load_tokenizer
from retscale.study import load, specs
from retscale.text.card import TextCard
from retscale.text.tokenizer import save, train

SMOKE = Path(__file__).resolve().parents[2] / "config" / "smoke.yaml"
VOCABULARY = 300
TINY = {
    "kind": "pretrain",
    "hidden_size": 16,
    "layers": 1,
    "heads": 2,
    "tokens": 24_000,
    "block_length": 32,
    "max_length": 64,
    "sequences": 8,
}
# Embedding, two norms and one block of 12 d^2 with its two: the MPT shape by hand.
TINY_PARAMS = VOCABULARY * 16 + 12 * 16 * 16 + 3 * 16


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """A text with structure to learn: each word is followed by one of two others."""
    where = tmp_path_factory.mktemp("text")
    rng = np.random.default_rng(0)
    word, words = 0, []
    for _ in range(30_000):
        word = (3 * word + int(rng.integers(2))) % 50
        words.append(f"w{word:02d}")
    text = " ".join(words)
    tokenizer = train([text], VOCABULARY)
    save(tokenizer, where / "tokenizer")
    ids = np.array(tokenizer.encode(text).ids, dtype=np.uint16)
    np.save(where / "tokens.npy", ids[:40_000])
    np.save(where / "heldout.npy", ids[-700:])
    (where / "text.json").write_text("{}")
    return where / "text.json"


def card_of(out):
    return json.loads((out / "card.json").read_text())


def pretrained(text, out, spec=None, **source):
    out.mkdir()
    stage.run({"id": "tiny", "source": {**TINY, **source}, "precision": "fp32", **(spec or {})}, {"text": text}, out)
    return card_of(out)


@pytest.fixture(scope="module")
def made(text, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "tiny"
    pretrained(text, out)
    return out


def test_pretrained_card_states_what_was_made(made):
    card = card_of(made)
    assert card["n_params"] == {
        "total": TINY_PARAMS,
        "non_embedding": TINY_PARAMS - VOCABULARY * 16,
        "matmul": VOCABULARY * 16 + 12 * 256,
    }
    assert card["n_tokens"] == 24_000 // 32 * 32
    assert card["flops"] == 6 * TINY_PARAMS * card["n_tokens"]
    assert card["tokens_per_param"] == pytest.approx(card["n_tokens"] / TINY_PARAMS)
    assert card["model"] == "model" and card["max_length"] == 64 and card["schedule_finished"] is True
    assert set(card["files"]) == {p.name for p in (made / "model").iterdir()}


def test_pretraining_learns(made):
    log = [json.loads(line) for line in (made / "log.jsonl").read_text().splitlines()]
    assert log[-1]["tokens"] == card_of(made)["n_tokens"]
    assert log[-1]["learning_rate"] < 1e-3 * log[0]["learning_rate"] or len(log) == 1
    assert card_of(made)["loss"]["heldout"] < math.log(VOCABULARY) - 1


def test_pretraining_twice_gives_the_same_bytes(made, text, tmp_path):
    pretrained(text, tmp_path / "again")
    for file in ("card.json", "log.jsonl", "model/model.safetensors", "model/config.json", "model/tokenizer.json"):
        assert (made / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file
    other = pretrained(text, tmp_path / "other", {"seed": 1})
    assert other["files"]["model.safetensors"] != card_of(made)["files"]["model.safetensors"]


def test_the_saved_model_is_the_trained_one_and_loads_as_stock_classes(made, text):
    model, tokenizer = load_causal_lm(made / "model", torch.float32), load_tokenizer(made / "model")
    assert (
        type(model).__name__ == "MptForCausalLM" and load_backbone(made / "model", torch.float32).config.n_layers == 1
    )
    held = np.load(text.parent / "heldout.npy")
    data = pretrain.blocks(held, (len(held) - 1) // 32, 32)
    # Held-out loss by plain transformers, block by block, as an independent check of loss and of the saved weights.
    ids = torch.from_numpy(data.astype(np.int64))
    with torch.no_grad():
        loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten()).item()
    assert card_of(made)["loss"]["heldout"] == pytest.approx(loss, abs=1e-4)
    assert tokenizer.decode(tokenizer("w01 w03")["input_ids"]) == "w01 w03"


def test_some_sources_of_the_text_are_its_documents_of_these_in_their_order(tmp_path):
    sources = [{"name": name, "wheel": "w", "documents": 2, "tokens": 5} for name in ("speeches", "news")]
    sizes = {"tokens": 10, "heldout_tokens": 0, "documents": 4, "words": 6, "vocab_size": 300, "tokenizer_sha256": "0"}
    TextCard.write(tmp_path / "text.json", {**sizes, "sources": sources})
    np.save(tmp_path / "documents.npy", np.array([[0, 2], [1, 4], [0, 3], [1, 1]]))
    stream = np.arange(10, dtype=np.uint16)
    part = lambda *names: pretrain.part_of(stream, tmp_path / "text.json", names).tolist()
    assert part("news") == [2, 3, 4, 5, 9] and part("speeches") == [0, 1, 6, 7, 8]
    assert part("news", "speeches") == stream.tolist()
    with pytest.raises(UserError, match="the text has no source 'new'; it has: speeches, news"):
        part("new")


def test_sources_are_those_of_the_studys_text_and_in_the_spec_only_where_given(tmp_path):
    def study(**source):
        values = yaml.safe_load(SMOKE.read_text())
        values["checkpoints"][0]["source"] |= source
        (tmp_path / "study.yaml").write_text(yaml.safe_dump(values))
        return load.study(tmp_path / "study.yaml")

    assert specs.checkpoint(study(sources=["news"]), "d16")["source"]["sources"] == ["news"]
    assert "sources" not in specs.checkpoint(study(), "d16")["source"]
    with pytest.raises(UserError, match=r"checkpoints \(d16\)\.source\.sources: unknown source of the text 'new'"):
        study(sources=["new"])


def test_blocks_are_consecutive_and_overlap_by_the_target():
    assert pretrain.blocks(np.arange(10), 3, 3).tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert pretrain.blocks(np.arange(2), 0, 3).shape == (0, 4)


def test_learning_rate_warms_up_and_decays_to_zero():
    rates = [pretrain.learning_rate(s, 100, 1.0, 0.1) for s in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[10] == 1 and rates[55] == pytest.approx(0.5) and 0 < rates[99] < 1e-3
    assert all(a >= b for a, b in zip(rates[10:], rates[11:], strict=False))


def test_block_loss_and_its_gradient_equal_plain_cross_entropy(text):
    deterministic(0, threads=1)
    model = next_token.build(Pretrain(**TINY), load_tokenizer(text.parent / "tokenizer"))
    data = np.random.default_rng(0).integers(0, VOCABULARY, size=(20, 33)).astype(np.uint16)
    next_token.block_loss(model, data, torch.float32, np.random.default_rng(0)).backward()
    ours = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    ids = torch.from_numpy(data.astype(np.int64))
    torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, p in model.named_parameters():
        torch.testing.assert_close(ours[name], p.grad, atol=1e-6, rtol=1e-4)


def test_too_short_a_text_is_refused(text, tmp_path):
    with pytest.raises(UserError, match="needs 50,000 tokens, but the text has 40,000"):
        pretrained(text, tmp_path / "x", tokens=50_000)


def test_divergence_is_told(text, tmp_path, monkeypatch):
    monkeypatch.setattr(next_token, "block_loss", lambda model, *_: model.lm_head.weight.sum() * float("nan"))
    with pytest.raises(UserError, match="diverged at step 1 .*lower its learning_rate"):
        pretrained(text, tmp_path / "x")


def test_a_contradicted_parameter_count_is_refused(made, tmp_path):
    local = {"id": "tiny", "source": {"kind": "local", "path": str(made / "model")}, "tokens": 10}
    with pytest.raises(UserError, match=f"has {TINY_PARAMS:,} parameters, but its entry says 99"):
        stage.run({**local, "n_params": 99}, {}, tmp_path)
    assert not (tmp_path / "card.json").exists()
    stage.run({**local, "n_params": TINY_PARAMS}, {}, tmp_path)
    card = card_of(tmp_path)
    assert card["model"] == str(made / "model") and card["n_tokens"] == 10
    assert card["files"] == card_of(made)["files"]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"vocab_size": 301}, f"has {VOCABULARY} rows of token embedding, but its entry says 301; correct vocab_size"),
        ({"max_length": 128}, "has 64 tokens of context, but its entry says 128; correct max_length"),
        ({"tokenizer": {"before": [1]}}, r"has before \[\], but its entry says \[1\]; correct tokenizer.before"),
        ({"tokenizer": {"after": [0]}}, r"has after \[\], but its entry says \[0\]; correct tokenizer.after"),
        ({"tokenizer": {"eos": 2}}, "has eos 0, but its entry says 2"),
        ({"tokenizer": {"pad": 7}}, "has pad 0, but its entry says 7"),
    ],
)
def test_whatever_an_entry_states_is_compared_with_the_loaded_model(made, tmp_path, stated, message):
    local = {"id": "tiny", "source": {"kind": "local", "path": str(made / "model")}, "tokens": 10}
    with pytest.raises(UserError, match=f"checkpoint 'tiny' {message}"):
        stage.run(local | stated, {}, tmp_path)
    assert not (tmp_path / "card.json").exists()


def test_an_entry_that_agrees_is_taken(made, tmp_path):
    local = {"id": "tiny", "source": {"kind": "local", "path": str(made / "model")}, "tokens": 10}
    right = {"before": [], "after": [], "eos": 0}
    for pad in (0, "eos"):
        facts = {"n_params": TINY_PARAMS, "vocab_size": VOCABULARY, "max_length": 64, "tokenizer": right | {"pad": pad}}
        stage.run(local | facts, {}, tmp_path)


def test_end_of_text_does_not_stand_in_where_something_else_pads(made, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(made / "model", folder)
    tokenizer = load_tokenizer(folder)
    tokenizer.pad_token = "a"
    tokenizer.save_pretrained(folder)
    local = {"id": "tiny", "source": {"kind": "local", "path": str(folder)}, "tokens": 10}
    with pytest.raises(UserError, match="has pad [0-9]+, but its entry says eos; correct tokenizer.pad"):
        stage.run(local | {"tokenizer": {"pad": "eos"}}, {}, tmp_path)


@pytest.mark.parametrize("special, what", [(None, "the token '<more>'"), ("pad_token", "the pad token '<more>'")])
def test_a_token_without_a_row_of_the_embedding_is_refused(made, tmp_path, special, what):
    shutil.copytree(made / "model", tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    tokenizer.add_special_tokens({special: "<more>"}) if special else tokenizer.add_tokens(["<more>"])
    tokenizer.save_pretrained(tmp_path / "model")
    message = f"has {what} with the id {VOCABULARY}, but the token embedding of the model has {VOCABULARY:,} rows"
    with pytest.raises(UserError, match=re.escape(message)) as error:
        stage.run({"id": "m", "source": {"kind": "local", "path": str(tmp_path / "model")}, "tokens": 5}, {}, tmp_path)
    assert "\n" not in str(error.value)


def test_unknown_tokens_give_no_flops(made, tmp_path):
    local = {"id": "tiny", "source": {"kind": "local", "path": str(made / "model")}}
    stage.run(local, {}, tmp_path)
    card = card_of(tmp_path)
    assert [card[key] for key in ("n_tokens", "flops", "tokens_per_param")] == [None] * 3


def test_a_missing_or_incomplete_local_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=f"the folder {tmp_path / 'absent'} of the checkpoint .* is missing"):
        stage.run({"id": "x", "source": {"kind": "local", "path": str(tmp_path / "absent")}, "tokens": 1}, {}, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains nothing"):
        stage.run({"id": "x", "source": {"kind": "local", "path": str(tmp_path / "empty")}, "tokens": 1}, {}, tmp_path)


HUB = {"id": "x", "source": {"kind": "hub", "repo": "some/model", "revision": "v1"}, "tokens": 5}
CARD = b"---\nlicense: mit\n---\nA model.\n"


@pytest.fixture(scope="module")
def llama(made):
    """The files of a tiny Llama with a tokenizer, as a repository has them: with formats that nobody here needs."""
    deterministic(0, threads=1)
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    folder = made.parent / "llama"
    model = AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder)
    load_tokenizer(made / "model").save_pretrained(folder)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    weights = io.BytesIO()
    torch.save(model.state_dict(), weights)
    return files | {"pytorch_model.bin": weights.getvalue(), "onnx/model.onnx": b"x", "README.md": CARD}


def obtained(out, **source):
    out.mkdir(parents=True)
    stage.run({**HUB, "source": {**HUB["source"], **source}}, {}, out)
    return card_of(out)


def test_a_model_of_the_hub_becomes_a_card_and_loads(loopback, llama, tmp_path, monkeypatch):
    commit = loopback.publish("some/model", llama, branch="v1")
    card = obtained(tmp_path / "out")
    assert card["revision"] == commit and card["hub_licence"] == "mit"
    needed = sorted(set(llama) - {"pytorch_model.bin", "onnx/model.onnx", "README.md"})
    assert card["files"] == {name: hashlib.sha256(llama[name]).hexdigest() for name in needed}
    assert not loopback.bodies("pytorch_model.bin") and not loopback.bodies("model.onnx")
    assert card["model"] == f"models--some--model/snapshots/{commit}"  # the same on every machine
    model = load_causal_lm(Card.read(tmp_path / "out/card.json").folder(tmp_path / "out/card.json"), torch.float32)
    assert sum(p.numel() for p in model.parameters()) == card["n_params"]["total"]
    saved = safetensors.torch.load(llama["model.safetensors"])
    torch.testing.assert_close(model.state_dict()["model.embed_tokens.weight"], saved["model.embed_tokens.weight"])
    # Without network the cache gives the same card, of the branch and of the commit.
    monkeypatch.setattr(hub_constants, "HF_HUB_OFFLINE", True)
    assert obtained(tmp_path / "again") == card
    assert obtained(tmp_path / "commit", revision=commit) == card | {"source": {**card["source"], "revision": commit}}
    with pytest.raises(UserError, match="some/model at v2 is not in the cache .*network"):
        obtained(tmp_path / "absent", revision="v2")


@pytest.mark.slow
def test_the_command_uses_the_token_and_writes_it_nowhere(loopback, llama, tmp_path, monkeypatch):
    loopback.publish("some/model", llama, branch="v1")
    loopback.repositories["model", "some/model"].gated = True
    options = ["--spec", json.dumps(HUB), "--out", str(tmp_path / "x" / "card.json")]
    command = [sys.executable, "-m", "retscale", "checkpoint", *options]
    without = subprocess.run(command, capture_output=True, text=True, check=False)
    assert without.returncode == 1 and without.stderr.count("error: some/model is gated: accept its terms at") == 1
    assert "Traceback" not in without.stderr and not (tmp_path / "x" / "card.json").exists()
    monkeypatch.setenv("HF_TOKEN", "accepted")
    loopback.fail("/files/", cut=1000)
    loopback.fail("/api/", status=429, headers={"Retry-After": "2"})
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "HTTP 429; retry 1 in 2 s" in done.stderr and "resuming" in done.stderr
    record = json.loads((tmp_path / "x" / "card.record.json").read_text())
    assert record["outputs"]
    assert card_of(tmp_path / "x")["revision"] == loopback.repositories["model", "some/model"].branches["v1"]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"accepted" in data for data in [*written, done.stdout.encode(), done.stderr.encode()])
    assert {r.authorization for r in loopback.bodies("config.json")} == {"Bearer accepted"}


def test_weights_in_bin_are_taken_where_there_are_no_safetensors(loopback, llama, tmp_path):
    old = {name: data for name, data in llama.items() if name != "model.safetensors"}
    loopback.publish("some/model", old, branch="v1")
    card = obtained(tmp_path / "old")
    assert "pytorch_model.bin" in card["files"] and card["n_params"]["total"] > 0


def test_a_pickle_that_runs_code_is_refused(loopback, llama, tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    bad = io.BytesIO()
    torch.save({"model.embed_tokens.weight": Payload()}, bad)
    files = {name: data for name, data in llama.items() if name != "model.safetensors"}
    loopback.publish("some/model", files | {"pytorch_model.bin": bad.getvalue()}, branch="v1")
    with pytest.raises(UserError, match="no model can be loaded .* more than tensors"):
        obtained(tmp_path / "out")
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out" / "card.json").exists()
    torch.load(io.BytesIO(bad.getvalue()), weights_only=False)
    assert (tmp_path / "ran").exists()  # it would have run


def test_a_repository_without_weights_is_refused_before_anything_comes(loopback, llama, tmp_path):
    loopback.publish("some/model", {"config.json": llama["config.json"], "README.md": CARD}, branch="v1")
    with pytest.raises(UserError, match="some/model at v1 has no config.json with weights"):
        obtained(tmp_path / "out")
    assert not loopback.bodies("config.json")


def test_a_repository_with_an_adapter_is_refused_before_anything_comes(loopback, llama, tmp_path):
    loopback.publish("some/model", {**llama, "adapter_config.json": b"{}"}, branch="v1")
    with pytest.raises(UserError, match="some/model at v1 holds an adapter .* merge it first"):
        obtained(tmp_path / "out")
    assert not loopback.bodies("config.json")


def test_needed_files_prefer_safetensors_and_leave_the_rest():
    both = [
        "config.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "model.safetensors.index.json",
        "pytorch_model.bin",
        "tokenizer.json",
        "merges.txt",
        "README.md",
        "onnx/model.onnx",
        "original/params.json",
        "consolidated.safetensors",
        "training_args.bin",
        "pytorch_model.bin.index.json",
    ]
    assert weight_files.needed(both) == sorted([*both[:4], "tokenizer.json", "merges.txt"])
    assert weight_files.needed(["config.json", "pytorch_model.bin", "flax_model.msgpack", "tokenizer.model"]) == [
        "config.json",
        "pytorch_model.bin",
        "tokenizer.model",
    ]
    assert weight_files.has_weights(["pytorch_model.bin"]) and not weight_files.has_weights(
        ["model.safetensors.index.json", "config.json"]
    )


def test_gguf_gives_the_weights_of_the_file(made, tmp_path):
    """A Llama of two layers written as float32 GGUF by hand: loaded logits equal those of the original."""
    deterministic(0, threads=1)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        vocab_size=VOCABULARY,
        max_position_embeddings=64,
        tie_word_embeddings=False,
        rms_norm_eps=1e-5,
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    path = tmp_path / "tiny.gguf"
    gguf_files.write(path, model, load_tokenizer(made / "model"))
    out = tmp_path / "out"
    out.mkdir()
    spec = {"id": "g", "source": {"kind": "gguf", "file": str(path)}, "tokens": 7}
    with pytest.raises(UserError, match="'g' has no padding token and its entry names none; name one"):
        stage.run(spec, {}, out)
    stage.run({**spec, "tokenizer": {"pad": "eos"}}, {}, out)
    card, loaded = card_of(out), load_causal_lm(out / "model", torch.float32)
    ids = torch.arange(12).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits, atol=1e-5, rtol=1e-4)
    assert card["n_params"]["total"] == sum(p.numel() for p in model.parameters())
    assert card["revision"].startswith("sha256:") and card["model"] == "model" and "model.safetensors" in card["files"]


def test_gguf_that_is_none_is_told(tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    for name, message in (
        ("bad.gguf", "no model can be loaded from"),
        ("absent.gguf", "absent.gguf of the checkpoint .* is missing"),
    ):
        with pytest.raises(UserError, match=message):
            stage.run({"id": "g", "source": {"kind": "gguf", "file": str(tmp_path / name)}, "tokens": 7}, {}, tmp_path)


ENTRY = {"family": "mpt", "size": "tiny", "source": TINY}


def test_checkpoint_config_states_tokens_once():
    assert Checkpoint.model_validate(ENTRY).role == "fit"
    with pytest.raises(ValidationError, match="once"):
        Checkpoint.model_validate({**ENTRY, "tokens": 5})
    with pytest.raises(ValidationError, match="tokens is required"):
        Checkpoint.model_validate({**ENTRY, "source": HUB["source"]})
    spec = Checkpoint.model_validate(ENTRY).model_dump(mode="json", exclude=specs.DESCRIPTIVE | specs.LABELS)
    assert Spec.model_validate({"id": "x", "seed": 1, "precision": "fp32", **spec}).source.hidden_size == 16


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 15},
        {"tokens": -1},
        {"learning_rate": 0},
        {"warmup": 1},
        {"max_length": 16},
        {"kind": "pretrian"},
        {"colour": 1},
        {"learning_rate": float("nan")},
    ],
)
def test_pretrain_config_refuses_nonsense(change):
    with pytest.raises(ValidationError):
        Checkpoint.model_validate({**ENTRY, "source": {**TINY, **change}})
