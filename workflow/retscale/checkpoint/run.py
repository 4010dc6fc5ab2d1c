"""Stage `checkpoint`: obtain a pretrained model, measure it, and write its card."""

from pathlib import Path

import torch

from retscale.checkpoint import gguf, hub, local, pretrain, random
from retscale.checkpoint.card import Card
from retscale.checkpoint.config import Spec
from retscale.checkpoint.verify import compare
from retscale.common.flops import flops
from retscale.model.load import is_causal, load_backbone, load_causal_lm, max_length, read_tokenizer
from retscale.model.params import count_params
from retscale.model.weight_files import hashes

SOURCES = {
    "hub": hub.obtain,
    "local": local.obtain,
    "gguf": gguf.obtain,
    "pretrain": pretrain.obtain,
    "random": random.obtain,
}


def run(values: dict, inputs: dict[str, Path], out: Path) -> dict:
    """Write card.json, and model/ unless the model already exists elsewhere."""
    spec = Spec.model_validate(values)
    made_from = inputs.get("like" if spec.source.kind == "random" else "text")
    obtained = SOURCES[spec.source.kind](spec, spec.source, made_from, out)
    load = load_causal_lm if is_causal(obtained.folder) else load_backbone
    model = load(obtained.folder, torch.bfloat16)  # only to count parameters; half the memory of float32
    n_params = count_params(model)
    compare(spec, model, read_tokenizer(obtained.folder), n_params["total"])
    card = {
        "id": spec.id,
        "source": spec.source.model_dump(mode="json"),
        "revision": None,
        "n_params": n_params,
        "n_tokens": obtained.n_tokens,
        "flops": None if obtained.n_tokens is None else flops(n_params["total"], obtained.n_tokens),
        "tokens_per_param": None if obtained.n_tokens is None else obtained.n_tokens / n_params["total"],
        "schedule_finished": spec.schedule_finished,
        "max_length": max_length(model.config),
        "model": obtained.place,
        "files": obtained.sha256 or hashes(obtained.folder),
        "loss": None,
        **obtained.card,
    }
    Card.write(out / "card.json", card)
    return obtained.notes
