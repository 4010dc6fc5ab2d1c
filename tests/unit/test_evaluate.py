"""The stage `evaluate` on a tiny encoder: what it writes, keeps, shares and refuses."""

import hashlib
import json

import artifacts
import numpy as np
import pandas as pd
import pytest
from tokenized import of_task
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, MptConfig, PreTrainedTokenizerFast, set_seed

from retscale.errors import UserError
from retscale.evaluate.metrics import STANDARD
from retscale.evaluate.run import run
from retscale.model import layout
from retscale.model.encoder import load_encoder
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint
from retscale.study.catalog import merge
from retscale.task.run import run as make_task


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Shared state lies in the working folder."""
    monkeypatch.chdir(tmp_path)


WORDS = [f"w{i}" for i in range(60)]


def prompted(folder, **prompt) -> dict:
    prompt = Prompt(**prompt)
    return {"prompt": prompt.model_dump(), "prompt_sha256": fingerprint(load_tokenizer(folder), prompt)}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoder")
    set_seed(0)
    AutoModel.from_config(MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=64, max_seq_len=32)).save_pretrained(
        folder
    )
    tokens = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["<eos>", "query:", *WORDS])}, unk_token="<eos>"))
    tokens.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token="<eos>").save_pretrained(folder)
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    facts = artifacts.encoder(
        steps=1, files=files, **prompted(folder, query_length=8, passage_length=20, query_prefix="query: ")
    )
    (folder / "encoder.json").write_text(json.dumps(facts))
    return folder / "encoder.json"


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """Two tasks over random words: 12 queries, 40 documents."""
    found = []
    for name in ("one", "two"):
        source, out = tmp_path_factory.mktemp(name), tmp_path_factory.mktemp(f"{name}-out")
        rng = np.random.default_rng(len(found))
        corpus = [
            {"_id": f"d{i}", "title": rng.choice(WORDS), "text": " ".join(rng.choice(WORDS, 15))} for i in range(40)
        ]
        queries = [{"_id": f"q{i}", "text": " ".join(rng.choice(WORDS, 5))} for i in range(12)]
        (source / "qrels").mkdir()
        for file, table in (("corpus", corpus), ("queries", queries)):
            (source / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
        (source / "qrels/test.tsv").write_text("".join(f"q{i}\td{3 * i}\t1\nq{i}\td{i + 1}\t2\n" for i in range(12)))
        make_task(
            {"id": name, "source": {"kind": "folder", "path": str(source)}, "judged_only": name == "two"}, {}, out
        )
        found.append(out / "task.json")
    return found


def given(encoder, *tasks) -> dict:
    """The inputs of an evaluation."""
    return {"encoder": encoder, "tasks": [*tasks], "tokens": of_task(encoder, *tasks)}


def spec(names, **more):
    return {
        "tasks": {n: {} for n in names},
        "k": 100,
        "metrics": [],
        "storage": "float32",
        "tokens_per_batch": 64,
        "precision": "fp32",
        "checkpoint": "c",
        "recipe": "r",
        "step": None,
        **more,
    }


def test_the_stage_scores_each_task_and_repeats_itself(encoder, tasks, tmp_path):
    assert list(run(spec(["one", "two"]), given(encoder, *tasks), tmp_path)) == ["one", "two"]
    for name, path in zip(("one", "two"), tasks):
        result, table = (
            json.loads((tmp_path / f"{name}.json").read_text()),
            pd.read_parquet(tmp_path / f"{name}.parquet"),
        )
        assert (result["n_queries"], result["n_documents"]) == (
            12,
            len(pd.read_parquet(path.parent / "corpus.parquet")),
        )
        assert result["metrics"] == {metric: pytest.approx(table[metric].mean(), abs=1e-12) for metric in STANDARD}
        assert table["doc_ids"].str.len().eq(40 if name == "one" else 2).all()
        assert 0 < result["metrics"]["ndcg_at_10"] < 1
    again = tmp_path / "again"
    again.mkdir()
    list(run(spec(["two"]), given(encoder, tasks[1]), again))
    assert (again / "two.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    list(run(spec(["two"], tokens_per_batch=4096), given(encoder, tasks[1]), again))
    scores = [np.concatenate(pd.read_parquet(folder / "two.parquet")["scores"]) for folder in (tmp_path, again)]
    np.testing.assert_allclose(*scores, atol=1e-5)


def test_binary_measures_count_from_the_grade_that_the_study_sets(encoder, tasks, tmp_path):
    """Each query has two relevant documents, one of grade 1 and one of grade 2."""
    metrics = []
    for i, more in enumerate(({}, {"relevant": 1}, {"relevant": 2})):
        (out := tmp_path / str(i)).mkdir()
        list(run(spec(["two"], **more), given(encoder, tasks[1]), out))
        found = json.loads((out / "two.json").read_text())
        assert found["relevant"] == more.get("relevant", 1)
        metrics.append(found["metrics"])
    assert metrics[0] == metrics[1] and len({m["ndcg_at_10"] for m in metrics}) == 1
    assert [m["precision_at_10"] for m in metrics[1:]] == pytest.approx([0.2, 0.1])
    assert [m["recall_at_10"] for m in metrics[1:]] == [1, 1]
    with pytest.raises(
        UserError, match="^relevant is 3, but the judgments of the task 'two' reach 2, so its Recall, MRR"
    ):
        list(run(spec(["two"], relevant=3), given(encoder, tasks[1]), tmp_path))


def test_scores_come_from_the_encoders_own_lengths_and_prefixes(encoder, tasks, tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for path in encoder.parent.iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    facts = json.loads(encoder.read_text())
    scores = []
    for change in ({}, {"query_prefix": ""}, {"passage_length": 4}):
        change = prompted(changed, **facts["prompt"] | change)
        (changed / "encoder.json").write_text(json.dumps(facts | change))
        list(run(spec(["one"]), given(changed / "encoder.json", tasks[0]), tmp_path))
        scores.append(np.concatenate(pd.read_parquet(tmp_path / "one.parquet")["scores"]))
    assert not np.allclose(scores[0], scores[1]) and not np.allclose(scores[0], scores[2])


def test_changed_weights_are_refused(encoder, tasks, tmp_path):
    facts = json.loads(encoder.read_text())
    (tmp_path / "encoder.json").write_text(json.dumps(facts))
    for path in encoder.parent.glob("*"):
        if path.name != "encoder.json":
            (tmp_path / path.name).write_bytes(path.read_bytes() + b" ")
    with pytest.raises(UserError, match="is not the file that encoder.json lists"):
        list(run(spec(["one"]), {"encoder": tmp_path / "encoder.json", "tasks": tasks[:1]}, tmp_path))


@pytest.mark.parametrize(
    "change, says",
    [
        ({"prompt": {"query_prefix": "search: "}}, "texts become other tokens than in training"),
        ({"prompt": {"passage_length": 21}}, "texts become other tokens than in training"),
        ({"prompt": {"eos": "add"}}, "texts become other tokens than in training"),
        ({"prompt": {"eos": "sometimes"}}, "prompt.eos: input should be 'tokenizer', .*, found 'sometimes'; train"),
        ({"prompt": {"suffix": "</s>"}}, "prompt.suffix: extra inputs are not permitted"),
        ({"prompt_sha256": "0" * 64}, "texts become other tokens than in training"),
    ],
)
def test_an_edited_prompt_is_refused(encoder, tmp_path, change, says):
    for path in encoder.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "encoder.json").write_text(json.dumps(merge(json.loads(encoder.read_text()), change)))
    with pytest.raises(UserError, match=says) as error:
        load_encoder(tmp_path / "encoder.json", "fp32", 64)
    assert "\n" not in str(error.value)


def test_an_encoder_whose_vectors_are_not_of_length_1_is_refused(encoder, tmp_path):
    for path in encoder.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "encoder.json").write_text(json.dumps(json.loads(encoder.read_text()) | {"normalize": False}))
    with pytest.raises(UserError, match="compared by cosine"):
        load_encoder(tmp_path / "encoder.json", "fp32", 64)


def test_an_encoder_without_a_prompt_is_refused(encoder, tmp_path):
    for path in encoder.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads(encoder.read_text())
    del facts["prompt"]
    (tmp_path / "encoder.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="encoder.json: prompt is missing; train this encoder again"):
        load_encoder(tmp_path / "encoder.json", "fp32", 64)


def test_a_tokenizer_that_reads_text_otherwise_is_refused(encoder, tmp_path):
    """As with another version of its library: the files are the listed ones, the tokens are not."""
    for path in encoder.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Whitespace"}  # which parts words from punctuation
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    facts = json.loads(encoder.read_text())
    facts["files"]["tokenizer.json"] = hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    (tmp_path / "encoder.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="texts become other tokens than in training"):
        load_encoder(tmp_path / "encoder.json", "fp32", 64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint": "d"}, "is of the checkpoint 'c', but the spec says 'd'"),
        ({"recipe": "s"}, "is of the recipe 'r', but the spec says 's'"),
        ({"step": 2}, "is of the step 1, but the spec says 2"),
    ],
)
def test_an_encoder_of_another_name_than_the_spec_says_is_refused(encoder, tasks, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        list(run(spec(["one"], **change), given(encoder, tasks[0]), tmp_path))


def test_a_task_that_is_not_given_is_named(encoder, tasks, tmp_path):
    with pytest.raises(UserError, match="--tasks: no task.json of two, which the spec names; given: one"):
        list(run(spec(["one", "two"]), given(encoder, tasks[0]), tmp_path))


def test_a_wide_encoder_reads_fewer_tokens_at_once(encoder, monkeypatch):
    monkeypatch.setattr(layout, "WIDE", 4)  # it has 16
    assert load_encoder(encoder, "fp32", 64).tokens_per_batch == 16
