"""Attention of texts: MPT's bias in bfloat16, texts packed in one row, and what makes an accelerator wait."""

import copy
import itertools
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from host import Waits
from test_model_kinds import KINDS, SHAPE, save
from topics import make, tuned
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    DynamicCache,
    Gemma2Config,
    GemmaConfig,
    GPTJConfig,
    GPTNeoConfig,
    LlamaConfig,
    LlamaModel,
    MistralConfig,
    MptConfig,
    MptModel,
    Olmo2Config,
    OlmoConfig,
    OPTConfig,
    PhiConfig,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.mpt.configuration_mpt import MptAttentionConfig

from retscale.finetune.gradient import Gradient
from retscale.finetune.reading import Reading
from retscale.icl.decoder import Decoder
from retscale.model import attention, encode, encoder, load, packed
from retscale.model.attention import use_fused
from retscale.model.kinds import PACKABLE
from retscale.model.layout import best_layout, plan, real_share, tokens_at_once
from retscale.model.packed import pack, pool_packed, use_packed
from retscale.model.pooling import POOLINGS, pool

VARIATION = 0.005


# --- MPT's ALiBi in bfloat16 ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mpt():
    """Of the slopes of twelve heads bfloat16 holds but some."""
    torch.manual_seed(0)
    config = MptConfig(d_model=96, n_heads=12, n_layers=1, vocab_size=64, max_seq_len=2048)
    return MptModel._from_config(config, attn_implementation="eager", dtype=torch.float32).eval()


@contextmanager
def softmax_rows(monkeypatch):
    """What every fused attention within gives its keys: a list of (batch, heads, tokens, keys), of its own inputs."""
    rows = []

    def watched(query, key, value, attn_mask=None, is_causal=False, scale=None, **_):
        assert query.dtype == key.dtype == torch.bfloat16 and (attn_mask is None or attn_mask.dtype == torch.bfloat16)
        scores = query.float() @ key.float().mT * scale + (0 if attn_mask is None else attn_mask.float())
        if is_causal:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
        rows.append(scores.softmax(-1))
        return rows[-1].to(value.dtype) @ value

    with monkeypatch.context() as patch:
        patch.setattr(attention, "scaled_dot_product_attention", watched)
        patch.setattr(packed, "scaled_dot_product_attention", watched)
        yield rows


def variation(rows: torch.Tensor, expected: torch.Tensor) -> float:
    """Of the worst row."""
    return ((rows - expected).abs().sum(-1) / 2).max().item()


def in_training(model, ids):
    with torch.autocast("cpu", torch.bfloat16):
        model.train()(input_ids=ids)
    model.eval()


def in_encoding(model, ids):
    model.bfloat16()(input_ids=ids)


def in_a_row(model, ids):
    """Packed, behind a text that is not looked at."""
    first = np.arange(40) % 64
    model.bfloat16()(**pack([ids[0].numpy(), first], torch.device("cpu")))


def behind_left_padding(model, ids):
    """The last third behind a cache, and behind padding on the left."""
    model, split = model.bfloat16(), ids.shape[1] // 3 * 2
    mask = torch.cat([torch.zeros(1, 7, dtype=torch.long), torch.ones_like(ids)], 1)
    ids = torch.cat([torch.zeros(1, 7, dtype=torch.long), ids], 1)
    cache = DynamicCache()
    for part in (slice(0, split + 7), slice(split + 7, None)):
        model(input_ids=ids[:, part], attention_mask=mask[:, : part.stop], past_key_values=cache)


@pytest.mark.parametrize("tokens", [128, 512, 2048])
@pytest.mark.parametrize("way", [in_training, in_encoding, in_a_row, behind_left_padding])
@torch.no_grad()
def test_alibi_is_exact_in_bfloat16(way, tokens, mpt, monkeypatch):
    if way is behind_left_padding:
        tokens -= 8  # of 2,048 at most
    model = copy.deepcopy(mpt)
    ids = torch.randint(0, 64, (1, tokens), generator=torch.Generator().manual_seed(tokens))
    expected = model(input_ids=ids, output_attentions=True).attentions[0]
    use_fused(model)
    with softmax_rows(monkeypatch) as rows:
        way(model, ids)
    if way is behind_left_padding:
        split = tokens // 3 * 2
        assert variation(rows[0][:, :, 7:, 7:], expected[:, :, :split, :split]) < VARIATION
        rows, expected = [rows[1][..., 7:]], expected[:, :, split:]
    assert variation(rows[0], expected) < VARIATION


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_padding_token_on_the_left_gets_a_finite_softmax(dtype, mpt):
    alibi = mpt.build_mpt_alibi_tensor(12, 64)
    bias = attention.position_bias(alibi, 5, 5, dtype, torch.tensor([[0, 0, 1, 1, 1]]))
    lowest = torch.finfo(dtype).min
    assert (bias + lowest / 2).isfinite().all() and bias.softmax(-1).isfinite().all()


# --- Texts in one row ----------------------------------------------------------------------------------------------

GROUPED = {**SHAPE, "num_key_value_heads": 2, "max_position_embeddings": 64}
ROWS = {
    "mistral": MistralConfig(**GROUPED, sliding_window=64),
    "qwen2": Qwen2Config(**GROUPED),
    "qwen3": Qwen3Config(**GROUPED, head_dim=16),
    "olmo": OlmoConfig(**GROUPED),
    "olmo2": Olmo2Config(**GROUPED),
    "phi": PhiConfig(**GROUPED),
    "gemma": GemmaConfig(**GROUPED, head_dim=16),
    "opt": OPTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64, vocab_size=48,
        max_position_embeddings=64, word_embed_proj_dim=32,
    ),
}  # fmt: skip
OTHERS = {
    "gpt-j": GPTJConfig(n_embd=32, n_layer=3, n_head=2, n_positions=64, rotary_dim=8, vocab_size=48),
    "gpt-neo": GPTNeoConfig(
        hidden_size=32, num_layers=4, num_heads=4, attention_types=[[["global", "local"], 2]], vocab_size=48,
        max_position_embeddings=64,
    ),
    "gemma-2": Gemma2Config(**GROUPED, head_dim=16, final_logit_softcapping=0.5),
}  # fmt: skip
ROWS |= {name: config for name, (_, config, _) in KINDS.items() if config.model_type in PACKABLE}
OTHERS |= {name: config for name, (_, config, _) in KINDS.items() if name not in ROWS}


def texts(count: int = 9) -> list[np.ndarray]:
    rng = np.random.default_rng(count)
    return [rng.integers(4, 44, size=n).astype(np.int32) for n in rng.integers(1, 40, size=count)]


def backbone(name: str, folder):
    auto, *_ = KINDS.get(name, KINDS["llama"])
    save(folder, auto, ROWS[name])
    return load.load_backbone(folder, torch.float32)


@pytest.mark.parametrize("name", ROWS)
def test_texts_in_one_row_get_their_own_vectors_and_gradients(name, tmp_path):
    model, ids = backbone(name, tmp_path), texts()
    padded = encode.encode_ids(model, ids, model.config.pad_token_id or 0, "mean")
    weights = torch.randn(padded.shape, generator=torch.Generator().manual_seed(0))
    gradients = []
    (padded * weights).sum().backward()
    gradients.append(model.get_input_embeddings().weight.grad.clone())
    model.zero_grad()
    use_packed(model)
    in_row = encode.encode_ids(model, ids, 0, "mean")
    (in_row * weights).sum().backward()
    gradients.append(model.get_input_embeddings().weight.grad)
    assert (in_row - padded).abs().max() < 1e-6
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["llama", "qwen3", "mpt", "bert"])
def test_the_kernel_for_rows_gets_what_it_wants(name, tmp_path, monkeypatch):
    """A slow one in its place, which takes what torch's varlen_attn documents and refuses what its kernel does."""

    def slow(query, key, value, ends, key_ends, longest, longest_keys, *, scale, window_size, enable_gqa):
        assert ends.dtype == torch.int32 and torch.equal(ends, key_ends) and longest == longest_keys
        assert longest == ends.diff().max() and ends[0] == 0 and ends[-1] == len(query) == len(key) == len(value)
        assert query.shape[-1] == key.shape[-1] == value.shape[-1] and query.shape[-1] % 8 == 0
        assert enable_gqa == (query.shape[1] != key.shape[1])
        causal = {(-1, 0): True, (-1, -1): False}[window_size]
        return torch.cat(
            [
                torch.nn.functional.scaled_dot_product_attention(
                    *(x[start:end].transpose(0, 1)[None] for x in (query, key, value)),
                    is_causal=causal, scale=scale, enable_gqa=enable_gqa,
                )[0].transpose(0, 1)
                for start, end in itertools.pairwise(ends.tolist())
            ]
        )  # fmt: skip

    model, ids = backbone(name, tmp_path), texts()
    padded = encode.encode_ids(model, ids, 0, "mean")
    use_packed(model)
    monkeypatch.setattr(packed, "has_kernel", lambda query: True)
    monkeypatch.setattr(packed, "varlen_attn", slow)
    assert (encode.encode_ids(model, ids, 0, "mean") - padded).abs().max() < 1e-6


def test_every_model_that_can_be_packed_is_tried_here():
    assert {config.model_type for config in ROWS.values()} == PACKABLE


@pytest.mark.parametrize("how", POOLINGS)
def test_a_row_is_pooled_text_by_text(how):
    lengths = [5, 1, 12, 3, 3, 30]
    hidden = torch.randn(1, sum(lengths), 4, generator=torch.Generator().manual_seed(0))
    alone = [pool(part, torch.ones(1, part.shape[1]), how) for part in hidden.split(lengths, dim=1)]
    torch.testing.assert_close(pool_packed(hidden, lengths, how), torch.cat(alone))


def test_the_road_of_a_model():
    llama, bert = ROWS["llama"], ROWS["bert"]
    assert best_layout(llama, accelerator=False, half=True, longest=128, training=True) == "padded"
    assert best_layout(llama, accelerator=True, half=False, longest=128, training=True) == "bucketed"
    assert best_layout(llama, accelerator=True, half=True, longest=128, training=True) == "packed"
    assert (
        best_layout(ROWS["mistral"], accelerator=True, half=True, longest=65, training=False) == "bucketed"
    )  # its window
    # The kernels drop no attention, as a BERT in training does.
    assert best_layout(bert, accelerator=True, half=True, longest=64, training=False) == "packed"
    assert best_layout(bert, accelerator=True, half=True, longest=64, training=True) == "bucketed"
    dropping = MptConfig(attn_config=MptAttentionConfig(attn_pdrop=1))
    assert best_layout(MptConfig(), accelerator=True, half=True, longest=128, training=True) == "packed"
    assert best_layout(dropping, accelerator=True, half=True, longest=128, training=True) == "bucketed"
    for config in OTHERS.values():
        assert best_layout(config, accelerator=True, half=True, longest=32, training=False) == "bucketed"


def ms_marco(queries: int) -> np.ndarray:
    """Tokens of the texts of so many queries, each with 16 passages: .53 of 128 on average."""
    rng = np.random.default_rng(queries)
    passages = np.clip(rng.lognormal(np.log(70), 0.45, 16 * queries), 12, 128)
    return np.concatenate([np.clip(rng.lognormal(np.log(8), 0.4, queries), 4, 32), passages]).astype(int)


@pytest.mark.parametrize("microbatch", [64, 32, 16, 4])
@pytest.mark.parametrize("name", ["llama", "mpt", "t5", "gpt-neo"])
def test_on_an_accelerator_most_tokens_are_real(name, microbatch):
    config, lengths = (ROWS | OTHERS)[name], ms_marco(microbatch)
    layout = best_layout(config, accelerator=True, half=True, longest=128, training=True)
    assert real_share(lengths, 65536, layout) >= 0.95
    assert real_share(lengths, 65536, "padded") < 0.75
    parts = plan(lengths, 4096, layout)
    assert sorted(np.concatenate(parts)) == list(range(len(lengths)))
    assert all(lengths[part].sum() <= 4096 for part in parts)


def test_a_wide_model_reads_fewer_tokens_at_once():
    assert [tokens_at_once(65536, width) for width in (16, 768, 2048, 4096, 5120)] == [65536] * 3 + [32768, 26214]
    assert tokens_at_once(1, 8192) == 1


def test_alibi_reads_beyond_the_context_that_the_config_states():
    torch.manual_seed(0)
    shape = {"d_model": 16, "n_heads": 2, "n_layers": 2, "vocab_size": 50}
    short, long = (MptModel(MptConfig(**shape, max_seq_len=length)).eval() for length in (32, 64))
    short.load_state_dict(long.state_dict())
    ids = torch.randint(50, (1, 60))
    for model in (short, long):
        use_fused(model)
    with torch.no_grad():
        torch.testing.assert_close(short(ids).last_hidden_state, long(ids).last_hidden_state, rtol=0, atol=1e-6)


# --- What makes an accelerator wait --------------------------------------------------------------------------------


# Where a decoder other than MPT is padded, transformers reads one value a forward, to see whether texts are packed.
@pytest.mark.parametrize(("name", "in_one_row"), [("mpt", False), ("mpt", True), ("llama", True), ("gpt-neox", True)])
def test_no_forward_makes_the_host_wait(name, in_one_row, tmp_path):
    model, ids = backbone(name, tmp_path), texts()
    if in_one_row:
        use_packed(model)
    with Waits() as waits:
        encode.encode(model, ids, 0, tokens_per_batch=64)
        encode.encode_ids(model, ids, 0, "last").sum().backward()
    assert waits.count == 0


def test_a_training_step_makes_the_host_wait_once(tmp_path, monkeypatch):
    """Twelve steps more cost twelve readings more."""
    study, readings, plain = make(tmp_path), [], torch.Tensor.tolist
    for epochs in (1, 2):
        with Waits() as waits, monkeypatch.context() as patch:
            lists = []
            patch.setattr(torch.Tensor, "tolist", lambda tensor, lists=lists: (lists.append(1), plain(tensor))[1])
            *_, log, _ = tuned(study, tmp_path / f"encoder-{epochs}", epochs=epochs, log_every=1000)
        readings.append(waits.count + len(lists))
    assert log[-1]["step"] == 24 and readings[1] - readings[0] == 12


def test_what_a_step_says_is_read_while_the_next_one_runs(tmp_path, monkeypatch):
    """But for those whose encoder is kept: nothing may be unread then."""
    events = []

    def note(name, method):
        plain = getattr(method[0], method[1])
        monkeypatch.setattr(*method, lambda *given: (events.append(name), plain(*given))[1])

    note("compute", (Gradient, "__call__"))
    note("read", (Reading, "values"))
    tuned(make(tmp_path), tmp_path / "encoder", keep=[4])
    assert events == ["compute", *["compute", "read"] * 3, "read", "compute", *["compute", "read"] * 7, "read"]


def test_reading_behind_left_padding_does_not_make_the_host_wait(tmp_path):
    save(tmp_path, *KINDS["mpt"][:2])
    decoder = Decoder(load.load_causal_lm(tmp_path, torch.float32), 0)
    place = torch.tensor([0, 1]), torch.tensor([1, 1])
    with Waits() as waits:
        decoder.logits(*decoder.batch([[5, 6], [7, 8]]), *place, decoder.read([[1, 2, 3], [4]]))
    assert waits.count == 0


@pytest.mark.parametrize("name", ["mpt", "llama", "gpt-neox", "bert"])
def test_neither_encoding_nor_training_builds_a_cache(name, tmp_path, monkeypatch):
    model, built = backbone(name, tmp_path), []
    monkeypatch.setattr(DynamicCache, "__init__", lambda self, *_, **__: built.append(self))
    encode.encode(model, texts(), 0)
    encode.encode_ids(model.train(), texts(), 0, "mean").sum().backward()
    assert not built


@pytest.mark.parametrize("name", ["llama", "gpt-neox"])
def test_a_decoder_gets_no_mask(name, tmp_path, monkeypatch):
    """Right padding needs none, and without one torch takes its causal kernel."""
    import transformers.integrations.sdpa_attention as sdpa

    model, masks = backbone(name, tmp_path), []
    plain = torch.nn.functional.scaled_dot_product_attention
    watched = lambda *x, attn_mask=None, **more: (masks.append(attn_mask), plain(*x, attn_mask=attn_mask, **more))[1]
    monkeypatch.setattr(sdpa.torch.nn.functional, "scaled_dot_product_attention", watched)
    encode.encode(model, texts(), 0)
    assert masks and all(mask is None for mask in masks)


def test_cudnn_attention_is_off_where_models_are_loaded():
    assert not torch.backends.cuda.cudnn_sdp_enabled()  # it is on as torch comes


def test_pooling_is_in_float32_under_autocast():
    hidden = torch.randn(4, 50, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(4, 50, dtype=torch.long)
    for how in POOLINGS:
        with torch.autocast("cpu", torch.bfloat16):
            vectors = pool(hidden, mask, how)
        assert torch.equal(vectors, pool(hidden, mask, how))


def test_replicas_are_made_of_the_copy_on_the_cpu(monkeypatch):
    """`meta` stands for accelerators: no copy is made of one that is there, which would hold two for a while."""
    model = MptModel(MptConfig(d_model=8, n_heads=2, n_layers=1, vocab_size=8))
    use_fused(model)
    moves, plain = [], MptModel.to
    monkeypatch.setattr(
        MptModel, "to", lambda self, to: (moves.append((self.device.type, str(to))), plain(self, to))[1]
    )
    models = encoder.replicas(model, [torch.device("meta", i) for i in range(3)])
    assert moves == [("cpu", "meta:1"), ("cpu", "meta:2"), ("cpu", "meta:0")]
    assert models[0] is model and len({id(replica) for replica in models}) == 3
    assert all(replica.forward.__self__ is replica for replica in models)


# --- Positions behind a cache --------------------------------------------------------------------------------------


DECODERS = [name for name in ROWS if name != "bert"] + ["gpt-j", "gpt-neo", "gemma-2"]


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_in_bfloat16_is_judged_as_in_float32(name):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config((ROWS | OTHERS)[name], dtype=torch.float32).eval()
    use_fused(model)
    judged = [Decoder(model.to(dtype), 0) for dtype in (torch.float32, torch.bfloat16)]
    assert judged[0].unshareable is None and judged[1].unshareable is None
    assert judged[0].bare_head == judged[1].bare_head == (name != "gemma-2")  # which caps its logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_off_by_one_behind_a_cache_are_refused(dtype, monkeypatch):
    """In fresh weights such a position moves the logits by .3% of their range, and rounding to bfloat16 by more."""
    plain = LlamaModel.forward

    def shifted(self, input_ids=None, past_key_values=None, position_ids=None, **rest):
        if past_key_values is not None and past_key_values.get_seq_length():
            position_ids = position_ids + 1
        return plain(self, input_ids, past_key_values=past_key_values, position_ids=position_ids, **rest)

    shape = dict(hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=256, vocab_size=48)
    model = AutoModelForCausalLM.from_config(LlamaConfig(**shape), dtype=dtype).eval()
    assert Decoder(model, 0).unshareable is None
    monkeypatch.setattr(LlamaModel, "forward", shifted)
    assert "differ" in Decoder(model, 0).unshareable


def test_a_bert_keeps_its_mask(tmp_path):
    """Nothing else tells it where padding is."""
    save(tmp_path, KINDS["bert"][0], BertConfig(**SHAPE, max_position_embeddings=64))
    model, ids = load.load_backbone(tmp_path, torch.float32), texts()
    alone = torch.cat([encode.encode_ids(model, [x], 0, "mean") for x in ids])
    torch.testing.assert_close(encode.encode_ids(model, ids, 0, "mean"), alone, atol=1e-5, rtol=0)
