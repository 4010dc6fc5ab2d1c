"""The contracts between stages: what is written can be read, and what breaks one is refused by file and key."""

import json
import os

import artifacts
import pytest

from retscale.checkpoint.card import Card
from retscale.collect.summary import CollectSummary
from retscale.encoder.card import EncoderCard, Trained
from retscale.errors import UserError
from retscale.evaluate.result import Result
from retscale.external.summary import ExternalSummary
from retscale.fit.summary import FitSummary
from retscale.items.card import ItemsCard
from retscale.leakage.result import Leakage
from retscale.pairs.card import PairsCard
from retscale.task.card import TaskCard
from retscale.text.card import TextCard

MODELS = [
    (Card, artifacts.card()),
    (Trained, artifacts.encoder()),
    (TaskCard, artifacts.task()),
    (PairsCard, artifacts.pairs()),
    (Result, artifacts.result()),
    (TextCard, artifacts.text()),
    (ItemsCard, artifacts.items()),
    (Leakage, artifacts.leakage()),
    (ExternalSummary, artifacts.external()),
    (CollectSummary, artifacts.collected()),
    (FitSummary, artifacts.fitted()),
]


@pytest.mark.parametrize(("model", "facts"), MODELS, ids=lambda x: getattr(x, "__name__", ""))
def test_what_is_written_is_read_and_written_again(tmp_path, model, facts):
    path = tmp_path / "a.json"
    model.write(path, facts)
    assert json.loads(path.read_text()) == facts
    once = path.read_bytes()
    model.write(path, json.loads(once))
    assert path.read_bytes() == once
    assert model.read(path).model_dump(mode="json", exclude_unset=True) == facts


@pytest.mark.parametrize(("model", "facts"), MODELS, ids=lambda x: getattr(x, "__name__", ""))
def test_a_reader_passes_over_new_keys_and_a_writer_has_none(tmp_path, model, facts):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(facts | {"later": 1}))
    assert not hasattr(model.read(path), "later")
    with pytest.raises(ValueError, match=f"{model.__name__} has no later"):
        model.write(path, facts | {"later": 1})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps(artifacts.card(n_tokens="10")), "n_tokens: .*valid integer, found '10'"),
        (json.dumps(artifacts.card(n_params={"total": 1, "matmul": 1})), "n_params.non_embedding is missing"),
        (json.dumps(artifacts.card(flops=float("nan"))), "flops: .*finite number, found nan"),
        (
            json.dumps(artifacts.card(source={"kind": "x"})),
            "source: .*'kind' does not match .*'gguf', 'pretrain', 'random'",
        ),
        ("{", "invalid JSON: .*"),
        ("[]", ".* object"),
        ("[" * 100_000, "invalid JSON: .*"),
        ("\0", "invalid JSON: .*"),
    ],
)
def test_a_broken_artefact_is_refused_in_one_line(tmp_path, text, says):
    path = tmp_path / "card.json"
    path.write_text(text)
    with pytest.raises(UserError, match=f"^{path}: {says}; delete it and run again$") as error:
        Card.read(path)
    assert "\n" not in str(error.value) and len(str(error.value)) < 400


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    with pytest.raises(UserError, match="cannot read .*: No such file or directory; get another"):
        EncoderCard.read(tmp_path / "gone.json", "get another")
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UserError, match="pipe.json is not a regular file"):
        EncoderCard.read(tmp_path / "pipe.json")
