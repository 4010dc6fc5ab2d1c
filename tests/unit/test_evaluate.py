"""Metrics against pytrec_eval, exact search against a full sort, and the stage on a tiny encoder."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
import pytrec_eval
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModel, MptConfig, PreTrainedTokenizerFast, set_seed

from retscale.errors import UserError
from retscale.evaluate import metrics
from retscale.evaluate.run import METRICS, load_encoder, per_query, run
from retscale.evaluate.search import _keys, rank_candidates, top_k
from retscale.evaluate.task_tables import Task
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint
from retscale.study.catalog import merge
from retscale.task.run import run as make_task

WORDS = [f"w{i}" for i in range(60)]


def random_task(rng, n_queries: int = 30, n_documents: int = 200, judged_only: bool = False) -> Task:
    """Judgements of -1 to 3 on a few documents a query; some queries have no relevant document."""
    doc_ids = np.array([f"{'abC'[i % 3]}{i}" for i in rng.permutation(n_documents)], object)
    judged = [
        (q, d, int(rng.integers(-1, 4)))
        for q in range(n_queries)
        for d in rng.choice(n_documents, rng.integers(1, 30), False)
    ]
    queries, documents, scores = (np.array(column) for column in zip(*judged))
    facts = {"id": "t", "judged_only": judged_only, "ignore_identical_ids": False}
    query_ids = np.array([f"q{i}" for i in range(n_queries)], object)
    return Task(facts, query_ids, [""] * n_queries, doc_ids, [""] * n_documents, queries, documents, scores)


def vectors(rng, n: int, d: int = 6) -> np.ndarray:
    """Small integers: inner products are exact in any order of summation, and often tie."""
    return rng.integers(-2, 3, (n, d)).astype(np.float32)


def trec_eval(task: Task, run: dict) -> pd.DataFrame:
    qrels = {}
    for q, d, s in zip(task.judged_queries, task.judged_documents, task.scores):
        qrels.setdefault(task.query_ids[q], {})[task.doc_ids[d]] = int(s)
    wanted = {"ndcg_cut.10", "recall.10,100", "recip_rank"}
    return pd.DataFrame(pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)).T.loc[task.query_ids]


def whole_run(task: Task, queries: np.ndarray, documents: np.ndarray) -> dict:
    scores = queries @ documents.T
    return {id: {d: float(s) for d, s in zip(task.doc_ids, row)} for id, row in zip(task.query_ids, scores)}


def check_against_trec_eval(task: Task, found: pd.DataFrame, run: dict) -> None:
    expected = trec_eval(task, run)
    for ours, theirs in (("ndcg_at_10", "ndcg_cut_10"), ("recall_at_10", "recall_10"), ("recall_at_100", "recall_100")):
        np.testing.assert_allclose(found[ours], expected[theirs], atol=1e-12, err_msg=ours)
    reciprocal = expected["recip_rank"].to_numpy()
    np.testing.assert_allclose(found["mrr_at_10"], np.where(reciprocal >= 0.1, reciprocal, 0), atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_pytrec_eval_with_ties_and_unjudged_documents(seed):
    rng = np.random.default_rng(seed)
    task = random_task(rng)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    rows, scores = top_k(queries, documents, task.doc_ids, 100, exclude=np.full(30, -1))
    assert (scores[:, 1:] == scores[:, :-1]).any()
    check_against_trec_eval(task, per_query(task, rows, scores), whole_run(task, queries, documents))


def test_candidates_only_equal_pytrec_eval_on_the_candidates():
    rng = np.random.default_rng(7)
    task = random_task(rng, judged_only=True)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    pairs = task.judged_queries, task.judged_documents
    rows, scores = rank_candidates(queries, documents, task.doc_ids, pairs, 100)
    found = per_query(task, rows, scores)
    judged = pd.DataFrame({"q": task.query_ids[pairs[0]], "d": task.doc_ids[pairs[1]]}).groupby("q")["d"].agg(set)
    whole = whole_run(task, queries, documents)
    check_against_trec_eval(task, found, {q: {d: s for d, s in whole[q].items() if d in judged[q]} for q in whole})
    assert all(set(row.doc_ids) == judged[row.query_id] for row in found.itertuples())


def by_sorting(task: Task, queries: np.ndarray, documents: np.ndarray, k: int) -> list[list[str]]:
    scores = queries @ documents.T
    ranked = [sorted(zip(row.tolist(), task.doc_ids), reverse=True)[:k] for row in scores]
    return [[id for _, id in row] for row in ranked]


@pytest.mark.parametrize("k", [1, 17, 200, 500])
def test_search_equals_a_full_sort_by_score_then_id_descending(k):
    rng = np.random.default_rng(k)
    task = random_task(rng)
    queries, documents = vectors(rng, 30), vectors(rng, 200)
    expected = by_sorting(task, queries, documents, k)
    for sizes in ((512, 16384), (7, 13), (1, 200), (30, 1)):
        rows, scores = top_k(
            queries,
            documents,
            task.doc_ids,
            k,
            exclude=np.full(30, -1),
            queries_a_block=sizes[0],
            documents_a_block=sizes[1],
        )
        assert [task.doc_ids[row].tolist() for row in rows] == expected
        np.testing.assert_array_equal(scores, np.take_along_axis(queries @ documents.T, rows, 1))
    order = rng.permutation(200)
    rows, _ = top_k(queries, documents[order], task.doc_ids[order], k, exclude=np.full(30, -1))
    assert [task.doc_ids[order][row].tolist() for row in rows] == expected


def test_keys_order_as_scores_do_and_know_one_zero():
    scores = torch.tensor([-3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, 2.0000002])
    keys = _keys(scores, torch.zeros(len(scores), dtype=torch.int64))
    assert keys[2] == keys[3] and (keys.diff() >= 0).all() and (keys.diff() == 0).sum() == 1
    first, second = _keys(torch.tensor([1.0, 1.0]), torch.tensor([4, 5]))
    assert first > second


def test_an_excluded_document_is_never_retrieved():
    rng = np.random.default_rng(3)
    documents, ids = vectors(rng, 20), np.array([f"d{i:02d}" for i in range(20)], object)
    exclude = np.array([4, -1, 0, 19])
    rows, scores = top_k(documents[[4, 1, 0, 19]], documents, ids, 20, exclude=exclude, documents_a_block=7)
    for row, score, own in zip(rows, scores, exclude):
        kept = set(range(20)) - {own}
        assert set(row.tolist()) - {-1} == kept
        assert np.isneginf(score).sum() == 20 - len(kept)
    assert (rows[[0, 2, 3], -1] == -1).all()


def test_ideal_gains_ignore_what_is_not_relevant():
    ideal = metrics.ideal_gains(3, np.array([0, 0, 0, 2]), np.array([1, 3, -1, 2]), 2)
    assert ideal.tolist() == [[3, 1], [0, 0], [2, 0]]


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
    facts = {
        "pooling": "mean",
        "normalize": True,
        **prompted(folder, query_length=8, passage_length=20, query_prefix="query: "),
    }
    (folder / "encoder.json").write_text(
        json.dumps({**facts, "files": files, "weights_sha256": files["model.safetensors"]})
    )
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


def spec(names, **more):
    return {
        "tasks": {n: {} for n in names},
        "k": 100,
        "tokens_per_batch": 64,
        "precision": "fp32",
        "checkpoint": "c",
        "recipe": "r",
        **more,
    }


def test_the_stage_scores_each_task_and_repeats_itself(encoder, tasks, tmp_path):
    assert list(run(spec(["one", "two"]), {"encoder": encoder, "tasks": tasks}, tmp_path)) == ["one", "two"]
    for name, path in zip(("one", "two"), tasks):
        result, table = (
            json.loads((tmp_path / f"{name}.json").read_text()),
            pd.read_parquet(tmp_path / f"{name}.parquet"),
        )
        assert (result["n_queries"], result["n_documents"]) == (
            12,
            len(pd.read_parquet(path.parent / "corpus.parquet")),
        )
        assert result["metrics"] == {metric: pytest.approx(table[metric].mean(), abs=1e-12) for metric in METRICS}
        assert table["doc_ids"].str.len().eq(40 if name == "one" else 2).all()
        assert 0 < result["metrics"]["ndcg_at_10"] < 1
    again = tmp_path / "again"
    again.mkdir()
    list(run(spec(["two"]), {"encoder": encoder, "tasks": tasks[1:]}, again))
    assert (again / "two.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    list(run(spec(["two"], tokens_per_batch=4096), {"encoder": encoder, "tasks": tasks[1:]}, again))
    scores = [np.concatenate(pd.read_parquet(folder / "two.parquet")["scores"]) for folder in (tmp_path, again)]
    np.testing.assert_allclose(*scores, atol=1e-5)


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
        list(run(spec(["one"]), {"encoder": changed / "encoder.json", "tasks": tasks[:1]}, tmp_path))
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
        ({"prompt": {"eos": "sometimes"}}, "holds no valid prompt"),
        ({"prompt": {"suffix": "</s>"}}, "holds no valid prompt"),
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


def test_an_encoder_without_a_prompt_is_refused(encoder, tmp_path):
    for path in encoder.parent.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = json.loads(encoder.read_text())
    del facts["prompt"]
    (tmp_path / "encoder.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="holds no valid prompt"):
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
