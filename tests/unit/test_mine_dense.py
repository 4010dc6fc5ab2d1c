"""Negatives mined by an encoder, from its files to negatives.parquet, and what no number of threads changes."""

import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from test_evaluate import WORDS, elsewhere, encoder  # noqa: F401 - pytest finds the fixtures by their names
from transformers import AutoModel, AutoTokenizer

from retscale.errors import UserError
from retscale.evaluate import search
from retscale.evaluate import vectors as evaluate_vectors
from retscale.evaluate.products import Products
from retscale.mine import dense, guide
from retscale.mine.config import MineConfig
from retscale.mine.rank import Ranked
from retscale.mine.run import mine, run

QUERIES, PASSAGES, NEGATIVES = 30, 200, 5
SPEC = {"negatives": NEGATIVES, "top": 50, "precision": "fp32", "tokens_per_batch": 64}
PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from retscale.mine.run import run
from retscale.model.encoder import Encoder
def embed(self, ids, what, replica=0):  # a model's own products round by the number of threads
    made = np.stack([np.random.default_rng(x).standard_normal(48, np.float32) for x in ids])
    return made / np.linalg.norm(made, axis=1, keepdims=True)
Encoder.embed = embed
specs, folder, encoder, out = json.loads(sys.argv[1]), *map(Path, sys.argv[2:])
for method, spec in specs.items():
    (out / method).mkdir(parents=True)
    run(spec, {"pairs": folder / "pairs.json", "encoder": encoder}, out / method)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pairs whose texts are random words of the encoder; some passages stand twice."""
    made = tmp_path_factory.mktemp("pairs")
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, random.integers(3, 25))) for _ in range(PASSAGES)]
    texts[100:110] = texts[:10]
    pairs = [(f"q{i:02d}", " ".join(random.choice(WORDS, 4)), f"p{i:03d}") for i in range(QUERIES)]
    pd.DataFrame(pairs, columns=["query_id", "query", "passage_id"]).to_parquet(made / "pairs.parquet")
    passages = {"passage_id": [f"p{i:03d}" for i in range(PASSAGES)], "text": texts}
    pd.DataFrame(passages).to_parquet(made / "passages.parquet")
    return made


def vectors(path, texts: list[str], prefix: str, length: int) -> np.ndarray:
    """By transformers alone, a text at a time: the mean of the last hidden states, of length 1."""
    model, tokenizer = AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    means = []
    for text in texts:
        ids = tokenizer(prefix + text, truncation=True, max_length=length, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            means.append(model(input_ids=ids).last_hidden_state[0].mean(0).double().numpy())
    means = np.array(means)
    return means / np.linalg.norm(means, axis=1, keepdims=True)


def test_the_stage_mines_what_lies_nearest_by_the_encoder(folder, encoder, tmp_path):
    spec = SPEC | {"method": "encoder", "encoder": str(encoder.parent)}
    facts = run(spec, {"pairs": folder / "pairs.json", "encoder": encoder}, tmp_path)
    assert facts == {
        "queries": QUERIES,
        "passages": PASSAGES,
        "negatives": NEGATIVES,
        "passed": 0,
        "short": 0,
        "missing": 0,
    }
    negatives = pd.read_parquet(tmp_path / "negatives.parquet").set_index("query_id")
    pairs, passages = (pd.read_parquet(folder / f"{name}.parquet") for name in ("pairs", "passages"))
    asked = vectors(encoder.parent, pairs["query"].tolist(), "query: ", 8)
    held = vectors(encoder.parent, passages["text"].tolist(), "", 20)
    for i, row in pairs.iterrows():
        scores = pd.Series(asked[i] @ held.T, passages["passage_id"])
        same = passages["passage_id"][passages["text"] == passages["text"][i]]  # the positive and its copy
        best = scores.drop(same).sort_values(ascending=False)[:NEGATIVES]
        mined = negatives.loc[row.query_id]
        np.testing.assert_allclose(mined["scores"], best, atol=1e-5)
        np.testing.assert_allclose(scores[list(mined["negatives"])], best, atol=1e-5)
        assert not set(mined["negatives"]) & set(same)


def test_mining_as_on_an_accelerator_searches_there_and_gives_the_same(folder, encoder, tmp_path, monkeypatch):
    spec, rankings, on = SPEC | {"method": "encoder", "encoder": str(encoder.parent), "margin": 0.95}, {}, []
    for place in ("cpu", "accelerator"):
        if place == "accelerator":
            monkeypatch.setattr(
                search, "products_on", lambda device: on.append(device) or Products(torch.device("cpu"))
            )
            monkeypatch.setattr(dense, "shards_ahead", lambda device, devices: 2)
            monkeypatch.setattr(evaluate_vectors, "VECTORS_A_SHARD", 30)
        (tmp_path / place).mkdir()
        run(spec, {"pairs": folder / "pairs.json", "encoder": encoder}, tmp_path / place)
        rankings[place] = pd.read_parquet(tmp_path / place / "negatives.parquet")
    assert len(on) > 6  # one for the search, and one for the positives of each shard
    for on_cpu, on_accelerator in zip(rankings["cpu"].itertuples(), rankings["accelerator"].itertuples(), strict=True):
        assert on_cpu.negatives.tolist() == on_accelerator.negatives.tolist()
        np.testing.assert_allclose(on_cpu.scores, on_accelerator.scores, atol=1e-6)


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_number_of_threads(folder, encoder, tmp_path):
    """Given the vectors."""
    spec = SPEC | {"choose": "random", "margin": 0.95, "stopwords": "none"}
    methods = {"bm25": {}, "encoder": {"encoder": str(encoder.parent)}}
    specs = {method: spec | {"method": method} | other for method, other in methods.items()}
    for threads in ("1", "3"):
        arguments = [json.dumps(specs), str(folder), str(encoder), str(tmp_path / threads)]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=environment, check=True, capture_output=True)
    for method in methods:
        one, three = (tmp_path / threads / method / "negatives.parquet" for threads in ("1", "3"))
        assert one.read_bytes() == three.read_bytes()


def test_the_margin_acts_within_the_top():
    """Ranks 0 to 3 score too high; of the others only 4 to 6 lie within the first seven."""
    ranked, scores = np.arange(1, 11), np.linspace(1, 0.1, 10, dtype=np.float32)
    pairs = pd.DataFrame([(f"q{i}", "q", "p00") for i in range(60)], columns=["query_id", "query", "passage_id"])
    passages = pd.DataFrame({"passage_id": [f"p{i:02d}" for i in range(11)], "text": [f"t{i}" for i in range(11)]})

    def rank(passages, queries, positives, excluded, config):
        for _ in queries:
            yield Ranked(ranked[: config.top], scores[: config.top], scores[: config.top], 0.8)

    config = MineConfig(top=7, negatives=2, margin=0.8, choose="random")
    table, facts = mine(pairs, passages, config, rank)
    assert {id for row in table.to_pylist() for id in row["negatives"]} == {"p05", "p06", "p07"}
    assert facts["short"] == 0
    table, facts = mine(pairs, passages, MineConfig(top=5, negatives=2, margin=0.8), rank)
    assert facts["short"] == facts["missing"] == 60 and facts["passed"] == 4 * 60
    assert all(row["negatives"] == ["p05"] for row in table.to_pylist())


@pytest.mark.parametrize("method", ["bm25", "given"])
def test_a_guide_passes_over_what_it_scores_like_a_positive(folder, encoder, tmp_path, monkeypatch, method):
    """Against scores pair by pair, on the encoder's device; the order and the scores stay those of the ranking."""
    on = []
    monkeypatch.setattr(guide, "device", lambda: "there")
    monkeypatch.setattr(search, "products_on", lambda device: on.append(device) or Products(torch.device("cpu")))
    monkeypatch.setattr(guide, "cut", lambda count: [slice(i, min(i + 7, count)) for i in range(0, count, 7)])
    pairs, passages = (pd.read_parquet(folder / f"{name}.parquet") for name in ("pairs", "passages"))
    given = [(query_id, f"p{i:03d}") for query_id in pairs["query_id"] for i in range(20, 70)]
    for name in ("pairs", "passages"):
        (tmp_path / f"{name}.parquet").symlink_to(folder / f"{name}.parquet")
    pd.DataFrame(given, columns=["query_id", "passage_id"]).to_parquet(tmp_path / "given.parquet")
    asked = vectors(encoder.parent, pairs["query"].tolist(), "query: ", 8)
    held = vectors(encoder.parent, passages["text"].tolist(), "", 20)
    scores = pd.DataFrame(asked @ held.T, pairs["query_id"], passages["passage_id"])
    made = {}
    for margin in (None, 0.9):
        out = tmp_path / str(margin)
        out.mkdir()
        spec = SPEC | {"method": method, "negatives": 50, "stopwords": "none", "margin": margin}
        spec |= {"guide": str(encoder.parent)} if margin else {}
        facts = run(spec, {"pairs": tmp_path / "pairs.json", "guide": encoder}, out)
        made[margin] = pd.read_parquet(out / "negatives.parquet").set_index("query_id")
    assert on and set(on) == {"there"}
    passed = 0
    for query_id, positive in zip(pairs["query_id"], pairs["passage_id"]):
        ranked = made[None].loc[query_id]
        limit = min(share * scores.loc[query_id, positive] for share in (0.9, 1))
        kept = [scores.loc[query_id, id] <= limit for id in ranked["negatives"]]
        assert made[0.9].loc[query_id, "negatives"].tolist() == ranked["negatives"][kept].tolist()
        assert made[0.9].loc[query_id, "scores"].tolist() == ranked["scores"][kept].tolist()
        passed += len(kept) - sum(kept)
    assert 0 < passed == facts["passed"]


def test_a_guide_must_be_there(folder, tmp_path):
    with pytest.raises(UserError, match="mine: this spec needs --guide, the encoder.json of an encoder"):
        run(SPEC | {"guide": "x", "margin": 0.9}, {"pairs": folder / "pairs.json"}, tmp_path)
