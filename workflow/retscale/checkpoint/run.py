"""Stage `checkpoint`: obtain a pretrained model, measure it, and write its card."""

import json
from pathlib import Path

import torch

from retscale.checkpoint import gguf, hub, local, pretrain
from retscale.checkpoint.config import Job
from retscale.checkpoint.files import hashes
from retscale.errors import UserError
from retscale.model.load import is_causal, load_backbone, load_causal_lm, load_tokenizer, max_length
from retscale.model.params import count_params, flops

SOURCES = {"hub": hub.obtain, "local": local.obtain, "gguf": gguf.obtain, "pretrain": pretrain.obtain}


def run(spec: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Write card.json, and model/ where the model does not already lie elsewhere."""
    job = Job.model_validate(spec)
    got = SOURCES[job.source.kind](job, job.source, inputs.get("text"), out)
    load = load_causal_lm if is_causal(got.folder) else load_backbone
    model = load(got.folder, torch.bfloat16)  # to count; half the memory of float32
    measured = count_params(model)
    if job.n_params is not None and measured["total"] != job.n_params:
        raise UserError(
            f"the checkpoint {job.id!r} has {measured['total']:,} parameters but its entry says {job.n_params:,}; "
            "correct n_params, or its repository, revision or file"
        )
    load_tokenizer(got.folder)  # a checkpoint without one fails here, not in a later stage
    card = {
        "id": job.id,
        "source": job.source.model_dump(mode="json"),
        "revision": None,
        "n_params": measured,
        "n_tokens": got.n_tokens,
        "flops": flops(measured["total"], got.n_tokens),
        "tokens_per_param": got.n_tokens / measured["total"],
        "schedule_finished": job.schedule_finished,
        "max_length": max_length(model.config),
        "model": "model" if got.folder.parent == out else str(got.folder),
        "files": got.sha256 or hashes(got.folder),
        "loss": None,
        **got.card,
    }
    (out / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    return got.notes
