"""Controls: checkpoints without fine-tuning, and random weights; what they are, and what studies may say of them."""

import json

import pytest
import torch
from safetensors.torch import load_file
from topics import inputs, make, spec

from retscale.checkpoint import run as checkpoints
from retscale.checkpoint.card import Card
from retscale.encoder.card import Trained
from retscale.errors import UserError
from retscale.finetune import run as finetune
from retscale.model.load import load_backbone, load_tokenizer

TEXT = "t0w0 t1w1 unknown"


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    return inputs(make(tmp_path_factory.mktemp("study")))["card"]


def weights(folder):
    return load_backbone(folder, torch.float32).state_dict()


def same(one, other):
    assert one.keys() == other.keys()
    return all(torch.equal(one[name], other[name]) for name in one)


def obtained(like, out, seed=1):
    out.mkdir()
    source = {"kind": "random", "like": "tiny"}
    checkpoints.run({"id": "fresh", "seed": seed, "precision": "fp32", "source": source}, {"like": like}, out)
    return Card.read(out / "card.json")


def test_an_untuned_encoder_has_the_weights_of_its_checkpoint_and_reads_as_the_recipe_says(card, tmp_path):
    values = spec(tuning="none", pooling="last") | {"pairs": {}}
    finetune.run(values, {"card": card}, tmp_path, tmp_path / "state")
    encoder = Trained.read(tmp_path / "encoder.json")
    assert (encoder.steps, encoder.pairs, encoder.pooling) == (0, 0, "last")
    assert values["recipe"]["prompt"].items() <= encoder.prompt.model_dump().items()
    assert (tmp_path / "log.jsonl").read_text() == ""
    folder = Card.read(card).folder(card)
    assert same(weights(tmp_path), weights(folder))
    assert load_tokenizer(tmp_path)(TEXT)["input_ids"] == load_tokenizer(folder)(TEXT)["input_ids"]


def test_an_untuned_encoder_needs_no_pairs_and_others_do(card, tmp_path):
    for values in (spec(tuning="none"), spec() | {"pairs": {}}):
        with pytest.raises(ValueError, match="trains on one data set or more, and with `tuning: none` on none"):
            finetune.run(values, {"card": card}, tmp_path, tmp_path)
    values = spec(tuning="none", prompt={"query_length": 8, "passage_length": 4000}) | {"pairs": {}}
    with pytest.raises(UserError, match="texts have up to 4000 tokens, but the context of tiny is"):
        finetune.run(values, {"card": card}, tmp_path, tmp_path)


def test_random_weights_have_shape_and_tokenizer_of_the_other_and_follow_from_the_seed(card, tmp_path):
    fresh = obtained(card, tmp_path / "one")
    obtained(card, tmp_path / "again")
    obtained(card, tmp_path / "other", seed=2)
    assert (fresh.n_tokens, fresh.flops, fresh.made_here) == (None, None, True)
    folder = Card.read(card).folder(card)
    original, one, again, other = (
        weights(place) for place in (folder, *(tmp_path / name / "model" for name in ("one", "again", "other")))
    )
    assert {name: w.shape for name, w in one.items()} == {name: w.shape for name, w in original.items()}
    assert same(one, again) and not same(one, other) and not same(one, original)
    assert load_tokenizer(tmp_path / "one/model")(TEXT)["input_ids"] == load_tokenizer(folder)(TEXT)["input_ids"]
    assert all(w.dtype == torch.float32 for w in load_file(tmp_path / "one/model/model.safetensors").values())


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"id": "other"}, "is of the checkpoint 'other', but the spec says 'tiny'"),
        ({"files": {"config.json": "0" * 64}}, "config.json is not the file that .* lists; restore it, or delete"),
    ],
)
def test_random_weights_are_like_the_model_that_the_other_card_lists(card, tmp_path, changes, reason):
    (tmp_path / "model").symlink_to(card.parent / "model")
    (tmp_path / "card.json").write_text(json.dumps(json.loads(card.read_text()) | changes))
    with pytest.raises(UserError, match=reason):
        obtained(tmp_path / "card.json", tmp_path / "out")
    with pytest.raises(UserError, match="is made like tiny; give the card of that as --like"):
        obtained(None, tmp_path / "none")
