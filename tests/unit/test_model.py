import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MptConfig, PreTrainedTokenizerFast

from retscale.common.batch import batches
from retscale.common.flops import flops
from retscale.errors import UserError
from retscale.model import device as devices
from retscale.model.encode import encode, encode_ids
from retscale.model.load import deterministic, load_backbone, load_causal_lm, load_tokenizer, max_length
from retscale.model.params import count_params
from retscale.model.pooling import l2_normalize, pool
from retscale.model.prompt import Prompt
from retscale.model.tokenize import pad, token_ids


def meta(config):
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def test_params_of_table_1s_125m_mpt_config():
    # 12 layers of d 768, vocabulary 50432, full multi-head attention, tied: 50432*768 + 12*(12*768^2 + 2*768) + 768.
    counts = count_params(meta(MptConfig(d_model=768, n_heads=12, n_layers=12, vocab_size=50432)))
    assert counts == {"total": 123_685_632, "non_embedding": 84_953_856, "matmul": 84_934_656 + 50432 * 768}


def test_params_of_published_models():
    # Pythia-160m's paper prints 85,056,000 non-embedding parameters; GPT-2 small has 124,439,808 in all.
    from transformers import GPTNeoXConfig

    pythia = GPTNeoXConfig(
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        vocab_size=50304,
        tie_word_embeddings=False,
    )
    counts = count_params(meta(pythia))
    assert (counts["total"], counts["non_embedding"]) == (162_322_944, 85_056_000)
    assert count_params(meta(GPT2Config()))["total"] == 124_439_808


def test_matmul_params_count_the_head_once_whether_tied_or_not():
    small = dict(hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, vocab_size=32)
    tied, untied = (count_params(meta(LlamaConfig(**small, tie_word_embeddings=t))) for t in (True, False))
    assert tied["matmul"] == untied["matmul"] == 4 * 8 * 8 + 3 * 8 * 16 + 32 * 8
    assert untied["total"] - tied["total"] == 32 * 8


def test_flops_are_6nd():
    assert flops(151_407_360, 2_500_000_000) == 6 * 151_407_360 * 2_500_000_000


WORDS = [f"w{i}" for i in range(40)]
PROMPT = Prompt(passage_length=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("model")
    deterministic(0, threads=1)
    model = AutoModelForCausalLM.from_config(
        MptConfig(d_model=16, n_heads=2, n_layers=2, vocab_size=48, max_seq_len=64)
    )
    model.save_pretrained(where)
    tokens = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<eos>", *WORDS])}, unk_token="<eos>"))
    tokens.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>").save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(1)
    return [" ".join(rng.choice(WORDS, size=n)) for n in rng.integers(1, 30, size=50)] + ["", "w3"]


def test_load_gives_the_asked_dtype_and_the_same_weights(folder):
    lm = load_causal_lm(folder, torch.float32)
    assert lm.dtype == torch.float32 and not lm.training
    assert load_backbone(folder, torch.bfloat16).dtype == torch.bfloat16
    assert torch.equal(load_backbone(folder, torch.float32).wte.weight, lm.lm_head.weight)
    assert max_length(lm.config) == 64


def test_load_refuses_a_checkpoint_that_lacks_weights(folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(folder / "model.safetensors")
    del weights["transformer.blocks.1.ffn.up_proj.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="lacks 1 weights .*up_proj"):
        load_causal_lm(tmp_path, torch.float32)


def test_load_from_nowhere_is_a_user_error(tmp_path):
    for load in (load_tokenizer, lambda where: load_causal_lm(where, torch.float32)):
        with pytest.raises(UserError, match="no config.json"):
            load(tmp_path / "absent")


def test_a_missing_pad_token_is_set_in_memory_only(folder):
    before = (folder / "tokenizer_config.json").read_bytes()
    assert load_tokenizer(folder).pad_token_id == 0
    assert (folder / "tokenizer_config.json").read_bytes() == before


def test_encode_equals_one_text_at_a_time(folder, texts):
    model, tokenizer = load_backbone(folder, torch.float32), load_tokenizer(folder)
    for pooling in ("mean", "weighted_mean", "last", "cls"):
        ids = token_ids(tokenizer, texts, PROMPT, "passage").ids
        batched = encode(model, ids, tokenizer.pad_token_id, pooling=pooling, tokens_per_batch=200)
        alone = np.stack([encode(model, [x], tokenizer.pad_token_id, pooling=pooling)[0] for x in ids])
        np.testing.assert_allclose(batched, alone, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(batched, axis=1), 1, atol=1e-6)
    assert batched.dtype == np.float32 and batched.shape == (len(texts), 16)


def test_encode_does_not_depend_on_the_padding_side(folder):
    model = load_backbone(folder, torch.float32)
    right = torch.tensor([[5, 6, 7, 0, 0]]), torch.tensor([[1, 1, 1, 0, 0]])
    left = torch.tensor([[0, 0, 5, 6, 7]]), torch.tensor([[0, 0, 1, 1, 1]])
    a, b = (pool(model(input_ids=i, attention_mask=m).last_hidden_state, m, "mean") for i, m in (right, left))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_encode_without_texts(folder):
    assert encode(load_backbone(folder, torch.float32), [], 0).shape == (0, 16)


def test_encode_ids_carries_gradients(folder):
    model = load_backbone(folder, torch.float32)
    encode_ids(model, [[1, 2], [3]], 0, "mean").sum().backward()
    assert model.wte.weight.grad[3].abs().sum() > 0


def test_pad():
    ids, mask = pad([[5], [1, 2, 3]], 9)
    assert ids.tolist() == [[5, 9, 9], [1, 2, 3]] and mask.tolist() == [[1, 0, 0], [1, 1, 1]]


def test_pool_against_plain_loops():
    rng = torch.Generator().manual_seed(0)
    hidden = torch.randn(3, 5, 4, generator=rng)
    for mask in (
        [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 0, 0, 0, 0]],
        [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1]],
    ):
        mask = torch.tensor(mask)
        kept = [[hidden[b, t] for t in range(5) if mask[b, t]] for b in range(3)]
        want = {
            "mean": [sum(ts) / len(ts) for ts in kept],
            "weighted_mean": [sum((i + 1) * t for i, t in enumerate(ts)) / sum(range(1, len(ts) + 1)) for ts in kept],
            "last": [ts[-1] for ts in kept],
            "cls": [ts[0] for ts in kept],
        }
        for how, vectors in want.items():
            torch.testing.assert_close(pool(hidden, mask, how), torch.stack(vectors))


def test_pool_ignores_what_padding_holds():
    hidden = torch.tensor([[[1.0], [float("inf")]]])
    assert pool(hidden, torch.tensor([[1, 0]]), "mean").item() == 1.0
    assert pool(torch.full((1, 3, 2), 3.0, dtype=torch.bfloat16), torch.ones(1, 3), "mean").dtype == torch.float32


def test_l2_normalize_is_float32():
    out = l2_normalize(torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16))
    assert out.dtype == torch.float32 and out.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_batches_keep_the_budget_and_every_text():
    lengths = np.random.default_rng(0).integers(1, 90, size=500)
    plan = batches(lengths, 256)
    assert sorted(np.concatenate(plan)) == list(range(500))
    assert all(len(b) * lengths[b].max() <= 256 for b in plan)
    assert [lengths[b].max() for b in plan] == sorted((lengths[b].max() for b in plan), reverse=True)
    assert [b.tolist() for b in batches([2, 9, 2, 2], 4)] == [[1], [0, 2], [3]]
    assert batches([], 4) == []


def test_precision_follows_the_hardware(monkeypatch):
    monkeypatch.setattr(devices, "has_bf16", lambda: True)
    assert devices.dtype("auto") == devices.dtype("bf16") == torch.bfloat16
    assert devices.dtype("fp32") == torch.float32
    monkeypatch.setattr(devices, "has_bf16", lambda: False)
    assert devices.dtype("auto") == torch.float32
    with pytest.raises(UserError, match="bf16 is not supported"):
        devices.dtype("bf16")
