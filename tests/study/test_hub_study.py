"""A study whose model, training data and task all come from a hub: on loopback, through Snakemake."""

import io
import json

import pandas as pd
from conftest import Clone

STUDY = """
name: fetched
title: t
description: d
precision: fp32
checkpoints:
  - {id: tiny, family: llama, size: tiny, tokens: 1000, tokenizer: {pad: eos}, source: {kind: hub, repo: some/model, revision: step1}}
pairs: {use: msmarco, max_pairs: 40}
mine: {method: given, negatives: 3, top: 50, choose: random}
recipes: [{use: own-mini, n_negatives: 3, batch_queries: 8}]
tasks: [scifact]
"""
WORDS = [f"word{i}" for i in range(90)]
LAYOUT = """---
configs:
- {config_name: default, data_files: [{split: test, path: qrels/test.jsonl}]}
- {config_name: corpus, data_files: [{split: corpus, path: corpus.jsonl}]}
- {config_name: queries, data_files: [{split: queries, path: queries.jsonl}]}
---
"""


def text(*numbers: int) -> str:
    return " ".join(WORDS[n % len(WORDS)] for n in numbers)


def model(folder) -> dict[str, bytes]:
    """The files of a Llama of random weights and its tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(["<eos>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=len(vocabulary),
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def triplets() -> bytes:
    rows = [
        {"query": text(i, i + 1), "positive": text(i, i + 1, i + 2)}
        | {f"negative_{n}": text(i + n, i + n + 5, i + n + 9) for n in range(1, 51)}
        for i in range(60)
    ]
    out = io.BytesIO()
    pd.DataFrame(rows).to_parquet(out, index=False)
    return out.getvalue()


def jsonl(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def beir() -> dict[str, bytes]:
    return {
        "README.md": LAYOUT.encode(),
        "corpus.jsonl": jsonl([{"_id": f"d{i}", "title": "", "text": text(i, i + 1, i + 3)} for i in range(30)]),
        "queries.jsonl": jsonl([{"_id": f"q{i}", "text": text(i, i + 1)} for i in range(10)]),
        "qrels/test.jsonl": jsonl([{"query-id": f"q{i}", "corpus-id": f"d{i}", "score": 1} for i in range(10)]),
    }


def test_from_the_hub_to_scores(loopback, clone, tmp_path):
    from retscale.study import catalog

    made = loopback.publish("some/model", model(tmp_path / "model"), branch="step1")
    data = loopback.publish(
        "sentence-transformers/msmarco-bm25", {"triplet-50/train.parquet": triplets()}, kind="dataset"
    )
    pinned = catalog.entries("task")["scifact"]["source"]["revision"]
    loopback.publish("mteb/scifact", beir(), kind="dataset", commit=pinned)
    clone = Clone(clone.folder, cold=True)  # HF_ENDPOINT is read as the libraries are imported
    (clone.folder / "study.yaml").write_text(STUDY)
    target = "results/fetched/evaluate/tiny/own-mini/scifact.json"
    loopback.fail("/files/", cut=500)
    loopback.fail("/api/", status=503)
    clone.snakemake(target, study="study.yaml")
    results = clone.folder / "results/fetched"
    assert json.loads((results / "checkpoint/tiny/card.json").read_text())["revision"] == made
    assert json.loads((results / "pairs/msmarco/pairs.json").read_text())["revision"] == data
    scores = json.loads((clone.folder / target).read_text())
    assert (scores["n_queries"], scores["n_documents"]) == (10, 30) and 0 < scores["metrics"]["ndcg_at_10"] <= 1
