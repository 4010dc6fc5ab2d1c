"""Whole trainings of a tiny decoder."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from topics import describe, finished, inputs, log, make, spec, start, tuned, weights
from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel, MptModel, T5Config, T5EncoderModel

from retscale.errors import UserError
from retscale.finetune.config import Recipe
from retscale.finetune.run import run
from retscale.model.device import has_bf16
from retscale.model.load import load_backbone, load_tokenizer
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return make(tmp_path_factory.mktemp("study"))


def llama(vocabulary):
    return LlamaModel(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=32,
        )
    )


def bert(vocabulary):
    config = BertConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
    )
    return BertModel(config, add_pooling_layer=False)


def t5(vocabulary):
    return T5EncoderModel(T5Config(vocab_size=vocabulary, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2))


def test_the_same_spec_gives_the_same_bytes(study, tmp_path):
    one = tuned(study, tmp_path / "one")[1]
    two = tuned(study, tmp_path / "two")[1]
    assert one == two and "log.jsonl" not in one["files"]
    assert (tmp_path / "one/log.jsonl").read_bytes() == (tmp_path / "two/log.jsonl").read_bytes()
    assert not (tmp_path / "one/pace.jsonl").exists()
    for name in ("three", "state"):
        (tmp_path / name).mkdir()
    run({**spec(), "seed": 4}, inputs(study), tmp_path / "three", tmp_path / "state")
    assert json.loads((tmp_path / "three/encoder.json").read_text())["weights_sha256"] != one["weights_sha256"]


def test_the_loss_falls_and_the_encoder_says_how_to_use_it(study, tmp_path):
    prefix = {"query_prefix": "t0w0 "}
    model, encoder, lines, notes = tuned(study, tmp_path / "out", epochs=4, pooling="weighted_mean", prompt=prefix)
    losses = [line["loss"] for line in lines]
    assert len(lines) == 48 and np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    assert lines[-1]["lr"] == pytest.approx(0.01 * 0.02) and all(0 <= line["padding"] < 1 for line in lines)
    assert encoder["pooling"] == "weighted_mean" and encoder["normalize"] is True
    assert encoder["prompt"] == Prompt(query_length=8, passage_length=12, **prefix).model_dump()
    assert encoder["prompt_sha256"] == fingerprint(load_tokenizer(tmp_path / "out"), Prompt(**encoder["prompt"]))
    assert (encoder["steps"], encoder["pairs"]) == (48, 96)
    assert notes["negatives_filled"] == 0 and notes["dtype"] == "float32"
    assert weights(model).dtype == torch.float32


def test_own_negatives_do_not_depend_on_the_split(study, tmp_path):
    whole, _, whole_log, _ = tuned(study, tmp_path / "whole", lr=1e-3)
    split, _, split_log, _ = tuned(study, tmp_path / "split", lr=1e-3, microbatch=2)
    for key in ("loss", "grad_norm"):  # the norm, because clipping and Adam hide a wrong scale of the gradient
        assert [x[key] for x in split_log] == pytest.approx([x[key] for x in whole_log], rel=1e-3)
    torch.testing.assert_close(weights(split), weights(whole), rtol=0, atol=1e-4)


def test_chunks_of_global_negatives_train_as_one(study, tmp_path):
    whole, _, whole_log, _ = tuned(study, tmp_path / "whole", lr=1e-3, negatives="global")
    split, _, split_log, _ = tuned(study, tmp_path / "split", lr=1e-3, negatives="global", microbatch=2)
    for key in ("loss", "grad_norm"):
        assert [x[key] for x in split_log] == pytest.approx([x[key] for x in whole_log], rel=1e-3)
    torch.testing.assert_close(weights(split), weights(whole), rtol=0, atol=1e-4)


def test_microbatch_negatives_do_depend_on_it(study, tmp_path):
    whole = tuned(study, tmp_path / "whole", negatives="microbatch")[2]
    split = tuned(study, tmp_path / "split", negatives="microbatch", microbatch=2)[2]
    own = tuned(study, tmp_path / "own")[2]
    assert whole[0]["loss"] > split[0]["loss"] + 0.1 > own[0]["loss"] + 0.2  # 32, 8 and 4 passages to choose from


def test_microbatch_and_global_are_one_on_one_process(study, tmp_path):
    one = tuned(study, tmp_path / "one", negatives="microbatch")[1]
    two = tuned(study, tmp_path / "two", negatives="global")[1]
    assert one["weights_sha256"] == two["weights_sha256"]


@pytest.mark.parametrize(
    "recipe",
    [
        {"negatives": "own"},
        {"negatives": "own", "microbatch": 2},
        {"negatives": "global"},
        {"negatives": "global", "microbatch": 2},
    ],
    ids=["own", "own in parts", "global", "global in parts"],
)
def test_two_copies_train_as_one_process(study, tmp_path, recipe):
    job = spec(**recipe, lr=1e-3, max_pairs=32)
    whole, _, whole_log, _ = tuned(study, tmp_path / "whole", **job["recipe"] | {"microbatch": None})
    out = tmp_path / "two"
    finished(start(job, inputs(study), out, tmp_path / "state", processes=2))
    for key in ("loss", "grad_norm"):
        assert [x[key] for x in log(out)] == pytest.approx([x[key] for x in whole_log], rel=1e-3)
    torch.testing.assert_close(weights(MptModel.from_pretrained(out)), weights(whole), rtol=0, atol=1e-4)


def test_gradient_checkpointing_changes_nothing(study, tmp_path):
    plain = tuned(study, tmp_path / "plain")[1]
    again = tuned(study, tmp_path / "again", gradient_checkpointing=True)[1]
    assert again["weights_sha256"] == plain["weights_sha256"]


@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_encoders_are_kept_at_named_steps(study, tmp_path, tuning):
    """A kept encoder does not disturb the training, and is another than the last, which does not know of it."""
    out = tmp_path / "out"
    last = tuned(study, out, keep=[4, 8], tuning=tuning)[1]
    assert last == tuned(study, tmp_path / "plain", tuning=tuning)[1]
    first = json.loads((out / "step-4/encoder.json").read_text())
    assert first["steps"] == 4 and first["weights_sha256"] != last["weights_sha256"]
    second = json.loads((out / "step-8/encoder.json").read_text())
    assert second["steps"] == 8 and len({x["weights_sha256"] for x in (first, second, last)}) == 3
    load_backbone(out / "step-4", torch.float32)


@pytest.mark.parametrize("kind, tuning", [(llama, "full"), (llama, "lora"), (bert, "bitfit"), (t5, "full")])
def test_models_of_every_kind_are_trained(tmp_path, kind, tuning):
    folder, out, state = make(tmp_path / "study", kind), tmp_path / "out", tmp_path / "state"
    out.mkdir(), state.mkdir()
    before = load_backbone(folder / "model", torch.float32)
    run(spec(epochs=4, tuning=tuning, pooling="cls" if kind is bert else "mean"), inputs(folder), out, state)
    losses, after = [line["loss"] for line in log(out)], load_backbone(out, torch.float32)
    assert np.mean(losses[-5:]) < (0.95 if tuning == "bitfit" else 0.7) * np.mean(losses[:5])
    moved = {name for name, weight in after.state_dict().items() if not torch.equal(weight, before.state_dict()[name])}
    assert moved
    if tuning == "bitfit":
        assert all(name.endswith(".bias") for name in moved)
    if tuning == "lora":
        assert all("proj" in name for name in moved)  # no norm and no embedding


def test_merged_adapters_that_differ_are_an_error(study, tmp_path, monkeypatch):
    """As if the adapters had been left out of the merged weights."""

    monkeypatch.setattr("retscale.finetune.run.merged", lambda model: model.unload())
    with pytest.raises(UserError, match="merging the adapters changed the vectors by up to"):
        tuned(study, tmp_path / "out", tuning="lora")
    assert not (tmp_path / "out/encoder.json").exists()


def test_without_links_between_folders_the_encoder_is_copied(study, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("no links here")

    linked = tuned(study, tmp_path / "linked", keep=[4])[1]
    monkeypatch.setattr("os.link", refuse)
    assert tuned(study, tmp_path / "copied", keep=[4])[1] == linked
    assert (tmp_path / "copied/step-4/model.safetensors").is_file() and (tmp_path / "copied/log.jsonl").is_file()


def test_matryoshka_trains_the_short_vectors(study, tmp_path):
    """The loss at 4 components, of encoders trained with and without it."""
    from topics import loaded

    from retscale.finetune.embed import Embedder
    from retscale.finetune.loss import info_nce, own_mask
    from retscale.model.pooling import l2_normalize

    found = []
    for name, dimensions in (("plain", []), ("nested", [4])):
        model, data = tuned(study, tmp_path / name, epochs=4, dimensions=dimensions)[0], loaded(study)
        rows = np.arange(96)
        with torch.no_grad():
            q, p, _, _ = Embedder(model, data, 0, "mean", 4096, torch.device("cpu"))(rows)
        masked = own_mask(torch.from_numpy(data.copy_of[data.group]), torch.from_numpy(data.positives))
        found.append(info_nce(l2_normalize(q[:, :4]), l2_normalize(p[:, :, :4]), masked, 0.05).item())
    assert found[1] < 0.8 * found[0]


def test_data_sets_are_mixed_by_their_weights(study, tmp_path):
    """A data set with a tenth of the weight gives a tenth of the steps."""
    other = make(tmp_path / "other", passages=48, id="other")
    job = spec(epochs=2) | {"pairs": {"other": 1.0, "topics": 9.0}}
    given = {
        name: [inputs(other)[name][0], path[0]] if isinstance(path, list) else path
        for name, path in inputs(study).items()
    }
    (tmp_path / "out").mkdir(), (tmp_path / "state").mkdir()
    notes = run(job, given, tmp_path / "out", tmp_path / "state")
    assert len(log(tmp_path / "out")) == 2 * 144 // 8
    # 36 steps: 4 of `other` (32 of 48 pairs), 32 of `topics`, which is all
    assert notes["pairs_unseen"] == 16


def test_a_diverging_run_stops_with_its_step(study, tmp_path):
    folder = tmp_path / "broken"
    (folder / "model").mkdir(parents=True)
    for path in (study / "model").iterdir():
        (folder / "model" / path.name).write_bytes(path.read_bytes())
    broken = load_file(folder / "model" / "model.safetensors")
    broken["norm_f.weight"][0] = torch.nan
    save_file(broken, folder / "model" / "model.safetensors", metadata={"format": "pt"})
    (folder / "card.json").write_text((study / "card.json").read_text())
    out, state = tmp_path / "out", tmp_path / "state"
    out.mkdir(), state.mkdir()
    with pytest.raises(UserError, match="fine-tuning of tiny stopped: it diverged at step 1 of 12: loss nan"):
        run(spec(), {**inputs(study), "card": folder / "card.json"}, out, state)
    assert not any(out.iterdir())


def test_a_diverging_run_keeps_its_last_good_state(study, tmp_path, monkeypatch):
    """What is kept goes on to the bits of a run that never diverged."""
    from retscale.finetune.gradient import Gradient

    whole = tuned(study, tmp_path / "whole")[1]
    plain, calls = Gradient.__call__, []

    def sixth_is_nan(self, *arguments):
        calls.append(1)
        loss, real, padding = plain(self, *arguments)
        return (loss * torch.nan if len(calls) == 6 else loss), real, padding

    monkeypatch.setattr(Gradient, "__call__", sixth_is_nan)
    out, state = tmp_path / "out", tmp_path / "state"
    out.mkdir(), state.mkdir()
    with pytest.raises(UserError, match="diverged at step 6 of 12: .* The state after step 5 is kept in"):
        run(spec(), inputs(study), out, state)
    assert (state / "step-5").is_dir()
    run(spec(), inputs(study), out, state)
    assert json.loads((out / "encoder.json").read_text())["weights_sha256"] == whole["weights_sha256"]


@pytest.mark.skipif(not has_bf16(), reason="this processor has no bf16")
def test_bf16_computes_over_weights_in_float32(study, tmp_path):
    out = tmp_path / "out"
    finished(start(spec(lr=1e-3) | {"precision": "bf16"}, inputs(study), out, tmp_path / "state"))
    full = tuned(study, tmp_path / "full", lr=1e-3)
    assert {weight.dtype for weight in load_file(out / "model.safetensors").values()} == {torch.float32}
    losses = [[line["loss"] for line in lines] for lines in (log(out), full[2])]
    assert losses[0] == pytest.approx(losses[1], rel=0.1) and losses[0] != losses[1]


def test_a_run_that_learns_nothing_stops(study, tmp_path, monkeypatch):
    monkeypatch.setattr("retscale.finetune.log.PATIENCE", 20)
    with pytest.raises(UserError, match="above that of chance .1.39. for 20 steps up to step .*: nothing is learned"):
        tuned(study, tmp_path / "out", epochs=4, lr=1e-9, temperature=0.01)


def test_a_missing_passage_is_an_error(tmp_path):
    folder = make(tmp_path)
    pd.read_parquet(folder / "passages.parquet")[1:].to_parquet(folder / "passages.parquet")
    describe(folder)
    with pytest.raises(UserError, match="passage p000 is missing from passages.parquet; run the pairs stage again"):
        tuned(folder, tmp_path / "out")


@pytest.mark.parametrize(
    "recipe, says",
    [
        ({"batch_queries": 97}, "there are 96 pairs, fewer than a batch"),
        ({"prompt": {"passage_length": 33}}, "up to 33 tokens, but the context of tiny is 32"),
        ({"keep": [4, 12]}, "step 12 is not before the last step, 12"),
        ({"dimensions": [16]}, "16 is not below 16, the dimensions of tiny"),
        ({"tuning": "bitfit"}, "trains biases, but this MptModel has none"),
        (
            {"tuning": "lora", "lora": {"targets": ["q_proj"]}},
            "no linear layer of MptModel is named q_proj; it has Wqkv, ",
        ),
        ({"n_negatives": 5}, "query q000 has 4 mined negatives, but the recipe's n_negatives is 5"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_step(study, tmp_path, recipe, says):
    with pytest.raises(UserError, match=says):
        tuned(study, tmp_path / "out", **recipe)
    assert not (tmp_path / "out.state/log.jsonl").exists() and not any((tmp_path / "out").iterdir())


def test_a_batch_that_does_not_divide_is_refused(study, tmp_path):
    with pytest.raises(ValueError, match="multiple of microbatch"):
        Recipe(batch_queries=8, microbatch=3)
    for recipe, says in (
        ({"batch_queries": 9}, "multiple of the 2 processes"),
        ({"microbatch": 8}, "not a multiple of microbatch"),
    ):
        started = start(spec(**recipe), inputs(study), tmp_path / "out", tmp_path / "state", processes=2)
        errors = [process.communicate(timeout=120)[1] for process in started]
        assert all(says in error for error in errors) and all(process.returncode for process in started)


def test_a_model_that_does_not_fit_in_memory_is_refused(study, tmp_path, monkeypatch):
    monkeypatch.setattr("retscale.finetune.memory.device_memory", lambda device: 2**16)
    with pytest.raises(UserError, match="needs about .* GiB with 1 queries at once, and this cpu has"):
        tuned(study, tmp_path / "out")


def test_memory_decides_how_many_queries_go_together(study, tmp_path, monkeypatch):
    needs = tuned(study, tmp_path / "all")[3]["peak_memory"]["predicted"]
    monkeypatch.setattr("retscale.finetune.memory.device_memory", lambda device: round(needs * 0.9))
    assert tuned(study, tmp_path / "less")[3]["microbatch"] in (1, 2, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pairs": []}, "--pairs: the spec names the data sets topics, but the files are of none"),
        ({"negatives": []}, "--negatives: 0 files for 1 data sets"),
        ({"tokens": []}, "--tokens: 0 files for 1 data sets"),
    ],
)
def test_data_sets_and_their_files_must_agree(study, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        run(spec(), inputs(study) | change, tmp_path, tmp_path)
    with pytest.raises(UserError, match="the data sets other, but the files are of topics"):
        run(spec() | {"pairs": {"other": None}}, inputs(study), tmp_path, tmp_path)
