"""Encoders and encoder-decoders that are pretrained on a decoder's tokens."""

import json
import math

import numpy as np
import pytest
import torch
from test_checkpoint import TINY, VOCABULARY, card_of, pretrained, text  # noqa: F401 - a fixture
from test_model_kinds import KINDS, save
from test_study import smoke, written
from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

from retscale.checkpoint import masked_tokens, spans
from retscale.checkpoint.config import Pretrain
from retscale.errors import UserError
from retscale.model import kinds
from retscale.model.load import is_causal, load_backbone, load_tokenizer
from retscale.study import load, specs

SHAPES = {"encoder": "ModernBertModel", "encoder-decoder": "T5EncoderModel"}
MARKS = 2  # of a block of 32: 5 tokens in 2 spans
PARAMS = {
    # Embedding with the mask, its norm, and a layer without a norm before its attention: 4 d^2, then 3 d x 43, a norm.
    "encoder": (VOCABULARY + 1) * 16 + 16 + 4 * 256 + 3 * 16 * 43 + 16 + 16,
    # Embedding with the marks, and 12 d^2 with two norms; a last norm, and a bias of 32 distances for each head.
    "encoder-decoder": (VOCABULARY + MARKS) * 16 + 12 * 256 + 2 * 16 + 16 + 32 * 2,
}


def blocks(rows: int = 50, length: int = 128) -> np.ndarray:
    return np.random.default_rng(rows).integers(0, 2000, (rows, length)).astype(np.uint16)


# --- What is hidden from a model -----------------------------------------------------------------------------------


def test_three_tenths_of_every_block_are_masked_and_most_by_the_mask():
    tokens = blocks(400)
    inputs, chosen = masked_tokens.corrupt(tokens, 2000, np.random.default_rng(0))
    assert chosen.shape == (400, 38) and (np.diff(chosen, axis=1) > 0).all()
    others = np.ones(tokens.shape, dtype=bool)
    np.put_along_axis(others, chosen, False, 1)
    assert (inputs[others] == tokens[others]).all()
    seen, was = np.take_along_axis(inputs, chosen, 1), np.take_along_axis(tokens, chosen, 1)
    shares = [(seen == 2000).mean(), (seen == was).mean()]
    assert shares == pytest.approx([0.8, 0.1], abs=0.01)
    assert np.bincount(chosen.ravel()).std() / 119 < 0.12  # every place as often: 400 x .3 times, and chance
    again, _ = masked_tokens.corrupt(tokens, 2000, np.random.default_rng(0))
    assert (again == inputs).all()


@pytest.mark.parametrize("length", [16, 128, 512])
def test_a_text_is_restored_from_its_marks_and_what_they_stand_for(length):
    tokens = blocks(30, length)
    cut, count = spans.amounts(length)
    assert cut == round(0.15 * length) and count == round(cut / 3)
    inputs, targets = spans.corrupt(tokens, 2000 + count, 0, np.random.default_rng(1))
    assert inputs.shape == (30, length - cut + count) and targets.shape == (30, cut + count + 1)
    for row in range(30):
        parts: dict[int, list[int]] = {}
        for token in targets[row, :-1]:
            if token >= 2000:
                parts[token] = inside = []
            else:
                inside.append(token)
        assert list(parts) == list(range(2000, 2000 + count)) and targets[row, -1] == 0
        assert inputs[row, 0] < 2000 <= inputs[row, -1]
        restored = [token for mark in inputs[row] for token in parts.get(mark, [mark])]
        assert restored == tokens[row].tolist()


def test_spans_are_of_all_lengths_alike():
    lengths = spans.parts(7, 3, 40_000, np.random.default_rng(2))
    assert (lengths >= 1).all() and (lengths.sum(1) == 7).all()
    _, counts = np.unique(lengths, axis=0, return_counts=True)
    assert len(counts) == math.comb(6, 2) and counts.std() / counts.mean() < 0.05
    assert (spans.parts(4, 1, 2, np.random.default_rng(0)) == 4).all()


# --- A model of either kind ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=SHAPES)
def made(request, text, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "tiny"
    pretrained(text, out, architecture=request.param)
    return request.param, out


def test_the_card_counts_what_makes_vectors(made):
    architecture, out = made
    card = card_of(out)
    assert card["n_params"]["total"] == PARAMS[architecture] and card["n_tokens"] == 24_000
    assert card["flops"] == 6 * PARAMS[architecture] * 24_000
    assert card["source"]["architecture"] == architecture
    assert card["loss"]["heldout"] < math.log(VOCABULARY) - 0.5  # it has learned


def test_pretraining_one_twice_gives_the_same_bytes(made, text, tmp_path):
    architecture, out = made
    pretrained(text, tmp_path / "again", architecture=architecture)
    for file in ("card.json", "log.jsonl", "model/model.safetensors", "model/config.json", "model/tokenizer.json"):
        assert (out / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_it_is_a_model_of_stock_transformers_that_reads_a_decoders_tokens(made, text):
    architecture, out = made
    backbone, tokenizer = load_backbone(out / "model", torch.float32), load_tokenizer(out / "model")
    assert type(backbone).__name__ == SHAPES[architecture] and not is_causal(out / "model")
    plain = load_tokenizer(text.parent / "tokenizer")
    words = "w01 w03\nand <|endoftext|> ünknown words"
    assert tokenizer(words)["input_ids"] == plain(words)["input_ids"]
    rows = backbone.get_input_embeddings().num_embeddings
    assert rows == len(tokenizer) == VOCABULARY + (1 if architecture == "encoder" else MARKS)


def test_its_held_out_loss_is_that_of_stock_transformers(made, text):
    architecture, out = made
    held = np.load(text.parent / "heldout.npy")
    data = np.lib.stride_tricks.sliding_window_view(held, 33)[: (len(held) - 1) // 32 * 32 : 32]
    auto = {"encoder": AutoModelForMaskedLM, "encoder-decoder": AutoModelForSeq2SeqLM}[architecture]
    model, losses = auto.from_pretrained(out / "model").eval(), []
    for start in range(0, len(data), 8):
        tokens, random = data[start : start + 8, :32], np.random.default_rng([0, start])
        if architecture == "encoder":
            inputs, chosen = masked_tokens.corrupt(tokens, VOCABULARY, random)
            labels = np.full(tokens.shape, -100)
            np.put_along_axis(labels, chosen, np.take_along_axis(tokens, chosen, 1), 1)
        else:
            inputs, labels = spans.corrupt(tokens, VOCABULARY + MARKS, 0, random)
        with torch.no_grad():
            loss = model(input_ids=torch.from_numpy(inputs), labels=torch.from_numpy(labels)).loss
        losses.append(loss.item() * len(tokens))
    assert card_of(out)["loss"]["heldout"] == pytest.approx(sum(losses) / len(data), abs=1e-4)


def test_a_decoder_is_what_it_was():
    assert "architecture" not in Pretrain(**TINY).model_dump(mode="json")
    rates = {kind: Pretrain(**TINY, architecture=kind).learning_rate for kind in ("decoder", *SHAPES)}
    assert rates == {"decoder": 6e-3, "encoder": 3e-3, "encoder-decoder": 3e-3}
    assert Pretrain(**TINY, architecture="encoder", learning_rate=1e-3).learning_rate == 1e-3


# --- What a study may ask of them ----------------------------------------------------------------------------------


def refused(tmp_path, change) -> str:
    data = smoke()
    change(data)
    with pytest.raises(UserError) as error:
        load.study(written(tmp_path, data))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(("architecture", "kind"), [("encoder", "modernbert"), ("encoder-decoder", "t5")])
def test_in_context_tasks_of_what_is_no_decoder_are_refused_before_any_job(tmp_path, architecture, kind):
    change = lambda study: study["checkpoints"][2]["source"].update(architecture=architecture)
    message = refused(tmp_path, change)
    assert f"icl: the checkpoint 'd24-long' is a {kind}, which is not a decoder" in message
    assert "give it `icl: false`" in message
    data = smoke()
    change(data)
    data["checkpoints"][2]["icl"] = False
    study = load.study(written(tmp_path, data))
    assert study.checkpoints_in_context == ["d16", "d24"]
    spec = specs.checkpoint(study, "d24-long")
    assert spec["source"]["architecture"] == architecture
    assert "architecture" not in specs.checkpoint(study, "d16")["source"]


def test_a_checkpoint_is_left_out_of_in_context_tasks_by_false_alone(tmp_path):
    message = refused(tmp_path, lambda study: study["checkpoints"][0].update(icl="never"))
    assert "checkpoints (d16).icl: must be true or false (found 'never')" in message


@pytest.mark.parametrize("kind", ["bert", "t5", "llama"])
def test_the_kind_of_a_folder_is_known_before_any_job(tmp_path, kind):
    auto, config, _ = KINDS[kind]
    save(tmp_path / "model", auto, config)
    local = {"id": "mine", "family": "x", "size": "1", "tokens": 9, "source": {"kind": "local"}}
    local["source"]["path"] = str(tmp_path / "model")
    data = smoke()
    data["checkpoints"].append(local)
    if kind == "llama":
        assert load.study(written(tmp_path, data))
    else:
        assert f"the checkpoint 'mine' is a {kind}" in refused(tmp_path, lambda study: study.update(data))


def test_a_recipe_cannot_switch_the_attention_of_what_is_no_decoder(tmp_path):
    def change(study, **more):
        study.pop("icl", None)
        study["checkpoints"][2]["source"]["architecture"] = "encoder"
        study["recipes"][0] = {"use": "own-mini", "n_negatives": 2, "attention": "bidirectional", **more}

    message = refused(tmp_path, change)
    assert "recipes (own-mini): attention: bidirectional is for decoders" in message and "a modernbert sees" in message
    data = smoke()
    change(data, checkpoints=["d16", "d24"])
    study = load.study(written(tmp_path, data))
    assert specs.finetune(study, "own-mini")["recipe"]["attention"] == "bidirectional"
    assert "attention" not in specs.finetune(study, "microbatch-mini")["recipe"]


def test_the_kinds_are_those_of_transformers():
    assert {config.model_type for config in MODEL_FOR_MASKED_LM_MAPPING} == kinds.MASKED


@pytest.mark.parametrize("name", KINDS)
def test_config_json_tells_a_decoder_as_the_loaded_model_does(name, tmp_path):
    auto, config, _ = KINDS[name]
    config.save_pretrained(tmp_path)
    assert kinds.continues_text(json.loads((tmp_path / "config.json").read_text())) == is_causal(tmp_path)
