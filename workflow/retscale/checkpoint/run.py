"""Stage `checkpoint`: obtain a pretrained model, measure it, and write its card."""

from pathlib import Path

import torch

from retscale.checkpoint import gguf, hub, local, pretrain
from retscale.checkpoint.card import Card
from retscale.checkpoint.config import Spec
from retscale.checkpoint.verify import compare
from retscale.common.flops import flops
from retscale.model.load import is_causal, load_backbone, load_causal_lm, max_length, read_tokenizer
from retscale.model.params import count_params
from retscale.model.weight_files import hashes

SOURCES = {"hub": hub.obtain, "local": local.obtain, "gguf": gguf.obtain, "pretrain": pretrain.obtain}


def run(spec: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Write card.json, and model/ unless the model already exists elsewhere."""
    job = Spec.model_validate(spec)
    got = SOURCES[job.source.kind](job, job.source, inputs.get("text"), out)
    load = load_causal_lm if is_causal(got.folder) else load_backbone
    model = load(got.folder, torch.bfloat16)  # only to count parameters; half the memory of float32
    measured = count_params(model)
    compare(job, model, read_tokenizer(got.folder), measured["total"])
    card = {
        "id": job.id,
        "source": job.source.model_dump(mode="json"),
        "revision": None,
        "n_params": measured,
        "n_tokens": got.n_tokens,
        "flops": None if got.n_tokens is None else flops(measured["total"], got.n_tokens),
        "tokens_per_param": None if got.n_tokens is None else got.n_tokens / measured["total"],
        "schedule_finished": job.schedule_finished,
        "max_length": max_length(model.config),
        "model": "model" if got.folder.parent == out else str(got.folder),
        "files": got.sha256 or hashes(got.folder),
        "loss": None,
        **got.card,
    }
    Card.write(out / "card.json", card)
    return got.notes
