"""What a model's kind forbids is refused before any job, also of a model of the catalog that is still on the hub."""

import pytest
import yaml
from test_base import SHARED

from retscale.errors import UserError
from retscale.study import load, specs


def study(tmp_path, **change):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(SHARED | change))
    return load.study(path)


def refused(tmp_path, **change) -> str:
    with pytest.raises(UserError) as error:
        study(tmp_path, **change)
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'study.yaml'}: ") and "\n" not in line
    return line


@pytest.mark.parametrize(
    ("id", "kind"), [("bert-base", "bert"), ("t5-v1.1-base", "t5"), ("ettin-encoder-17m-step23984", "modernbert")]
)
def test_no_in_context_task_is_asked_of_what_continues_no_text(id, kind, tmp_path):
    """Whatever else the study has: the decoder beside it could be asked."""
    line = refused(tmp_path, checkpoints=["pythia-14m", id], icl=["gauntlet-v0.3"])
    assert f"icl: the checkpoint {id!r} is a {kind}, which is not a decoder" in line
    assert study(tmp_path, checkpoints=["pythia-14m", {"use": id, "icl": False}], icl=["gauntlet-v0.3"]).icl
    for decoder in ("ettin-decoder-17m", "qwen1.5-0.5b-chat"):
        assert study(tmp_path, checkpoints=["pythia-14m", decoder], icl=["gauntlet-v0.3"]).icl


@pytest.mark.parametrize(
    ("id", "kind"),
    [("bert-base", "bert"), ("t5-v1.1-base", "t5"), ("gpt-neo-125m", "gpt_neo"), ("gemma-2-2b", "gemma2")],
)
def test_only_decoders_that_were_tried_are_made_to_see_the_whole_text(id, kind, tmp_path):
    recipe = {"use": "portes2025", "attention": "bidirectional"}
    line = refused(tmp_path, checkpoints=["pythia-14m", id], recipes=[recipe])
    assert f"a {kind} sees the whole text by itself or was never tried" in line and f"or leave {id!r} out" in line
    some = [{**recipe, "checkpoints": ["pythia-14m"]}, {"use": "portes2025", "id": "causal", "checkpoints": [id]}]
    assert study(tmp_path, checkpoints=["pythia-14m", id], recipes=some).trained


def test_a_kind_is_of_no_job(tmp_path):
    assert "model_type" not in specs.checkpoint(study(tmp_path), "pythia-14m")
