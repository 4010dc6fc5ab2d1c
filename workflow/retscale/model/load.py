"""Load models and tokenizers from a folder: explicit dtype, no remote code, no silent random weights."""

import os
import random
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from retscale.errors import UserError
from retscale.model.attention import use_fused

transformers.utils.logging.disable_progress_bar()  # a bar a file would drown a job's own lines

# These have no fused attention in transformers 5.23 and refuse to be asked for one.
EAGER_ONLY = {"mpt"}


def load_decoder(folder: Path | str, dtype: torch.dtype) -> PreTrainedModel:
    """The transformer without its language-modelling head, in eval mode on the CPU.

    As every model here it is meant for right-padded batches and keeps no cache.
    """
    return _load(AutoModel, folder, dtype)


def load_causal_lm(folder: Path | str, dtype: torch.dtype) -> PreTrainedModel:
    """The transformer with its language-modelling head, in eval mode on the CPU."""
    return _load(AutoModelForCausalLM, folder, dtype)


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """The fast tokenizer in `folder`; a missing padding token is set to the end-of-text token, in memory only."""
    _need(folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UserError(f"no tokenizer can be loaded from {folder}: {_first_line(error)}") from None
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"the tokenizer in {folder} has neither a padding nor an end-of-text token; name one in its files"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def max_length(config) -> int | None:
    """Tokens that a model of this config can read, or None if the config does not say."""
    for key in ("max_position_embeddings", "max_seq_len", "n_positions"):
        if isinstance(value := getattr(config, key, None), int):
            return value
    return None


def deterministic(seed: int, threads: int | None = None) -> None:
    """Seed every generator and refuse kernels that are not repeatable.

    On a CPU bits depend on the number of threads as well: give `threads` where the same bytes are promised.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    if threads is not None:
        torch.set_num_threads(threads)


def _load(auto, folder: Path | str, dtype: torch.dtype) -> PreTrainedModel:
    folder = _need(folder)
    safe = any(folder.glob("*.safetensors"))
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model, found = auto.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=safe,
            weights_only=True,
            trust_remote_code=False,
            attn_implementation="eager" if config.model_type in EAGER_ONLY else None,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"no model can be loaded from {folder}: {_first_line(error)}") from None
    if found["missing_keys"] or found["mismatched_keys"]:
        lacking = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
        raise UserError(
            f"{folder} lacks {len(lacking)} weights of a {type(model).__name__}, such as {lacking[0]}; "
            "they would be random: get a complete checkpoint"
        )
    use_fused(model)
    return model.eval()


def _need(folder: Path | str) -> Path:
    folder = Path(folder)
    if not (folder / "config.json").is_file() and not (folder / "tokenizer_config.json").is_file():
        raise UserError(
            f"{folder} is no model folder (it has no config.json); give the folder that holds the model's files"
        )
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
