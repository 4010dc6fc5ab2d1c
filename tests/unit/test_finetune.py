import json
import math
import os
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import MptConfig, MptModel, PreTrainedTokenizerFast

from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.finetune.data import Examples, examples, groups, order
from retscale.finetune.embed import embed
from retscale.finetune.loss import info_nce, own_mask
from retscale.finetune.run import run, split
from retscale.finetune.schedule import learning_rate
from retscale.model.attention import use_fused
from retscale.model.load import load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint, pad
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


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A tiny random decoder, and pairs whose query and passage share a topic."""
    folder = tmp_path_factory.mktemp("study")
    words = ["<eos>", "<unk>", *(word for topic in TOPICS for word in topic)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", unk_token="<unk>").save_pretrained(
        folder / "model"
    )
    torch.manual_seed(0)
    MptModel(MptConfig(d_model=16, n_heads=2, n_layers=1, vocab_size=len(words), max_seq_len=32)).save_pretrained(
        folder / "model"
    )
    (folder / "card.json").write_text(json.dumps({"id": "tiny", "model": "model"}))
    random = np.random.default_rng(0)
    text = lambda topic, low, high: " ".join(random.choice(TOPICS[topic], random.integers(low, high)))  # noqa: E731
    passages = {f"p{i:03d}": text(i % 12, 3, 20) for i in range(96)}
    pairs = [(f"q{i:03d}", text(i % 12, 2, 6), f"p{i:03d}") for i in range(96)]
    negatives = [
        {
            "query_id": f"q{i:03d}",
            "negatives": [f"p{j:03d}" for j in random.permutation(96) if j % 12 != i % 12][:4],
            "scores": [1.0] * 4,
        }
        for i in range(96)
    ]
    pd.DataFrame(pairs, columns=["query_id", "query", "passage_id"]).to_parquet(folder / "pairs.parquet")
    pd.DataFrame(passages.items(), columns=["passage_id", "text"]).to_parquet(folder / "passages.parquet")
    pd.DataFrame(negatives).to_parquet(folder / "negatives.parquet")
    return folder


def inputs(folder):
    return {"card": folder / "card.json", "pairs": [folder / "pairs.json"], "negatives": [folder / "negatives.parquet"]}


def spec(**recipe):
    recipe = {"id": "r", **merge(RECIPE, recipe)}
    return {"recipe": recipe, "pairs": {"topics": None}, "precision": "fp32", "seed": 3}


def tuned(study, out, **recipe):
    out.mkdir()
    notes = run(spec(**recipe), inputs(study), out)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return MptModel.from_pretrained(out), json.loads((out / "encoder.json").read_text()), log, notes


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_the_same_spec_gives_the_same_bytes(study, tmp_path):
    one = tuned(study, tmp_path / "one")[1]
    two = tuned(study, tmp_path / "two")[1]
    assert one == two and "log.jsonl" not in one["files"]  # the log has times
    out = tmp_path / "three"
    out.mkdir()
    run({**spec(), "seed": 4}, inputs(study), out)
    assert json.loads((out / "encoder.json").read_text())["weights_sha256"] != one["weights_sha256"]


def test_the_loss_falls_and_the_encoder_says_how_to_use_it(study, tmp_path):
    prefix = {"query_prefix": "t0w0 "}
    model, encoder, log, notes = tuned(study, tmp_path / "out", epochs=4, pooling="weighted_mean", prompt=prefix)
    losses = [line["loss"] for line in log]
    assert len(log) == 48 and np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert log[-1]["lr"] == pytest.approx(0.01 * 0.02) and all(0 <= line["padding"] < 1 for line in log)
    assert encoder["pooling"] == "weighted_mean" and encoder["normalize"] is True
    assert encoder["prompt"] == Prompt(query_length=8, passage_length=12, **prefix).model_dump()
    assert encoder["prompt_sha256"] == fingerprint(load_tokenizer(tmp_path / "out"), Prompt(**encoder["prompt"]))
    assert (encoder["steps"], encoder["pairs"]) == (48, 96)
    assert notes["passages_at_length"] > 0 and notes["queries_at_length"] == 0 and notes["dtype"] == "float32"
    assert weights(model).dtype == torch.float32


def test_own_negatives_do_not_depend_on_the_split(study, tmp_path):
    whole, _, whole_log, _ = tuned(study, tmp_path / "whole", lr=1e-3)
    split, _, split_log, _ = tuned(study, tmp_path / "split", lr=1e-3, microbatch=2)
    for key in ("loss", "grad_norm"):  # the norm, because clipping and Adam hide a wrong scale of the gradient
        assert [x[key] for x in split_log] == pytest.approx([x[key] for x in whole_log], rel=1e-3)
    torch.testing.assert_close(weights(split), weights(whole), rtol=0, atol=1e-4)


def test_microbatch_negatives_do(study, tmp_path):
    whole = tuned(study, tmp_path / "whole", negatives="microbatch")[2]
    split = tuned(study, tmp_path / "split", negatives="microbatch", microbatch=2)[2]
    own = tuned(study, tmp_path / "own")[2]
    assert whole[0]["loss"] > split[0]["loss"] + 0.1 > own[0]["loss"] + 0.2  # 32, 8 and 4 passages to choose from


def test_microbatch_and_global_are_one_on_one_process(study, tmp_path):
    one = tuned(study, tmp_path / "one", negatives="microbatch")[1]
    two = tuned(study, tmp_path / "two", negatives="global")[1]
    assert one["weights_sha256"] == two["weights_sha256"]


@pytest.mark.parametrize("negatives", ["own", "global"])
def test_two_processes_train_as_one(study, tmp_path, negatives):
    job = spec(negatives=negatives, lr=1e-3, max_pairs=48)
    whole, _, whole_log, _ = tuned(study, tmp_path / "whole", **job["recipe"])
    out = tmp_path / "two"
    out.mkdir()
    program = (
        "import sys, json; from pathlib import Path; from retscale.finetune.run import run; "
        "spec, inputs, out = map(json.loads, sys.argv[1:]); "
        "run(spec, inputs, Path(out))"
    )
    command = [sys.executable, "-c", program, *(json.dumps(part, default=str) for part in (job, inputs(study), out))]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # What `accelerate launch` sets for each of its processes.
    world = {
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "ACCELERATE_USE_CPU": "1",
        "OMP_NUM_THREADS": "1",
    }
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **world, "RANK": rank, "LOCAL_RANK": rank}, stderr=subprocess.PIPE, text=True
        )
        for rank in ("0", "1")
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [x["loss"] for x in log] == pytest.approx([x["loss"] for x in whole_log], rel=1e-4)
    torch.testing.assert_close(weights(MptModel.from_pretrained(out)), weights(whole), rtol=0, atol=1e-4)


def loaded(study, **recipe):
    recipe = Recipe.model_validate(merge(RECIPE, recipe))
    return examples(study, study / "negatives.parquet", recipe, load_tokenizer(study / "model"))


def test_gradients_do_not_depend_on_buckets_or_order(study):
    data, model = loaded(study), MptModel.from_pretrained(study / "model").double()
    gradients = []
    for budget, rows in ((16, np.arange(8)), (10_000, np.arange(8)), (64, np.arange(8)[::-1].copy())):
        model.zero_grad()
        # pooling is in float32 by design, so the comparison is at its precision
        queries, passages, _, _ = embed(model, data, rows, 0, "mean", budget, torch.device("cpu"))
        info_nce(
            queries,
            passages,
            own_mask(torch.from_numpy(data.group[rows]), torch.from_numpy(data.positives[rows])),
            0.05,
        ).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    scale = gradients[0].abs().max()
    for other in gradients[1:]:
        assert (other - gradients[0]).abs().max() / scale < 1e-5


def test_embed_puts_every_text_in_its_place(study):
    data, model = loaded(study), MptModel.from_pretrained(study / "model")
    rows = np.array([7, 2, 2, 40])
    with torch.no_grad():
        queries, passages, real, padding = embed(model, data, rows, 0, "mean", 40, torch.device("cpu"))
        alone = lambda ids: torch.nn.functional.normalize(  # noqa: E731
            model(torch.from_numpy(ids.astype(np.int64))[None]).last_hidden_state.mean(1), dim=-1
        )[0]
        for i, row in enumerate(rows):
            torch.testing.assert_close(queries[i], alone(data.query_tokens[data.query[row]]), atol=1e-5, rtol=0)
            for n in range(4):
                torch.testing.assert_close(
                    passages[i, n], alone(data.passage_tokens[data.group[row, n]]), atol=1e-5, rtol=0
                )
    texts = [data.query_tokens[i] for i in {*data.query[rows]}] + [
        data.passage_tokens[i] for i in {*data.group[rows].flatten()}
    ]
    assert real == sum(map(len, texts)) and padding >= 0  # a text that occurs twice is encoded once


def test_fused_attention_is_the_eager_one():
    torch.manual_seed(1)
    config = MptConfig(d_model=48, n_heads=3, n_layers=2, vocab_size=50, max_seq_len=40, attn_config={"clip_qkv": 0.5})
    eager, fused = MptModel(config), MptModel(config)  # three heads: no power of two, ALiBi's other case
    for weight in eager.parameters():
        torch.nn.init.normal_(weight, std=0.3) if weight.dim() > 1 else None
    fused.load_state_dict(eager.state_dict())
    use_fused(fused)
    ids, mask = pad([list(range(1, length)) for length in (33, 8, 2)], 0)
    outs = []
    for model in (eager, fused):
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state * mask[:, :, None]
        hidden.square().sum().backward()
        outs.append((hidden, torch.cat([p.grad.flatten() for p in model.parameters()])))
    torch.testing.assert_close(outs[1][0], outs[0][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        outs[1][1] / outs[0][1].abs().max(), outs[0][1] / outs[0][1].abs().max(), atol=1e-5, rtol=0
    )


def test_texts_are_cut_to_their_lengths(study):
    data = loaded(study, prompt={"query_length": 4})
    assert max(map(len, data.query_tokens)) == 4 and max(map(len, data.passage_tokens)) == 12


def test_order_is_a_permutation_and_stateless():
    seen = np.concatenate([order(5, step, 7, 30) for step in range(0, 60)])
    assert len(seen) == 420
    for epoch in range(14):
        assert sorted(seen[epoch * 30 : (epoch + 1) * 30]) == list(range(30))
    assert order(5, 42, 7, 30).tolist() == seen[42 * 7 : 43 * 7].tolist()
    assert not np.array_equal(seen[:30], seen[30:60])
    assert order(6, 0, 7, 30).tolist() != order(5, 0, 7, 30).tolist()


def test_learning_rate_rises_to_the_peak_and_falls_to_the_floor():
    rates = [learning_rate(step, 100, 1.0, 0.06, 0.02) for step in range(100)]
    assert rates[0] == pytest.approx(1 / 6) and rates[5] == 1.0 and rates[6] == 1.0
    assert rates[-1] == pytest.approx(0.02) and all(a >= b for a, b in zip(rates[5:], rates[6:]))
    assert rates[52] == pytest.approx(0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * 46 / 93)))
    assert [learning_rate(0, 1, 1.0, 0.0, 0.02)] == [1.0]


def frames(pairs, negatives):
    return (
        pd.DataFrame(pairs, columns=["query_id", "query", "passage_id"]),
        pd.DataFrame(negatives.items(), columns=["query_id", "negatives"]),
    )


def test_groups_start_with_the_pairs_own_positive():
    made, positives = groups(
        *frames([("q", "x", "a"), ("q", "x", "b"), ("r", "y", "a")], {"q": ["c", "d", "e"], "r": ["d", "c", "e"]}), 2
    )
    assert made == [["a", "c", "d"], ["b", "c", "d"], ["a", "d", "c"]]
    assert positives == [["a", "b"], ["a", "b"], ["a"]]


@pytest.mark.parametrize("negatives, says", [({"q": ["c"]}, "query q has 1 mined"), ({}, "query q has no mined")])
def test_too_few_negatives_is_an_error(negatives, says):
    with pytest.raises(UserError, match=f"{says} negatives but the recipe's n_negatives is 2"):
        groups(*frames([("q", "x", "a")], negatives), 2)


def test_empty_or_missing_texts_are_errors(study, tmp_path):
    for change, says in (
        ("empty", "passage p000 is empty"),
        ("missing", "passage p000 is not in passages"),
        ("query", "query q000 is empty"),
    ):
        folder = tmp_path / change
        folder.mkdir()
        pairs, passages = pd.read_parquet(study / "pairs.parquet"), pd.read_parquet(study / "passages.parquet")
        if change == "empty":
            passages.loc[0, "text"] = " "
        elif change == "missing":
            passages = passages[1:]
        else:
            pairs.loc[0, "query"] = ""
        pairs.to_parquet(folder / "pairs.parquet")
        passages.to_parquet(folder / "passages.parquet")
        out = folder / "out"
        out.mkdir()
        with pytest.raises(UserError, match=says):
            run(spec(), {**inputs(study), "pairs": [folder / "pairs.json"]}, out)


def test_a_diverging_run_stops_with_its_step(study, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "broken"
    (folder / "model").mkdir(parents=True)
    for path in (study / "model").iterdir():
        (folder / "model" / path.name).write_bytes(path.read_bytes())
    state = load_file(folder / "model" / "model.safetensors")
    state["norm_f.weight"][0] = torch.nan
    save_file(state, folder / "model" / "model.safetensors", metadata={"format": "pt"})
    (folder / "card.json").write_text((study / "card.json").read_text())
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match="fine-tuning of tiny diverged at step 1 of 12"):
        run(spec(), {**inputs(study), "card": folder / "card.json"}, out)
    assert not (out / "encoder.json").exists() and not (out / "model.safetensors").exists()


def test_what_does_not_fit_is_refused(study, tmp_path):
    with pytest.raises(UserError, match="batch_queries .8. must be a multiple of the 3 processes"):
        split(Recipe(batch_queries=8), 3)
    with pytest.raises(UserError, match="no multiple of microbatch .4."):
        split(Recipe(batch_queries=12, microbatch=4), 2)
    with pytest.raises(UserError, match="global needs"):
        split(Recipe(negatives="global", batch_queries=8, microbatch=4), 1)
    with pytest.raises(ValueError, match="multiple of microbatch"):
        Recipe(batch_queries=8, microbatch=3)
    with pytest.raises(UserError, match="fewer than a batch"):
        tuned(study, tmp_path / "few", batch_queries=97)
    with pytest.raises(UserError, match="up to 33 tokens but tiny reads 32"):
        tuned(study, tmp_path / "long", prompt={"passage_length": 33})


def test_max_pairs_takes_the_same_spread_of_pairs(study):
    data = loaded(study, max_pairs=10)
    assert len(data) == 10 and isinstance(data, Examples)
    assert [len(x) for x in loaded(study, max_pairs=10).query_tokens] == [len(x) for x in data.query_tokens]


def test_several_data_sets_are_refused(study, tmp_path):
    both = {name: path * 2 if isinstance(path, list) else path for name, path in inputs(study).items()}
    with pytest.raises(UserError, match="several data sets .a, b. is not possible yet"):
        run({**spec(), "pairs": {"a": 0.5, "b": 0.5}}, both, tmp_path)
