"""Every kind of model that can become an encoder, tiny and random: loaded, limited, batched and saved exactly."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from tokenized import tokens
from tokenizers import Tokenizer, models, pre_tokenizers
from topics import describe
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    BartConfig,
    BertConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    ModernBertConfig,
    ModernBertDecoderConfig,
    MptConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    T5Config,
    UMT5Config,
)

from retscale.checkpoint import run as checkpoint
from retscale.errors import UserError
from retscale.finetune import run as finetune
from retscale.model import encode as encoding
from retscale.model import encoder as encoders
from retscale.model.encode import encode_ids
from retscale.model.load import is_causal, load_backbone, load_causal_lm, load_tokenizer, max_length
from retscale.model.pooling import pool
from retscale.model.prompt import Prompt
from retscale.model.tokenize import token_ids

WORDS = [f"w{i}" for i in range(40)]
POOLINGS = ("mean", "weighted_mean", "last", "cls")
# Embeddings of one text in another batch or on another padding side: rounding of float32, at most 1.2e-6 as measured.
TOLERANCE = 1e-5

SHAPE = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, vocab_size=48)
T5_SHAPE = dict(d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, vocab_size=48)
CAUSAL, MASKED, BOTH = AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

# The pretrained model as it is saved, and the tokens that it can read.
KINDS = {
    "mpt": (CAUSAL, MptConfig(d_model=32, n_heads=4, n_layers=2, vocab_size=48, max_seq_len=64), 64),
    "llama": (CAUSAL, LlamaConfig(**SHAPE, num_key_value_heads=2, max_position_embeddings=64), 64),
    "gpt2": (CAUSAL, GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=64, vocab_size=48), 64),
    "gpt-neox": (CAUSAL, GPTNeoXConfig(**SHAPE, max_position_embeddings=64), 64),
    "bert": (MASKED, BertConfig(**SHAPE, max_position_embeddings=64), 64),
    "roberta": (MASKED, RobertaConfig(**SHAPE, max_position_embeddings=64, pad_token_id=1), 62),
    "modernbert": (
        MASKED,
        ModernBertConfig(**SHAPE, max_position_embeddings=64, pad_token_id=0, local_attention=8),
        64,
    ),
    "modernbert-decoder": (
        CAUSAL,
        ModernBertDecoderConfig(**SHAPE, max_position_embeddings=64, pad_token_id=0, local_attention=8),
        64,
    ),
    "t5": (BOTH, T5Config(**T5_SHAPE, n_positions=64), None),
    "t5-v1.1": (BOTH, T5Config(**T5_SHAPE, feed_forward_proj="gated-gelu", tie_word_embeddings=False), None),
    "umt5": (BOTH, UMT5Config(**T5_SHAPE), None),
}


def encode(model, tokenizer, texts, prompt, side, **how) -> np.ndarray:
    return encoding.encode(model, token_ids(tokenizer, texts, prompt, side).ids, tokenizer.pad_token_id, **how)


def save(folder, auto, config):
    torch.manual_seed(0)
    model = auto.from_config(config)
    for _name, weight in model.named_parameters():  # the usual first weights are so small that little could go wrong
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(folder)
    vocabulary = {word: id for id, word in enumerate(["<pad>", "<unk>", "<s>", "</s>", *WORDS])}
    if config.model_type == "roberta":
        vocabulary |= {"<pad>": 1, "<unk>": 0}
    tokens = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokens, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    return model.eval()


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    auto, config, limit = KINDS[request.param]
    folder = tmp_path_factory.mktemp(request.param)
    return request.param, folder, save(folder, auto, config), limit


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(WORDS, size=n)) for n in rng.integers(1, 40, size=32)] + ["", "w3"]


def lengths_of(count, low=2, high=30):
    return np.random.default_rng(count).integers(low, high, size=count)


def random_ids(count):
    rng = np.random.default_rng(count)
    return [rng.integers(4, 44, size=n) for n in lengths_of(count)]


def test_the_backbone_is_the_pretrained_model_without_its_head(kind):
    name, folder, whole, _ = kind
    model = load_backbone(folder, torch.float32)
    assert not model.training and getattr(model, "pooler", None) is None
    ids = torch.tensor([[5, 9, 4, 11, 30]])
    with torch.no_grad():
        want = (whole.get_encoder() if whole.config.is_encoder_decoder else whole.base_model)(ids).last_hidden_state
        states = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    torch.testing.assert_close(states, want, atol=1e-5, rtol=1e-5)
    assert states.shape[-1] == model.config.hidden_size == 32
    if whole.config.is_encoder_decoder:
        assert not any("decoder" in key for key in model.state_dict())


def test_only_decoders_load_as_causal_lm(kind):
    name, folder, whole, _ = kind
    if KINDS[name][0] is CAUSAL:
        assert is_causal(folder) and type(load_causal_lm(folder, torch.float32)) is type(whole)
    else:
        assert not is_causal(folder)
        with pytest.raises(UserError, match="is not a decoder .* remove `icl` from its study"):
            load_causal_lm(folder, torch.float32)


def test_a_decoder_of_berts_class_is_one(tmp_path):
    save(tmp_path, CAUSAL, BertConfig(**SHAPE, is_decoder=True))
    assert is_causal(tmp_path)


def test_an_encoder_with_a_decoder_other_than_t5_is_refused(tmp_path):
    shape = dict(d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2)
    save(tmp_path, BOTH, BartConfig(**shape, encoder_ffn_dim=16, decoder_ffn_dim=16, vocab_size=48))
    with pytest.raises(UserError, match="bart, an encoder-decoder"):
        load_backbone(tmp_path, torch.float32)


def test_a_model_reads_as_many_tokens_as_it_is_said_to(kind):
    name, folder, _, limit = kind
    model = load_backbone(folder, torch.float32)
    assert max_length(model.config) == limit
    read = lambda n: model(torch.full((1, n), 7), attention_mask=torch.ones(1, n)).last_hidden_state
    with torch.no_grad():
        assert read(limit or 300).isfinite().all()
        if name in ("gpt2", "bert", "roberta"):  # a table of positions; the others' positions are computed
            with pytest.raises((IndexError, RuntimeError)):
                read(limit + 1)


def test_an_embedding_does_not_depend_on_its_batch(kind, texts):
    """Measured over budgets from one text a batch to all in one."""
    _, folder, _, _ = kind
    model, tokenizer, prompt = load_backbone(folder, torch.float32), load_tokenizer(folder), Prompt(passage_length=30)
    for pooling in POOLINGS:
        embeddings = [
            encode(model, tokenizer, texts, prompt, "passage", pooling=pooling, tokens_per_batch=budget)
            for budget in (1, 64, 200, 10**6)
        ]
        assert max(np.abs(other - embeddings[0]).max() for other in embeddings[1:]) < TOLERANCE
        np.testing.assert_allclose(np.linalg.norm(embeddings[0], axis=1), 1, atol=1e-6)
        assert np.abs(embeddings[0][0] - embeddings[0][1]).max() > 0.01  # the texts do differ


def test_saving_and_loading_changes_no_embedding(kind, texts, tmp_path):
    _, folder, _, limit = kind
    model, tokenizer = load_backbone(folder, torch.float32), load_tokenizer(folder)
    with torch.no_grad():  # as if it had been trained
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.01)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = load_backbone(tmp_path, torch.float32), load_tokenizer(tmp_path)
    prompt = Prompt(passage_length=20, eos="add")
    one, two = (encode(*pair, texts, prompt, "passage", pooling="last") for pair in ((model, tokenizer), again))
    assert np.array_equal(one, two) and type(again[0]) is type(model)
    assert max_length(again[0].config) == limit


@pytest.mark.parametrize("name", ["bert", "t5"])
def test_what_is_no_decoder_goes_through_the_stages(name, tmp_path, texts):
    """Measured, fine-tuned, and loaded as evaluation loads it; MPT's way is that of the study tests."""
    auto, config, limit = KINDS[name]
    places = {place: tmp_path / place for place in ("pretrained", "checkpoint", "data", "encoder", "state")}
    for place in places.values():
        place.mkdir()
    save(places["pretrained"], auto, config)
    source = {"kind": "local", "path": str(places["pretrained"])}
    checkpoint.run({"id": name, "source": source, "tokens": 1000}, {}, places["checkpoint"])
    card = json.loads((places["checkpoint"] / "card.json").read_text())
    backbone = load_backbone(places["pretrained"], torch.float32)
    assert card["max_length"] == limit and card["n_params"]["total"] == sum(p.numel() for p in backbone.parameters())
    ids = [f"{i:02d}" for i in range(16)]
    tables = {
        "pairs": {"query_id": ids, "query": texts[:16], "passage_id": ids},
        "passages": {"passage_id": ids, "text": texts[16:32]},
        "negatives": {"query_id": ids, "negatives": [[ids[i - 1], ids[i - 2]] for i in range(16)]},
    }
    for file, table in tables.items():
        pd.DataFrame(table).to_parquet(places["data"] / f"{file}.parquet")
    describe(places["data"], "random")
    prompt = {"query_length": 8, "passage_length": 12, "bos": "add", "eos": "add"}
    card_path = places["checkpoint"] / "card.json"
    finetune.run(
        {
            "recipe": {"id": "r", "n_negatives": 2, "batch_queries": 8, "lr": 1e-3, "prompt": prompt},
            "pairs": {"random": None},
            "precision": "fp32",
            "seed": 0,
        },
        {
            "card": card_path,
            "pairs": [places["data"] / "pairs.json"],
            "negatives": [places["data"] / "negatives.parquet"],
            "tokens": tokens(tmp_path / "tokens", prompt, card=card_path, pairs=[places["data"] / "pairs.json"]),
        },
        places["encoder"],
        places["state"],
    )
    trained = encoders.load_encoder(places["encoder"] / "encoder.json", "fp32", 100)
    embeddings = trained.embed(trained.tokens(texts, "passage"), "test")
    tokenizer = load_tokenizer(places["encoder"])
    assert embeddings.shape == (len(texts), 32)
    assert np.abs(embeddings - encode(backbone, tokenizer, texts, Prompt(**prompt), "passage")).max() > 1e-3


@pytest.mark.parametrize("name", ["mpt", "llama", "gpt2", "gpt-neox"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_does_not_change_a_causal_models_embeddings(name, pooling, tmp_path):
    """Left, right or none."""
    auto, config, _ = KINDS[name]
    save(tmp_path, auto, config)
    model, ids = load_backbone(tmp_path, torch.float32), random_ids(12)
    longest = max(map(len, ids)) + 3
    sides = []
    with torch.no_grad():
        alone = torch.cat([encode_ids(model, [x], 0, pooling) for x in ids])
        for side in ("left", "right"):
            tokens, mask = torch.zeros(12, longest, dtype=torch.long), torch.zeros(12, longest, dtype=torch.long)
            for row, x in enumerate(ids):
                part = slice(0, len(x)) if side == "right" else slice(longest - len(x), longest)
                tokens[row, part], mask[row, part] = torch.from_numpy(x), 1
            # Positions count from the first token of the text, as `generate` would have them.
            positions = {} if name == "mpt" else {"position_ids": (mask.cumsum(1) - 1).clamp(min=0)}
            hidden = model(input_ids=tokens, attention_mask=mask, **positions).last_hidden_state
            sides.append(torch.nn.functional.normalize(pool(hidden, mask, pooling), dim=-1))
    for padded in sides:
        assert (padded - alone).abs().max() < TOLERANCE


@pytest.mark.parametrize("pooling", POOLINGS)
def test_packed_texts_do_not_see_each_other(pooling, tmp_path):
    """All texts in one row, positions restarted, no cache: stock transformers keeps them apart."""
    auto, config, _ = KINDS["llama"]
    save(tmp_path, auto, config)
    model, ids = load_backbone(tmp_path, torch.float32), random_ids(3)
    row = torch.from_numpy(np.concatenate(ids))[None]
    positions = torch.from_numpy(np.concatenate([np.arange(len(x)) for x in ids]))[None]
    with torch.no_grad():
        alone = torch.cat([encode_ids(model, [x], 0, pooling) for x in ids])
        hidden = model(input_ids=row, position_ids=positions, use_cache=False).last_hidden_state[0]
        spread = model(input_ids=row, use_cache=False).last_hidden_state[0]
    unpack = lambda states: torch.cat(
        [
            torch.nn.functional.normalize(pool(x[None], torch.ones(1, len(x)), pooling), dim=-1)
            for x in states.split([len(x) for x in ids])
        ]
    )
    assert (unpack(hidden) - alone).abs().max() < TOLERANCE
    assert (unpack(spread)[1:] - alone[1:]).abs().max() > 0.01  # without restarts they would


def test_a_published_t5_states_positions_that_do_not_limit_it(kind):
    name, folder, _, _ = kind
    if name == "t5":
        assert json.loads((folder / "config.json").read_text())["n_positions"] == 64
