"""A study of which everything lies in files of the user's: what the tests of such files run and plan."""

import json
from pathlib import Path

TOPICS = [[f"t{topic}w{i}" for i in range(8)] for topic in range(12)]


def words(number: int, count: int) -> str:
    return " ".join(TOPICS[number % 12][(number + 3 * i) % 8] for i in range(count))


def lines(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def data(named: Path, below: Path = Path()) -> dict[str, list[dict]]:
    """Training pairs, a collection, a retrieval task and in-context items, and the entries that name them.

    They lie in the folder `named`, which is absolute or relative to `below`.
    """
    folder = below / named
    pairs = [{"query": words(i, 3) + f" q{i}", "positive": words(i, 9) + f" p{i}"} for i in range(48)]
    lines(folder / "pairs.jsonl", pairs)
    lines(folder / "collection.jsonl", [{"text": words(i, 7) + f" c{i}"} for i in range(48)])
    lines(folder / "task/corpus.jsonl", [{"_id": f"d{i}", "text": words(i, 8)} for i in range(24)])
    lines(folder / "task/queries.jsonl", [{"_id": f"q{i}", "text": words(i, 4)} for i in range(12)])
    (folder / "task/qrels").mkdir()
    (folder / "task/qrels/test.tsv").write_text("".join(f"q{i}\td{i}\t1\n" for i in range(12)))
    lines(
        folder / "items/own.jsonl",
        [{"query": words(i, 4), "choices": [words(i, 3), words(i + 1, 3)], "gold": 0} for i in range(8)],
    )
    item = {"type": "multiple_choice", "source": {"kind": "jsonl", "folder": f"{named}/items", "file": "own.jsonl"}}
    collection = {"kind": "file", "path": f"{named}/collection.jsonl"}
    source = {"kind": "file", "path": f"{named}/pairs.jsonl"}
    return {
        "pairs": [{"id": "mine", "source": source, "collection": collection}],
        "tasks": [{"id": "own", "source": {"kind": "folder", "path": f"{named}/task"}}],
        "icl": [{"id": "items", **item}],
    }


def model(folder: Path, seed: int = 0) -> dict:
    """A random decoder in `folder`, and the entry that names it."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import MptConfig, MptForCausalLM, PreTrainedTokenizerFast

    names = ["<eos>", "<unk>", *(word for topic in TOPICS for word in topic)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>", pad_token="<eos>")
    fast.save_pretrained(folder)
    torch.manual_seed(seed)
    config = MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=len(names), max_seq_len=64)
    MptForCausalLM(config).save_pretrained(folder)
    return {"id": "model", "family": "f", "size": "s", "tokens": 1000, "source": {"kind": "local", "path": f"{folder}"}}


def study(path: Path, checkpoints: list, **keys) -> None:
    """Write a study of these checkpoints to `path`, with further keys."""
    prompt = {"query_length": 8, "passage_length": 12}
    recipe = {"id": "r", "n_negatives": 2, "batch_queries": 8, "prompt": prompt}
    written = {
        "name": "own",
        "title": "t",
        "description": "d",
        "precision": "fp32",
        "checkpoints": checkpoints,
        "mine": {"negatives": 2, "top": 20},
        "recipes": [recipe],
        **keys,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(written, indent=1), encoding="utf-8")
