"""A checkpoint from a GGUF file, dequantized once and saved as safetensors."""

import importlib.util
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig, PreTrainedModel

from retscale.checkpoint.config import Gguf, Spec
from retscale.checkpoint.model_folder import ModelFolder
from retscale.errors import UserError
from retscale.model.complete import require_complete, require_plausible
from retscale.model.load import readable
from retscale.provenance import hash_cache


def obtain(spec: Spec, source: Gguf, text: Path | None, out: Path) -> ModelFolder:
    """Write model/ in float32. Raises UserError if the file is missing or cannot be read."""
    path = source.path()
    if not path.is_file():
        raise UserError(f"the file {path} of the checkpoint {spec.id!r} is missing; correct `file`")
    if importlib.util.find_spec("gguf") is None:
        raise UserError("reading GGUF files needs the package gguf; install it with: pip install gguf")
    from gguf import GGUFReader

    folder = out / "model"
    with tempfile.TemporaryDirectory(dir=out) as scratch, readable("model", path):
        # Files beside it, or of the same name in the working directory, are not read.
        file = Path(scratch, path.name).absolute()
        file.symlink_to(path.absolute())
        tensors = GGUFReader(file).tensors
        config = AutoConfig.from_pretrained(scratch, gguf_file=str(file))
        require_plausible(path, config, path.stat().st_size)
        model, loading = AutoModelForCausalLM.from_pretrained(
            scratch,
            config=config,
            gguf_file=str(file),
            dtype=torch.float32,
            quantization_config=GgufConfig(dequantize=True),
            output_loading_info=True,
        )
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=str(file))
        require_complete(path, model, loading)
        _require_all_read(path, tensors, model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelFolder(folder, spec.tokens, card={"revision": f"sha256:{hash_cache.sha256(path)}"})


def _require_all_read(path: Path, tensors: list, model: PreTrainedModel) -> None:
    """Raises UserError unless the file holds as many weights as the model.

    transformers drops tensors that it has no place for, and fills half an expert with zeros. Tables for rotary positions
    are computed, and tied models may store their embedding twice.
    """
    tied = model.config.tie_word_embeddings
    stored = sum(
        int(tensor.n_elements)
        for tensor in tensors
        if not tensor.name.startswith("rope_") and not (tied and tensor.name == "output.weight")
    )
    expected = sum({weight.data_ptr(): weight.numel() for weight in model.state_dict().values()}.values())
    if stored != expected:
        raise UserError(
            f"{path} holds {stored:,} weights, but the {type(model).__name__} that its header describes has {expected:,}; "
            "download the file again, or use the model's safetensors"
        )
