"""A checkpoint from a GGUF file, dequantised once and saved as safetensors."""

import importlib.util
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from retscale.checkpoint.config import Gguf, Job
from retscale.checkpoint.obtained import Obtained
from retscale.errors import UserError
from retscale.provenance import hashes


def obtain(job: Job, source: Gguf, text: Path | None, out: Path) -> Obtained:
    """Write model/ in float32. UserError if the file is not there or cannot be read."""
    path = source.path()
    if not path.is_file():
        raise UserError(f"the checkpoint {job.id!r} wants the file {path}, which is not there; correct `file`")
    if importlib.util.find_spec("gguf") is None:
        raise UserError("reading GGUF files needs the package gguf; install it with: pip install gguf")
    folder = out / "model"
    try:
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    except (ValueError, KeyError, IndexError) as error:
        raise UserError(
            f"cannot read {path} as GGUF: {error}; get the file again, or take the model's safetensors"
        ) from None
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Obtained(folder, job.tokens, card={"revision": f"sha256:{hashes.sha256(path)}"})
