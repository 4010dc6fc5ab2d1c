"""Files made to deceive, to fill the memory or to hang: each is refused in one line, soon, and nothing of it is scored."""

import copy
import gzip
import json
import os
import shutil
import signal
import struct
import time
import tracemalloc
from pathlib import Path

import artifacts
import gguf_files
import numpy as np
import pytest
import safetensors.torch
import torch
from pydantic import ValidationError
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen2MoeConfig

from retscale.checkpoint import run as checkpoint
from retscale.checkpoint.config import Local
from retscale.encoder.config import EncoderFolder
from retscale.encoder.folder import describe
from retscale.encoder.run import run as encoder_run
from retscale.errors import UserError
from retscale.external import table
from retscale.icl import released
from retscale.items.config import JsonlSource
from retscale.mine.config import MineConfig
from retscale.model.encoder import load_encoder
from retscale.model.load import load_causal_lm, load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint
from retscale.pairs import source as pairs
from retscale.provenance import hash_cache
from retscale.study import load, source_files, yaml
from retscale.task import beir_folder
from retscale.task.config import FolderSource
from retscale.text.tokenizer import save, train

VOCABULARY = 300
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


@pytest.fixture(autouse=True)
def soon():
    """What hangs fails."""

    def late(*_):
        raise TimeoutError("this took more than 20 s")

    former = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def refused(says: str, call, *arguments) -> str:
    """The one line in which `call` refuses its `arguments`."""
    with pytest.raises(UserError, match=says) as error:
        call(*arguments)
    assert "\n" not in (line := str(error.value)) and len(line) < 1000
    return line


# --- weights: none is random, none is left out, none comes from a file that nobody hashed


@pytest.fixture(scope="module")
def llama() -> torch.nn.Module:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(**shape, vocab_size=VOCABULARY, max_position_embeddings=64, tie_word_embeddings=False)
    return AutoModelForCausalLM.from_config(config).eval()


@pytest.fixture(scope="module")
def whole(llama, tmp_path_factory) -> Path:
    """A complete checkpoint."""
    folder = tmp_path_factory.mktemp("whole")
    words = [f"w{i % 50:02d}" for i in np.random.default_rng(0).integers(50, size=20_000)]
    save(train([" ".join(words)], VOCABULARY), folder)
    llama.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(llama, tmp_path_factory) -> Path:
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("adapter")
    config = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(copy.deepcopy(llama), config).save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def obtain(source: dict, out: Path) -> dict:
    out.mkdir()
    checkpoint.run({"id": "x", "source": source, "tokens": 7, "tokenizer": {"pad": "eos"}}, {}, out)
    return json.loads((out / "card.json").read_text())


def local(folder: Path) -> dict:
    return obtain({"kind": "local", "path": str(folder)}, folder.parent / f"{folder.name}.out")


def edit(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def others(folder: Path, name: str) -> None:
    """Other weights of the same shapes."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    safetensors.torch.save_file({key: tensor + 1 for key, tensor in tensors.items()}, folder / name, {"format": "pt"})


def test_a_whole_checkpoint_is_taken(folder):
    assert local(folder)["n_params"]["total"] == 39_840


def test_an_adapter_beside_the_weights_is_refused(folder, adapter):
    for name in ADAPTER:
        shutil.copy(adapter / name, folder)
    refused("holds an adapter .* merge it first", local, folder)


def test_an_adapter_does_not_hide_that_weights_are_missing(folder, adapter):
    """What transformers says of the loading is then about the adapter alone."""
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    tensors.pop("model.norm.weight")
    safetensors.torch.save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    for name in ADAPTER:
        shutil.copy(adapter / name, folder)
    refused("holds an adapter", local, folder)
    for name in ADAPTER:
        (folder / name).unlink()
    refused("lacks 1 weights", load_causal_lm, folder, torch.float32)


def test_weights_that_the_config_names_are_refused(folder):
    others(folder, "hidden.safetensors")
    edit(folder / "config.json", transformers_weights="hidden.safetensors")
    refused("names the weights 'hidden.safetensors'", local, folder)


@pytest.mark.parametrize("name", ["hidden.safetensors", "../outside.safetensors"])
def test_an_index_that_names_other_files_is_refused(folder, name):
    others(folder, name)
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(tensors, name)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(f"index.json names the weights '{name}'", local, folder)


def test_layers_that_the_config_does_not_count_are_refused(folder):
    edit(folder / "config.json", num_hidden_layers=1)
    refused("holds 9 weights of layers that its configuration does not have", local, folder)


@pytest.mark.parametrize(
    "shape",
    [{"num_hidden_layers": n} for n in (10**9, 0, -1)]
    + [{"vocab_size": 10**12}, {"hidden_size": 10**6}, {"intermediate_size": 10**12}],
    ids=str,
)
def test_a_shape_that_the_weights_cannot_have_is_refused_before_it_is_built(folder, shape):
    edit(folder / "config.json", **shape)
    refused("but its weights .* are too small", local, folder)


HEADER = json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}).encode()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", b""),
        ("model.safetensors", b"\xff" * 100),
        ("model.safetensors", struct.pack("<Q", 2**62) + b"{}"),
        ("model.safetensors", struct.pack("<Q", 10) + b'{"a":[[[[['),
        ("model.safetensors", struct.pack("<Q", len(HEADER)) + HEADER + bytes(8)),
        ("tokenizer.json", b"[" * 100_000),
        ("tokenizer.json", b"[]"),
        ("tokenizer.json", b'{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": [["a", "b"]]}}'),
        ("tokenizer_config.json", b"[]"),
        ("tokenizer_config.json", b'{"a": ' * 100_000),
        ("config.json", b"[" * 100_000),
        ("config.json", b'{"model_type": []}'),
        ("config.json", b'{"model_type": "llama", "num_attention_heads": 0}'),
        ("config.json", b'{"model_type": "llama", "hidden_act": "none"}'),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_broken_file_of_a_model_is_refused(folder, file, content):
    if content.startswith(b'{"model_type": "'):
        content = json.dumps(json.loads((folder / file).read_text()) | json.loads(content)).encode()
    if content and file == "model.safetensors":
        content = content.ljust(2**17, b"0")  # so that its size alone is no reason
    (folder / file).write_bytes(content)
    refused("are too small for it" if not content else "no (model|tokenizer) can be loaded from", local, folder)


def test_a_cut_file_of_weights_is_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    refused("no model can be loaded from", local, folder)


# --- GGUF


@pytest.fixture
def gguf(llama, whole, tmp_path):
    """Write a GGUF file and have it obtained."""

    def write(*drop: str, model=llama, blocks: int | None = None) -> Path:
        (tmp_path / "gguf").mkdir(exist_ok=True)
        return gguf_files.write(tmp_path / "gguf" / "m.gguf", model, load_tokenizer(whole), drop, blocks)

    return write


def from_gguf(path: Path) -> dict:
    return obtain({"kind": "gguf", "file": str(path)}, path.parent.parent / "out")


def test_a_gguf_file_that_lacks_the_head_is_tied(gguf):
    assert from_gguf(gguf("lm_head"))["n_params"]["total"] == 39_840 - VOCABULARY * 32


@pytest.mark.parametrize("lacks", ["model.layers.1.mlp", "model.embed_tokens", "model.norm"])
def test_a_gguf_file_that_lacks_tensors_is_refused(gguf, lacks):
    refused(rf"m\.gguf lacks \d weights of a LlamaForCausalLM, such as {lacks}", from_gguf, gguf(lacks))


def test_a_gguf_file_with_more_than_its_header_says_is_refused(gguf):
    refused("m.gguf holds 39,840 weights, but .* has 29,536", from_gguf, gguf(blocks=1))


def test_a_gguf_file_of_a_billion_blocks_is_refused(gguf):
    refused("describes a model of 1,000,000,000 layers", from_gguf, gguf(blocks=10**9))


@pytest.mark.parametrize("lacks", ["", "mlp.experts.up_proj", "mlp.experts.gate_proj", "self_attn.q_proj.bias"])
def test_experts_of_a_gguf_file_that_are_halves_are_refused(gguf, lacks):
    """transformers fills the other half with zeros and says nothing."""
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    experts = {"num_experts": 4, "num_experts_per_tok": 2}  # of the usual size, the only one that transformers reads
    config = Qwen2MoeConfig(
        **shape, **experts, num_key_value_heads=4, vocab_size=VOCABULARY, max_position_embeddings=64
    )
    model = AutoModelForCausalLM.from_config(config).eval()
    if not lacks:
        assert from_gguf(gguf(model=model))["n_params"]["total"] == sum(p.numel() for p in model.parameters())
        return
    path = gguf(f"model.layers.0.{lacks}", model=model)
    refused("holds .* weights, but the Qwen2Moe" if "experts" in lacks else "lacks 1 weights of", from_gguf, path)


def test_nothing_but_the_gguf_file_itself_is_read(gguf, llama, adapter, tmp_path, monkeypatch):
    """Neither an adapter beside it nor a file of its name in the working directory, which transformers prefers."""
    path = gguf()
    for name in ADAPTER:
        shutil.copy(adapter / name, path.parent)
    (tmp_path / "here").mkdir()
    other = copy.deepcopy(llama)
    torch.nn.init.zeros_(other.lm_head.weight)
    shutil.move(gguf(model=other), tmp_path / "here")
    gguf()
    monkeypatch.chdir(tmp_path / "here")
    from_gguf(path)
    loaded = load_causal_lm(tmp_path / "out" / "model", torch.float32)
    assert torch.equal(loaded.lm_head.weight, llama.lm_head.weight)


def test_a_spoilt_gguf_file_is_refused_or_whole(gguf, tmp_path):
    content = gguf().read_bytes()
    cut = [content[:n] for n in (0, 4, 100, len(content) // 2)]
    counts = [content[:at] + struct.pack("<Q", 2**62) + content[at + 8 :] for at in (8, 16)]
    rng, flipped = np.random.default_rng(0), []
    for _ in range(20):
        spoilt = bytearray(content)
        for at in rng.integers(4, content.index(b"token_embd") + 1500, 3):
            spoilt[at] = rng.integers(256)
        flipped.append(bytes(spoilt))
    for number, spoilt in enumerate([*cut, *counts, *flipped]):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(spoilt)
        if number < len(cut + counts):
            refused(
                f"no model can be loaded from .*{number}.gguf",
                obtain,
                {"kind": "gguf", "file": str(path)},
                tmp_path / str(number),
            )
            continue
        try:
            obtain({"kind": "gguf", "file": str(path)}, tmp_path / str(number))
        except UserError as error:
            assert "\n" not in str(error)


# --- encoders made elsewhere


@pytest.fixture
def encoder(folder) -> Path:
    prompt = Prompt(query_length=8, passage_length=8)
    facts = artifacts.encoder(
        prompt=prompt.model_dump(mode="json"),
        prompt_sha256=fingerprint(load_tokenizer(folder), prompt),
        files={path.name: hash_cache.sha256(path) for path in sorted(folder.iterdir())},
    )
    (folder / "encoder.json").write_text(json.dumps(facts))
    return folder


def test_an_adapter_in_an_encoders_folder_is_refused(encoder, adapter):
    assert describe(encoder).pooling == "mean"
    for name in ADAPTER:
        shutil.copy(adapter / name, encoder)
    refused("merge it first", describe, encoder)
    refused("merge it first", load_encoder, encoder / "encoder.json", "fp32", 64)


def test_weights_that_an_encoder_does_not_list_are_hashed_or_refused(encoder, tmp_path):
    edit(encoder / "encoder.json", files={})
    encoder_run({"id": "x", "source": {"kind": "folder", "path": str(encoder)}}, {}, tmp_path)
    assert "model.safetensors" in json.loads((tmp_path / "encoder.json").read_text())["files"]
    assert encoder / "model.safetensors" in EncoderFolder(path=str(encoder)).files()
    refused("does not list .*model.safetensors", load_encoder, encoder / "encoder.json", "fp32", 64)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("modules.json", [{"type": 1, "path": ""}, {"type": [], "path": {}}]),
        ("config_sentence_transformers.json", {"prompts": "query"}),
        ("sentence_bert_config.json", {"modality_config": 7}),
        ("1_Pooling/config.json", {"pooling_mode": [{}]}),
    ],
)
def test_strange_json_in_an_encoders_folder_is_refused(folder, name, content):
    kind = "sentence_transformers.models."
    modules = [{"type": f"{kind}Transformer", "path": ""}, {"type": f"{kind}Pooling", "path": "1_Pooling"}]
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "modules.json").write_text(json.dumps(modules))
    assert describe(folder).pooling == "mean"
    (folder / name).write_text(json.dumps(content))
    refused(str(folder), describe, folder)
    (folder / name).write_text("[" * 100_000)
    refused("cannot read", describe, folder)


def test_an_encoder_that_mines_may_list_anything(tmp_path):
    for listed in ([1, 2], {"\0": "x"}, "x", None):
        (tmp_path / "encoder.json").write_text(json.dumps(artifacts.encoder(files=listed)))
        config = MineConfig(method="encoder", encoder=str(tmp_path))
        assert config.files() == [tmp_path / "encoder.json"]


# --- lines of JSON


def long_line(path: Path) -> Path:
    """48 MB on one line; gzipped, 50 kB."""
    line = b'{"_id": "a", "query": "q", "positive": "p", "text": "%s"}\n' % (b"x" * (48 << 20))
    path.write_bytes(gzip.compress(line, 1) if path.suffix == ".gz" else line)
    return path


def read_task(path: Path) -> None:
    (path.parent / "qrels").mkdir()
    (path.parent / "qrels" / "test.tsv").write_text("q\ta\t1\n")
    (path.parent / "queries.jsonl").write_text('{"_id": "q", "text": "t"}\n')
    beir_folder.collect(FolderSource(kind="folder", path=str(path.parent)))


def read_items(path: Path) -> None:
    released.read(path, JsonlSource(kind="jsonl", file=path.name, folder=str(path.parent)), "language_modeling")


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda path: list(pairs.read_file(path)), "pairs.jsonl.gz"),
        (lambda path: list(pairs.read_file(path)), "pairs.jsonl"),
        (read_items, "items.jsonl"),
        (read_task, "corpus.jsonl.gz"),
    ],
)
def test_a_line_without_end_is_refused_in_bounded_memory(read, name, tmp_path):
    path = long_line(tmp_path / name)
    tracemalloc.start()
    refused(f"{name}, line 1: longer than", read, path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48 << 20


def test_lists_in_lists_of_passages_are_read_without_recursion(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"query": "q", "positive": %s"p"%s}\n' % ("[" * 900, "]" * 900))
    (row,) = pairs.read_file(tmp_path / "x.jsonl")
    assert pairs.texts(row["positive"]) == ["p"]
    refused("a field of texts holds {'text': 't', 'title': 5}", pairs.texts, {"title": 5, "text": "t"})
    refused("a field of texts holds", pairs.texts, {"x": row["positive"]})
    assert pairs.texts([["a", None], {"title": "T", "text": "t"}, ["b"]]) == ["a", "T t", "b"]


def test_a_title_of_many_digits_is_a_text(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "a", "title": %s, "text": "t"}\n' % ("9" * 400))
    read_task(tmp_path / "corpus.jsonl")
    (tmp_path / "queries.jsonl").unlink()
    shutil.rmtree(tmp_path / "qrels")
    (tmp_path / "corpus.jsonl").write_text('{"_id": %s"a"%s, "text": "t"}\n' % ("[" * 900, "]" * 900))
    refused("line 1: not an object with _id and text", read_task, tmp_path / "corpus.jsonl")


# --- YAML

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 7)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 7))
CHAIN = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 5000))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(ALIASES, "line 7: more than 1,000,000 values", id="aliases"),
        pytest.param(MERGES, "line 7: more than 1,000,000 values", id="merge keys"),
        pytest.param(CHAIN, "50 levels", id="a chain of aliases"),
        pytest.param("a: " + "[" * 20_000 + "]" * 20_000, "50 levels", id="20,000 lists"),
        pytest.param("{a: " * 20_000 + "}" * 20_000, "50 levels", id="20,000 mappings"),
        pytest.param("a: &a [*a]", r"line 1: \*a refers to a value that contains it", id="itself"),
        pytest.param("a: &a\n  <<: *a", r"line 2: \*a refers to a value that contains it", id="merges itself"),
        pytest.param("a: " + "9" * 6000, "line 1: a number of 6,000 digits", id="6,000 digits"),
        pytest.param("? [a]\n: b", "line 1: a key must be a word", id="a list as a key"),
        pytest.param("? {a: b}\n: c", "line 1: a key must be a word", id="a mapping as a key"),
        pytest.param("a: !!timestamp 2024-13-45", "line 1: the tag .*timestamp", id="an impossible date"),
        pytest.param("a: !!float x", "line 1: the tag .*float", id="a float that is none"),
        pytest.param("a: !!bool maybe", "line 1: the tag .*bool", id="a truth value that is none"),
        pytest.param("a: !!map x", "line 1: the tag .*map", id="a mapping that is none"),
        pytest.param("a: !!int [1]", "line 1: the tag .*int", id="an integer that is none"),
        pytest.param("a: !!python/object/apply:os.system [id]", "line 1: the tag", id="code"),
    ],
)
def test_a_study_that_is_a_bomb_is_refused(text, says, tmp_path):
    (tmp_path / "study.yaml").write_text(text)
    refused(f"study.yaml.*{says}", load.study, tmp_path / "study.yaml")


def test_of_many_faults_the_first_are_told_and_soon(tmp_path):
    """Each unknown key was compared with all known ones: 400,000 took 50 s."""
    (tmp_path / "study.yaml").write_text("name: x\n" + "".join(f"u{number}: 1\n" for number in range(30_000)))
    start = time.process_time()
    with pytest.raises(UserError) as error:
        load.study(tmp_path / "study.yaml")
    told = str(error.value).split("\n")
    assert len(told) == 101 and told[-1].endswith("more things are wrong") and time.process_time() - start < 3


def test_aliases_and_merge_keys_of_a_plain_study_are_read(tmp_path):
    (tmp_path / "x.yaml").write_text("a: &a {x: 1, y: &y [1, 2]}\nb: {<<: *a, x: 2}\nc: *y\n")
    assert yaml.read(tmp_path / "x.yaml") == {"a": {"x": 1, "y": [1, 2]}, "b": {"x": 2, "y": [1, 2]}, "c": [1, 2]}


def test_an_id_with_a_line_end_is_refused():
    entry = {"id": "fiqa\n", "use": "fiqa"}
    refused(r"the id 'fiqa\\n' is not safe as a file name", load._entry, "task", entry, "tasks.0", "x.yaml")
    with pytest.raises(ValidationError):
        JsonlSource(kind="jsonl", file="x.jsonl", folder="x", sha256="0" * 64 + "\n")


# --- what is no file


@pytest.mark.parametrize("kind", ["fifo", "device"])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("study.yaml", yaml.read),
        ("x.jsonl", lambda path: list(pairs.read_file(path))),
        ("x.jsonl.gz", lambda path: list(pairs.read_file(path))),
        ("x.parquet", lambda path: list(pairs.read_file(path))),
        ("corpus.jsonl", read_task),
        ("items.jsonl", read_items),
        ("x.csv", lambda path: list(table.lines(path, []))),
        ("x.bin", hash_cache.sha256),
    ],
)
def test_what_is_no_file_is_not_waited_for(kind, name, read, tmp_path):
    path = tmp_path / name
    os.mkfifo(path) if kind == "fifo" else path.symlink_to("/dev/zero")
    refused("is not a regular file", read, path)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_a_fifo_among_the_files_of_a_model_is_not_waited_for(folder, name):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(f"{name} is not a regular file", local, folder)
    refused(f"{name} is not a regular file", source_files.digest, *Local(kind="local", path=str(folder)).files())
