"""A tiny random decoder and pairs whose query and passage share a topic: what the tests of fine-tuning train on."""

import hashlib
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

import artifacts
import numpy as np
import pandas as pd
import tokenized
import torch
import warm
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import MptConfig, MptModel, PreTrainedTokenizerFast

from retscale.errors import UserError
from retscale.finetune import state
from retscale.finetune.config import Spec
from retscale.finetune.data import Examples, examples
from retscale.finetune.log import Log
from retscale.finetune.run import data_sets, run
from retscale.model.load import load_tokenizer
from retscale.model.tokenize import fingerprint
from retscale.provenance import record
from retscale.study.catalog import merge

TOPICS = [[f"t{topic}w{i}" for i in range(8)] for topic in range(12)]
RECIPE = {
    "n_negatives": 3,
    "temperature": 0.05,
    "prompt": {"query_length": 8, "passage_length": 12},
    "batch_queries": 8,
    "lr": 0.01,
    "log_every": 1,
}


def make(folder: Path, model=None, passages: int = 96, id: str = "topics") -> Path:
    """card.json, model/, pairs, passages and negatives in `folder`; `model(vocabulary size)` replaces the decoder."""
    words = ["<eos>", "<unk>", *(word for topic in TOPICS for word in topic)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>")
    fast.save_pretrained(folder / "model")
    torch.manual_seed(0)
    config = MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=len(words), max_seq_len=32)
    (model(len(words)) if model else MptModel(config)).save_pretrained(folder / "model")
    (folder / "card.json").write_text(json.dumps(artifacts.card(id="tiny")))
    random = np.random.default_rng(0)

    def text(topic: int, low: int, high: int) -> str:
        return " ".join(random.choice(TOPICS[topic], random.integers(low, high)))

    texts = {f"p{i:03d}": text(i % 12, 3, 20) for i in range(passages)}
    pairs = [(f"q{i:03d}", text(i % 12, 2, 6), f"p{i:03d}") for i in range(passages)]
    negatives = [
        {
            "query_id": f"q{i:03d}",
            "negatives": [f"p{j:03d}" for j in random.permutation(passages) if j % 12 != i % 12][:4],
            "scores": [1.0] * 4,
        }
        for i in range(passages)
    ]
    pd.DataFrame(pairs, columns=["query_id", "query", "passage_id"]).to_parquet(folder / "pairs.parquet")
    pd.DataFrame(texts.items(), columns=["passage_id", "text"]).to_parquet(folder / "passages.parquet")
    pd.DataFrame(negatives).to_parquet(folder / "negatives.parquet")
    describe(folder, id)
    return folder


def describe(folder: Path, id: str = "topics") -> None:
    """Write pairs.json for the tables as they are."""
    names = ("pairs.parquet", "passages.parquet")
    files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    (folder / "pairs.json").write_text(json.dumps(artifacts.pairs(id=id, files=files)))


def tokens(folder: Path, **recipe) -> list[Path]:
    """Of the data set in `folder`, under the prompt of the recipe."""
    prompt = merge(RECIPE, recipe)["prompt"]
    made_from = json.dumps(prompt, sort_keys=True).encode() + (folder / "pairs.json").read_bytes()
    out = folder / f"tokens-{hashlib.sha256(made_from).hexdigest()}"
    return tokenized.tokens(out, prompt, card=folder / "card.json", pairs=[folder / "pairs.json"])


def inputs(folder: Path, **recipe) -> dict:
    tables = {"pairs": [folder / "pairs.json"], "negatives": [folder / "negatives.parquet"]}
    return {"card": folder / "card.json", **tables, "tokens": tokens(folder, **recipe)}


def recorded(folder: Path) -> Path:
    """The study in `folder`, with the records that the command asks for."""
    (tokens_card,) = tokens(folder)
    for primary, files in (
        (folder / "card.json", ["card.json", *(f"model/{path.name}" for path in (folder / "model").iterdir())]),
        (folder / "pairs.json", ["pairs.json", "pairs.parquet", "passages.parquet"]),
        (folder / "negatives.parquet", ["negatives.parquet"]),
        (tokens_card, [path.name for path in tokens_card.parent.iterdir() if path.is_file()]),
    ):
        content = record.make("test", {}, "", [], primary.parent, files, None, time.time())
        record.path_of(primary).write_text(json.dumps(content))
    return folder


def spec(**recipe) -> dict:
    recipe = {"id": "r", **merge(RECIPE, recipe)}
    return {"recipe": recipe, "pairs": {"topics": None}, "precision": "fp32", "seed": 3}


def tuned(folder: Path, out: Path, **recipe):
    """An encoder made of the study in `folder`: model, encoder.json, log, notes."""
    kept = out.with_name(out.name + ".state")
    out.mkdir(parents=True)
    kept.mkdir()
    notes = run(spec(**recipe), inputs(folder, **recipe), out, kept)
    return MptModel.from_pretrained(out), json.loads((out / "encoder.json").read_text()), log(out), notes


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def weights(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def loaded(folder: Path, times: int = 1, **recipe) -> Examples:
    """The examples of the data set in `folder`, so many times."""
    job = Spec.model_validate({**spec(**recipe), "pairs": {"topics": None}})
    sha256 = fingerprint(load_tokenizer(folder / "model"), job.recipe.prompt)
    return examples(data_sets(job, inputs(folder, **recipe), sha256) * times, job.recipe, 3)


HELD = []


def port() -> str:
    """A port on which other processes may listen if told so, and which this machine gives to none that asks for any."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    HELD.append(held)  # until the tests end: a training opens it seconds after its start
    return str(held.getsockname()[1])


def start(
    job: dict,
    given: dict,
    out: Path,
    kept: Path,
    processes: int = 1,
    every: float = 1e9,
    term: int | None = None,
    **environment: str,
) -> list[warm.Process]:
    """The processes of one training, as a launcher starts them.

    every: seconds between two states. term: the step during which the last process gets SIGTERM.
    """
    for folder in (out, kept):
        folder.mkdir(parents=True, exist_ok=True)
    world = {"ACCELERATE_USE_CPU": "1", **environment}
    if processes > 1:
        world |= {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port()}
    return [
        warm.Process(
            _train,
            job,
            given,
            out,
            kept,
            every,
            term if rank == processes - 1 else None,
            environment={
                **os.environ,
                **world,
                **({"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}),
            },
        )
        for rank in range(processes)
    ]


def _train(job: dict, given: dict, out: Path, kept: Path, every: float, term: int | None) -> None:
    """A process's own signal comes during the step `term`; one from outside, whenever the machine lets it."""
    state.SAVE_EVERY_S, state.SAVE_SHARE = every, 1e9
    logged = Log.step

    def step(self, number, *rest):
        logged(self, number, *rest)
        if number == term:
            signal.raise_signal(signal.SIGTERM)

    Log.step = step
    try:
        run(job, given, out, kept)
    except UserError as error:
        sys.exit(str(error))


def finished(started: list[warm.Process]) -> None:
    """Wait for all, which must end well."""
    errors = [process.communicate(timeout=180)[1] for process in started]
    assert [process.returncode for process in started] == [0] * len(started), errors
