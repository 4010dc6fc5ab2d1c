"""sentence-transformers and mteb load an encoder's folder as it is, and get its vectors and its scores."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import test_model_kinds as kinds
import test_tokenize as tokenizers
import topics
import torch
from test_attention import ROWS
from test_evaluate_mteb import SOURCE, evaluated, ours_of, tiny
from transformers import LlamaConfig, LlamaModel, MptConfig

mteb = pytest.importorskip("mteb")
from sentence_transformers import SentenceTransformer

from retscale.encoder import names
from retscale.encoder.sentence_transformers import contents, why_not
from retscale.evaluate import run as evaluate
from retscale.evaluate.metrics import STANDARD
from retscale.finetune.config import NamedRecipe
from retscale.finetune.run import write
from retscale.model.causality import SWITCHABLE
from retscale.model.encoder import Encoder, load_encoder
from retscale.model.kinds import OWN_ATTENTION
from retscale.model.load import load_backbone, load_tokenizer
from retscale.model.params import count_params
from retscale.model.pooling import POOLINGS
from retscale.model.prompt import Prompt
from retscale.task import mteb_task
from retscale.task.run import write as write_task

TEXTS = ["low lower é", "low", "  lower low\n", "w1 w2 w3", "w4", "low e " * 30, "w5 w6 w7 w8 " * 10, "x"]


def written(folder: Path, out: Path, model=None, pooling="mean", attention="causal", **prompt) -> Path:
    """The encoder that a training without any step makes of the tokenizer in `folder` and its model, or of `model`."""
    tokenizer, model = load_tokenizer(folder), model or load_backbone(folder, torch.float32, attention)
    prompt = Prompt(**{"query_length": 20, "passage_length": 20} | prompt)
    recipe = NamedRecipe(id="r", pooling=pooling, prompt=prompt, attention=attention)
    assert why_not(folder, tokenizer, recipe.prompt, model.config) is None
    about = {"checkpoint": "c", "recipe": recipe.model_dump(mode="json", exclude={"weights", "keep"}), "steps": 0}
    about |= {"n_params": count_params(model), "pairs": 0}
    files = contents(tokenizer, recipe.prompt, recipe.pooling, model.config.hidden_size)
    write(out, model, model.state_dict(), tokenizer, recipe, about, files)
    return out


def both(folder: Path) -> tuple[Encoder, SentenceTransformer]:
    return load_encoder(folder / "encoder.json", "fp32", 256), SentenceTransformer(str(folder), device="cpu")


def difference(folder: Path, texts=TEXTS) -> float:
    """The largest of any component of the vectors of either side."""
    ours, theirs = both(folder)
    sides = {"query": theirs.encode_query, "passage": theirs.encode_document}
    vectors = {side: ours.embed(ours.tokens(texts, side), side) for side in sides}
    assert ours.pooling == "cls" or len(texts) == 1 or np.ptp(vectors["query"], axis=0).max() > 0.1
    return max(np.abs(vectors[side] - encode(texts)).max() for side, encode in sides.items())


@pytest.fixture(scope="module")
def llama():
    torch.manual_seed(0)
    shape = dict(hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2)
    return LlamaModel(LlamaConfig(vocab_size=300, max_position_embeddings=64, initializer_range=0.5, **shape)).eval()


KINDS = [tokenizers.gpt_neox, tokenizers.llama, tokenizers.t5, tokenizers.bert]


@pytest.mark.parametrize("make", KINDS)
def test_texts_are_read_under_every_policy_of_special_tokens(make, tmp_path):
    make(tmp_path)
    tokenizer, tried = load_tokenizer(tmp_path), 0
    for bos, eos in itertools.product(tokenizers.POLICIES, tokenizers.POLICIES):
        prompt = Prompt(bos=bos, eos=eos, query_prefix="lower: ", passage_prefix="low ", query_length=9)
        if (bos == "add" and tokenizer.bos_token_id is None) or (eos == "add" and tokenizer.eos_token_id is None):
            continue  # which no training accepts
        assert why_not(tmp_path, tokenizer, prompt, LlamaConfig()) is None
        tried += 1
    assert tried >= 4


@pytest.mark.slow
@pytest.mark.parametrize("make", KINDS)
def test_every_policy_of_special_tokens_gives_the_same_vectors(llama, make, tmp_path):
    make(tmp_path / "model")
    policies = [("tokenizer", "tokenizer"), ("none", "tokenizer")] + [("tokenizer", "add")] * (make != tokenizers.bert)
    for (bos, eos), pooling in zip(policies, ("mean", "weighted_mean", "last")):
        prompt = {"bos": bos, "eos": eos, "query_prefix": "lower: ", "passage_prefix": "low ", "query_length": 9}
        folder = written(tmp_path / "model", tmp_path / f"{bos}-{eos}", llama, pooling, **prompt)
        assert difference(folder) < 1e-6, (bos, eos)


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds.KINDS)
def test_every_kind_of_model_and_pooling_gives_the_same_vectors(name, tmp_path):
    auto, config, _ = kinds.KINDS[name]
    kinds.save(tmp_path / "model", auto, config)
    tokenizers.edit(tmp_path / "model" / "tokenizer_config.json", truncation_side="left", padding_side="left")
    pooling = list(POOLINGS)[list(kinds.KINDS).index(name) % 4]
    for how in POOLINGS if name == "mpt" else [pooling]:
        folder = written(tmp_path / "model", tmp_path / how, pooling=how, eos="add")
        assert difference(folder, TEXTS[3:]) < 1e-6, how


def test_neither_side_applies_a_chat_template(llama, tmp_path):
    """sentence-transformers would, where its settings name no modality."""
    tokenizers.gpt_neox(tmp_path / "model")
    plain = written(tmp_path / "model", tmp_path / "plain", llama)
    template = "{% for m in messages %}low {{ m['content'] }} lower{% endfor %}"
    tokenizers.edit(tmp_path / "model" / "tokenizer_config.json", chat_template=template)
    chat = written(tmp_path / "model", tmp_path / "chat", llama)
    assert load_tokenizer(chat).apply_chat_template([{"role": "user", "content": "e"}], tokenize=False) == "low e lower"
    from sentence_transformers.base.modules import Transformer

    assert "message" in Transformer(str(chat)).modality_config  # so it would, of the bare model
    assert difference(chat) < 1e-6
    ours = [both(folder)[0] for folder in (plain, chat)]
    assert all(np.array_equal(a, b) for a, b in zip(*(one.tokens(TEXTS, "passage") for one in ours)))


def switched(name: str, folder: Path) -> Path:
    """The folder of an encoder that sees ahead."""
    kinds.save(folder / "model", kinds.CAUSAL, ROWS[name])
    return written(folder / "model", folder / "out", attention="bidirectional", eos="add")


def test_a_llama_that_sees_ahead_gives_the_same_vectors(tmp_path):
    folder = switched("llama", tmp_path)
    assert difference(folder, TEXTS[3:]) < 1e-6
    assert difference(folder, TEXTS[3:4]) < 1e-6  # one text: nothing is padded, and no mask is made


@pytest.mark.slow
# Not Qwen 2, whose tokenizer cannot be made of these words; its attention is that of Qwen 3.
@pytest.mark.parametrize(
    "name", [n for n, c in ROWS.items() if c.model_type in SWITCHABLE - OWN_ATTENTION - {"llama", "qwen2"}]
)
def test_every_decoder_that_sees_ahead_gives_the_same_vectors(name, tmp_path):
    folder = switched(name, tmp_path)
    assert max(difference(folder, TEXTS[3:]), difference(folder, TEXTS[3:4])) < 1e-6


def test_an_mpt_that_sees_ahead_is_refused_with_why(tmp_path):
    tokenizers.llama(tmp_path)
    config = MptConfig(is_causal=False)
    assert "that a mpt sees the whole text" in why_not(tmp_path, load_tokenizer(tmp_path), Prompt(), config)


@pytest.fixture(scope="module")
def encoder(llama, tmp_path_factory) -> Path:
    """One that differs from every default."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizers.gpt_neox(folder / "model")
    prompt = {"query_prefix": "e: ", "passage_prefix": "low ", "query_length": 7, "passage_length": 16}
    return written(folder / "model", folder / "out", llama, "last", **prompt, bos="add", eos="add")


def test_prompts_and_lengths_are_kept(encoder):
    ours, theirs = both(encoder)
    assert theirs.prompts == {"query": "e: ", "document": "low "} and theirs.similarity_fn_name == "cosine"
    assert theirs.max_seq_length == 16 and difference(encoder) < 1e-6
    assert np.allclose(np.linalg.norm(theirs.encode(TEXTS), axis=1), 1)
    listed = json.loads((encoder / "encoder.json").read_text())["files"]
    assert not listed.keys() & {*names.OF_SENTENCE_TRANSFORMERS}  # evaluations stay as fresh as they were


@pytest.mark.parametrize(("identical", "candidates"), [(False, False), (True, False), (False, True)])
def test_mteb_gets_our_scores_by_that_road(encoder, identical, candidates, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ours, theirs = both(encoder)
    write_task("tiny", mteb_task.from_task(tiny(identical, candidates), SOURCE), tmp_path)
    task, ranked = ours_of(tmp_path / "task.json", encoder=ours)
    scores = evaluate.per_query(task, *ranked, STANDARD)
    whole = evaluated(theirs, tiny(identical, candidates))
    assert 0.05 < scores["ndcg_at_10"].mean() < 0.95
    for name in STANDARD:
        assert scores[name].mean() == pytest.approx(whole[name], abs=1e-5), name


def test_what_it_cannot_do_is_said_in_one_line(tmp_path):
    tokenizers.llama(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert "knows no suffix" in why_not(tmp_path, tokenizer, Prompt(query_suffix="]"), LlamaConfig())
    tokens = json.loads((tmp_path / "tokenizer.json").read_text())
    tokens["post_processor"]["single"].insert(0, {"SpecialToken": {"id": "<s>", "type_id": 0}})  # two before a text
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokens))
    tokenizer = load_tokenizer(tmp_path)
    assert why_not(tmp_path, tokenizer, Prompt(), LlamaConfig()) is None
    assert "cannot be set to put bos: tokenizer and eos: add" in why_not(
        tmp_path, tokenizer, Prompt(eos="add"), LlamaConfig()
    )


@pytest.mark.slow
def test_a_training_leaves_such_folders_and_says_where_it_does_not(tmp_path):
    study = topics.make(tmp_path / "study")
    texts = [" ".join(words[:n]) for words, n in zip(topics.TOPICS, (1, 3, 8, 2, 5))]
    notes = topics.tuned(study, tmp_path / "out", keep=[3])[3]
    assert notes["sentence_transformers"] == "loads the encoder's folder as it is"
    for folder in (tmp_path / "out", tmp_path / "out" / "step-3"):
        assert difference(folder, texts) < 1e-6
    notes = topics.tuned(study, tmp_path / "other", prompt={"query_suffix": "t0w0"})[3]
    assert "no suffix" in notes["sentence_transformers"]
    assert not any((tmp_path / "other" / name).exists() for name in names.OF_SENTENCE_TRANSFORMERS)
