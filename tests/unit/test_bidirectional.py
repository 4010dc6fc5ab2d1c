"""Decoders that see the whole text, against models written out by hand in float64."""

import json

import numpy as np
import pytest
import torch
from test_attention import ROWS, backbone, texts
from test_model_kinds import KINDS, save
from topics import make, spec, tuned
from transformers import GPTNeoConfig, LlamaConfig, LlamaModel

from retscale.common.files import sha256
from retscale.encoder.card import EncoderCard
from retscale.encoder.run import run as given
from retscale.errors import UserError
from retscale.finetune import run as finetune
from retscale.finetune.config import Recipe
from retscale.model import encode
from retscale.model.causality import SWITCHABLE, sees_ahead
from retscale.model.encoder import load_encoder
from retscale.model.layout import best_layout
from retscale.model.load import empty_backbone, is_causal, load_backbone
from retscale.model.packed import use_packed

DECODERS = {name: config for name, config in ROWS.items() if config.model_type != "bert"}


def normed(x, weight, mean: bool, eps: float):
    """Layer norm without a bias, or RMS norm."""
    x = x - x.mean(-1, keepdim=True) if mean else x
    return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight


def heads(x, count: int):
    return x.view(len(x), count, -1).transpose(0, 1)


def rotated(x):
    """(heads, tokens, size): halves of each head turned by position x frequency."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[1])[:, None] / 10000.0 ** (torch.arange(half) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def llama(w: dict, config, ids):
    x = w["embed_tokens.weight"][ids]
    for layer in range(config.num_hidden_layers):
        part = {k.removeprefix(f"layers.{layer}."): v for k, v in w.items()}
        h = normed(x, part["input_layernorm.weight"], False, config.rms_norm_eps)
        q, k, v = (h @ part[f"self_attn.{name}_proj.weight"].T for name in "qkv")
        groups = config.num_attention_heads // config.num_key_value_heads
        q, k, v = heads(q, config.num_attention_heads), heads(k, config.num_key_value_heads), heads(v, 2)
        k, v = rotated(k).repeat_interleave(groups, 0), v.repeat_interleave(groups, 0)
        weights = (rotated(q) @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        x = x + (weights @ v).transpose(0, 1).flatten(1) @ part["self_attn.o_proj.weight"].T
        h = normed(x, part["post_attention_layernorm.weight"], False, config.rms_norm_eps)
        gate = torch.nn.functional.silu(h @ part["mlp.gate_proj.weight"].T)
        x = x + (gate * (h @ part["mlp.up_proj.weight"].T)) @ part["mlp.down_proj.weight"].T
    return normed(x, w["norm.weight"], False, config.rms_norm_eps)


def mpt(w: dict, config, ids):
    x, size = w["wte.weight"][ids], config.d_model // config.n_heads
    slopes = 2.0 ** (-8 * torch.arange(1, config.n_heads + 1, dtype=torch.float64) / config.n_heads)
    distance = (torch.arange(len(ids))[:, None] - torch.arange(len(ids))).abs()
    for layer in range(config.n_layers):
        part = {k.removeprefix(f"blocks.{layer}."): v for k, v in w.items()}
        h = normed(x, part["norm_1.weight"], True, 1e-5)
        q, k, v = (heads(y, config.n_heads) for y in (h @ part["attn.Wqkv.weight"].T).chunk(3, -1))
        weights = (q @ k.mT / size**0.5 - slopes[:, None, None] * distance).softmax(-1)
        x = x + (weights @ v).transpose(0, 1).flatten(1) @ part["attn.out_proj.weight"].T
        h = normed(x, part["norm_2.weight"], True, 1e-5) @ part["ffn.up_proj.weight"].T
        x = x + torch.nn.functional.gelu(h) @ part["ffn.down_proj.weight"].T
    return normed(x, w["norm_f.weight"], True, 1e-5)


REFERENCES = {"llama": llama, "mpt": mpt}


def both_ways(name: str, folder):
    """The model as it is, and seeing ahead."""
    model = backbone(name, folder)
    return model, load_backbone(folder, torch.float32, "bidirectional")


@pytest.mark.parametrize("name", REFERENCES)
def test_vectors_and_gradients_are_those_of_a_model_written_out(name, tmp_path):
    _, model = both_ways(name, tmp_path)
    ids, vectors = texts(), []
    weights = {k: v.detach().double().requires_grad_() for k, v in model.state_dict().items()}
    for x in ids:
        hidden = REFERENCES[name](weights, model.config, torch.from_numpy(x).long())
        vectors.append(torch.nn.functional.normalize(hidden.mean(0), dim=0))
    ours, want = encode.encode_ids(model, ids, 0, "mean"), torch.stack(vectors)
    assert (ours - want).abs().max() < 1e-5
    toward = torch.randn(want.shape, generator=torch.Generator().manual_seed(0))
    (ours * toward).sum().backward()
    (want * toward).sum().backward()
    for key, weight in model.named_parameters():
        expected = weights[key].grad
        assert (weight.grad - expected).abs().max() <= 1e-4 * expected.abs().max(), key


@pytest.mark.parametrize("name", DECODERS)
def test_every_token_sees_those_behind_it(name, tmp_path):
    causal, model = both_ways(name, tmp_path)
    ids = torch.randint(4, 44, (1, 12), generator=torch.Generator().manual_seed(1))
    other = ids.clone()
    other[0, -1] = 47 - other[0, -1]
    with torch.no_grad():
        moved = {
            kind: (m(input_ids=ids).last_hidden_state - m(input_ids=other).last_hidden_state)[0, 0].abs().max()
            for kind, m in {"causal": causal, "bidirectional": model}.items()
        }
    assert moved["causal"] == 0 and moved["bidirectional"] > 1e-4


@pytest.mark.parametrize("name", DECODERS)
def test_neither_batch_nor_order_nor_layout_matters(name, tmp_path):
    _, model = both_ways(name, tmp_path)
    ids, pad = texts(), model.config.pad_token_id or 0
    together = encode.encode_ids(model, ids, pad, "mean")
    with torch.no_grad():
        alone = torch.cat([encode.encode_ids(model, [x], pad, "mean") for x in ids])
        backwards = encode.encode_ids(model, ids[::-1], pad, "mean").flip(0)
    assert max((x - together).abs().max() for x in (alone, backwards)) < 1e-5
    longest = max(map(len, ids))
    if best_layout(model.config, accelerator=True, half=True, longest=longest, training=False) != "packed":
        assert name == "mpt"  # no kernel of rows has its bias
        return
    toward = torch.randn(together.shape, generator=torch.Generator().manual_seed(0))
    (together * toward).sum().backward()
    padded = model.get_input_embeddings().weight.grad.clone()
    model.zero_grad()
    use_packed(model)
    row = encode.encode_ids(model, ids, pad, "mean")
    (row * toward).sum().backward()
    assert (row - together).abs().max() < 1e-5
    torch.testing.assert_close(model.get_input_embeddings().weight.grad, padded, atol=1e-5, rtol=1e-4)


def test_a_sliding_window_reaches_to_both_sides(tmp_path):
    config = DECODERS["mistral"].__class__(
        **DECODERS["mistral"].to_dict() | {"sliding_window": 3, "num_hidden_layers": 1}
    )
    save(tmp_path, KINDS["llama"][0], config)
    model = load_backbone(tmp_path, torch.float32, "bidirectional")
    ids = torch.arange(4, 16)[None]
    with torch.no_grad():
        before = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 6]
        moved = []
        for i in range(12):
            other = ids.clone()
            other[0, i] = 40
            after = model(input_ids=other, attention_mask=torch.ones_like(ids)).last_hidden_state[0, 6]
            moved.append(bool((after - before).abs().max() > 0))
    assert [i - 6 for i, changed in enumerate(moved) if changed] == [-3, -2, -1, 0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["bert", "t5", "modernbert", "gpt_neo"])
def test_what_cannot_be_switched_is_refused_in_one_line(kind, tmp_path):
    neo = GPTNeoConfig(
        hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]], vocab_size=48
    )
    auto, config, *_ = {**KINDS, "gpt_neo": (KINDS["llama"][0], neo)}[kind]
    save(tmp_path, auto, config)
    with pytest.raises(UserError, match=f"for decoders, of the types gemma, .*; a {kind} sees") as error:
        load_backbone(tmp_path, torch.float32, "bidirectional")
    assert "\n" not in str(error.value)


def test_every_type_that_can_be_switched_is_tried_here():
    assert {config.model_type for config in DECODERS.values()} == SWITCHABLE


def small_llama(words: int):
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    return LlamaModel(LlamaConfig(vocab_size=words, max_position_embeddings=32, **shape))


@pytest.mark.parametrize(("model", "tuning"), [(None, "full"), (small_llama, "lora")], ids=["mpt", "llama"])
def test_an_encoder_is_trained_and_read_with_the_attention_of_its_recipe(model, tuning, tmp_path):
    study = make(tmp_path, model)
    both = {how: tmp_path / how for how in ("causal", "bidirectional")}
    losses = {}
    for how, out in both.items():
        *_, log, notes = tuned(study, out, tuning=tuning, **({} if how == "causal" else {"attention": how}))
        losses[how] = log[-1]["loss"]
        card = json.loads((out / "encoder.json").read_text())
        assert card.get("attention") == card["recipe"].get("attention") == (how if how != "causal" else None)
        assert ("cannot be told" in notes["sentence_transformers"]) == (how != "causal" and model is None)
    assert losses["causal"] != losses["bidirectional"] < 2
    encoder = load_encoder(both["bidirectional"] / "encoder.json", "fp32", 64)
    assert sees_ahead(encoder.models[0].config) and not is_causal(both["bidirectional"])
    ids = [np.array([3, 4, 5, 6]), np.array([3, 4, 5, 9]), np.array([3, 4])]
    # By the first token alone.
    first = encode.encode(encoder.models[0], ids, 0, pooling="cls")
    assert np.abs(first[0] - first[1]).max() > 1e-4
    (tmp_path / "given").mkdir()
    given({"id": "mine", "source": {"path": str(both["bidirectional"])}}, {}, tmp_path / "given")
    assert EncoderCard.read(tmp_path / "given" / "encoder.json").attention == "bidirectional"
    again = load_encoder(tmp_path / "given" / "encoder.json", "fp32", 64)
    assert np.array_equal(again.embed(ids, "given"), encoder.embed(ids, "own"))


def test_encoder_json_says_it_even_where_config_json_does_not(tmp_path):
    tuned(make(tmp_path), out := tmp_path / "encoder", attention="bidirectional")
    card, config = (json.loads((out / name).read_text()) for name in ("encoder.json", "config.json"))
    assert config.pop("is_causal") is False
    (out / "config.json").write_text(json.dumps(config))
    card["files"]["config.json"] = sha256(out / "config.json")
    (out / "encoder.json").write_text(json.dumps(card))
    assert sees_ahead(load_encoder(out / "encoder.json", "fp32", 64).models[0].config)


def test_a_model_without_weights_is_switched_too(tmp_path):
    backbone("llama", tmp_path)
    model = empty_backbone(tmp_path, torch.float32, "bidirectional")
    assert sees_ahead(model.config) and not model.layers[0].self_attn.is_causal


def test_the_recipe_of_a_finished_study_is_what_it_was():
    assert "attention" not in Recipe().model_dump(mode="json")
    assert Recipe(attention="bidirectional").model_dump(mode="json")["attention"] == "bidirectional"


def test_a_control_that_is_not_trained_sees_ahead_too(tmp_path):
    assert Recipe(tuning="none", attention="bidirectional", lr=0.1).used().attention == "bidirectional"
    study = make(tmp_path)
    job = {**spec(attention="bidirectional", tuning="none"), "pairs": {}}
    (tmp_path / "out").mkdir()
    finetune.run(job, {"card": study / "card.json"}, tmp_path / "out", tmp_path)
    assert sees_ahead(load_encoder(tmp_path / "out" / "encoder.json", "fp32", 64).models[0].config)
