"""Load models and tokenizers from a folder: explicit dtype, no remote code, no silent random weights."""

import inspect
import os
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import (
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForTextEncoding,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from retscale.errors import UserError
from retscale.model.attention import use_fused
from retscale.model.causality import Attention, sees_ahead, set_attention
from retscale.model.complete import require_complete, require_plausible
from retscale.model.device import use_threads
from retscale.model.kinds import POSITIONS_AFTER_PADDING, T5
from retscale.model.threads import Threads
from retscale.model.weight_files import listed_weights

transformers.utils.logging.disable_progress_bar()  # a progress bar per file would drown the job's own lines

# cuDNN's attention comes first on a Hopper and makes a plan for every new shape, of which texts have hundreds.
torch.backends.cuda.enable_cudnn_sdp(False)

# These have no fused attention in transformers 5.23 and raise when asked for it.
EAGER_ONLY = {"mpt"}


def load_backbone(folder: Path | str, dtype: torch.dtype, attention: Attention = "causal") -> PreTrainedModel:
    """What gives a text's token vectors, in eval mode on the CPU: a decoder or an encoder without its head and pooling
    layer, or the encoder half of a T5.

    As every model here it is meant for right-padded batches and keeps no cache. UserError if it cannot have `attention`.
    """
    auto_class, config, options = _backbone(folder)
    model = _load(auto_class, config, folder, dtype, **options)
    set_attention(model, attention)
    return model


def empty_backbone(folder: Path | str, dtype: torch.dtype, attention: Attention = "causal") -> PreTrainedModel:
    """What `load_backbone` gives, on the meta device: no weights are read."""
    auto_class, config, options = _backbone(folder)
    eager = {"attn_implementation": "eager"} if config.model_type in EAGER_ONLY else {}
    with torch.device("meta"):
        model = auto_class.from_config(config, dtype=dtype, trust_remote_code=False, **eager, **options)
    model.config.use_cache = False
    use_fused(model)
    set_attention(model, attention)
    return model.eval()


def fresh(folder: Path | str) -> PreTrainedModel:
    """A model of the configuration in `folder` with fresh weights in float32, from torch's global generator: a decoder
    with its language-modeling head, of other models the backbone."""
    config = _config(folder)
    auto_class, options = (AutoModelForCausalLM, {}) if is_decoder(config) else _backbone(folder)[::2]
    return auto_class.from_config(config, dtype=torch.float32, trust_remote_code=False, **options)


def load_causal_lm(folder: Path | str, dtype: torch.dtype) -> PreTrainedModel:
    """The transformer with its language-modeling head, in eval mode on the CPU; raises UserError if it is not a decoder."""
    config = _config(folder)
    if not is_decoder(config):
        raise UserError(
            f"{folder} holds a {config.model_type}, which is not a decoder and cannot continue a text, so it "
            "cannot be scored in context; remove `icl` from its study"
        )
    return _load(AutoModelForCausalLM, config, folder, dtype)


def is_causal(folder: Path | str) -> bool:
    """Whether `folder` holds a decoder, which continues a text."""
    return is_decoder(_config(folder))


def is_decoder(config: PreTrainedConfig) -> bool:
    """False for BERT and similar models, whose class for causal language modeling would load and score nonsense, and for
    decoders that were made to see ahead."""
    masked = type(config) in MODEL_FOR_MASKED_LM_MAPPING and not getattr(config, "is_decoder", False)
    return not (masked or config.is_encoder_decoder or config.model_type in T5 or sees_ahead(config))


def load_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """The fast tokenizer in `folder`; a missing padding token is set to the end-of-text token, in memory only."""
    tokenizer = read_tokenizer(folder)
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise UserError(
                f"the tokenizer in {folder} has neither a padding nor an end-of-text token; name one in its files"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def read_tokenizer(folder: Path | str) -> PreTrainedTokenizerBase:
    """The fast tokenizer in `folder`, as its files have it."""
    with readable("tokenizer", _require_model_folder(folder)):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if not tokenizer.is_fast:
        raise UserError(
            f"{folder} holds a {type(tokenizer).__name__}, which is not a fast tokenizer; add a tokenizer.json"
        )
    return tokenizer  # ty: ignore[invalid-explicit-return] - transformers lists its classes and leaves out their base


def max_length(config: PreTrainedConfig) -> int | None:
    """Tokens that a model of this config can read, or None if it has no limit or the config does not say."""
    if config.model_type in T5:  # their files state an `n_positions`, which only their training data had
        return None
    if config.model_type in POSITIONS_AFTER_PADDING:
        return config.max_position_embeddings - config.pad_token_id - 1
    for key in ("max_position_embeddings", "max_seq_len", "n_positions"):
        if isinstance(value := getattr(config, key, None), int):
            return value
    return None


def deterministic(seed: int, threads: Threads) -> None:
    """Seed every generator, fix the number of threads, and refuse kernels that are not deterministic."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when CUDA starts
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    use_threads(threads)


def _config(folder: Path | str) -> PreTrainedConfig:
    with readable("model", _require_model_folder(folder)):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _backbone(folder: Path | str) -> tuple[type, PreTrainedConfig, dict]:
    """The class of transformers that makes the backbone in `folder`, its configuration and options."""
    config = _config(folder)
    if config.model_type in T5:
        return AutoModelForTextEncoding, config, {}
    if config.is_encoder_decoder:
        raise UserError(
            f"{folder} holds a {config.model_type}, an encoder-decoder; of these only the encoder half of "
            f"{', '.join(sorted(T5))} can be used"
        )
    # A checkpoint of masked language modeling lacks the weights of a pooling layer, and nothing here reads its output.
    pooler = "add_pooling_layer" in inspect.signature(MODEL_MAPPING.get(type(config), object).__init__).parameters
    return AutoModel, config, {"add_pooling_layer": False} if pooler else {}


def _load(
    auto_class: type, config: PreTrainedConfig, folder: Path | str, dtype: torch.dtype, **options
) -> PreTrainedModel:
    weights = listed_weights(Path(folder))
    require_plausible(folder, config, sum(path.stat().st_size for path in weights))
    with readable("model", folder):
        model, loading = auto_class.from_pretrained(
            folder,
            config=config,
            dtype=dtype,
            use_safetensors=any(path.suffix == ".safetensors" for path in weights),
            weights_only=True,
            trust_remote_code=False,
            attn_implementation="eager" if config.model_type in EAGER_ONLY else None,
            output_loading_info=True,
            **options,
        )
    require_complete(folder, model, loading)
    model.config.use_cache = False  # for who wants one passes it
    use_fused(model)
    return model.eval()


@contextmanager
def readable(what: str, source: Path | str) -> Iterator[None]:
    """Turns whatever the libraries raise for a damaged or hostile file into a UserError of one line."""
    try:
        yield
    except UserError:
        raise
    except pickle.UnpicklingError:
        raise UserError(
            f"no {what} can be loaded from {source}: its .bin weights hold more than tensors, and reading that could "
            "run any code; name a revision that has safetensors"
        ) from None
    except Exception as error:
        kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
        raise UserError(f"no {what} can be loaded from {source}: {kind}{_first_line(error)}") from error


def _require_model_folder(folder: Path | str) -> Path:
    folder = Path(folder)
    if not (folder / "config.json").is_file() and not (folder / "tokenizer_config.json").is_file():
        raise UserError(
            f"{folder} is not a model folder (it has no config.json); give the folder with the model's files"
        )
    return folder


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
