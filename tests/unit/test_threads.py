"""What a model computes on a CPU depends on the study's `threads`, and not on what a profile allots."""

import json
from pathlib import Path

import artifacts
import pytest
import torch
from topics import inputs, make, spec, tuned
from transformers import MptConfig, MptModel

from retscale.study import load, specs

SMOKE = Path(__file__).parents[2] / "config" / "smoke.yaml"


@pytest.fixture(autouse=True)
def one_thread():
    yield
    torch.set_num_threads(1)


class Started(Exception):
    """What a stage computes with is set when it loads its model."""


def started(*_, **__):
    raise Started


def test_every_job_of_a_model_knows_the_threads_and_no_other_job_does(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(SMOKE.read_text() + "threads: 3\n")
    study = load.study(path)
    models = [
        specs.checkpoint(study, "d16"),
        specs.finetune(study, "own-mini"),
        specs.evaluate(["fiqa"])(study, "d16", "own-mini"),
        specs.icl(study, "d16"),
    ]
    assert [job["threads"] for job in models] == [3] * 4
    assert "threads" not in specs.mine(study) | specs.collect(study) | specs.task(study, "fiqa")
    path.write_text(
        path.read_text().replace("mine: {negatives: 2,", "mine: {method: encoder, encoder: e, negatives: 2,")
    )
    assert specs.mine(load.study(path))["threads"] == 3
    assert specs.finetune(load.study(SMOKE), "own-mini")["threads"] == 1


def test_each_stage_computes_with_them(tmp_path, monkeypatch):
    from retscale.evaluate import run as evaluate
    from retscale.finetune import run as finetune
    from retscale.icl import run as icl
    from retscale.mine import run as mine
    from retscale.model import encoder

    written = tmp_path / "study.yaml"
    written.write_text(SMOKE.read_text() + "threads: 2\n")
    study, folder = load.study(written), make(tmp_path)
    monkeypatch.setattr(encoder, "load_encoder", started)
    monkeypatch.setattr(finetune, "load_backbone", started)
    monkeypatch.setattr(icl, "load_causal_lm", started)
    (folder / "card.json").write_text(json.dumps(artifacts.card(id="d16")))
    recipe = artifacts.encoder()["recipe"] | {"id": "own-mini"}
    (folder / "encoder.json").write_text(json.dumps(artifacts.encoder(checkpoint="d16", recipe=recipe)))
    encoders, of_evaluation = {"encoder": folder / "encoder.json"}, specs.evaluate(["fiqa"])(study, "d16", "own-mini")
    by_encoder = mine.Spec.model_validate({"method": "encoder", "encoder": "e", "threads": 2})
    for start in (
        lambda: finetune.run(spec() | {"threads": 2}, inputs(folder), tmp_path, tmp_path),
        lambda: next(evaluate.run(of_evaluation, encoders, tmp_path)),
        lambda: next(icl.run(specs.icl(study, "d16"), {"card": folder / "card.json"}, tmp_path)),
        lambda: mine.encoder("encoder", by_encoder, encoders),
    ):
        torch.set_num_threads(1)
        with pytest.raises(Started):
            start()
        assert torch.get_num_threads() == 2


def wide(vocabulary: int) -> MptModel:
    """One whose products torch shares out to threads, with other bits by their number."""
    return MptModel(MptConfig(d_model=256, n_heads=2, n_layers=1, vocab_size=vocabulary, max_seq_len=32))


@pytest.mark.slow
def test_a_training_has_the_same_bits_with_any_allotment(tmp_path):
    study = make(tmp_path / "study", wide)
    made = set()
    for allotted in (1, 2):
        torch.set_num_threads(allotted)
        _, encoder, _, notes = tuned(study, tmp_path / str(allotted), lr=1e-3, batch_queries=48)
        made.add((encoder["weights_sha256"], notes["threads"]))
    assert len(made) == 1 and made.pop()[1] == 1
