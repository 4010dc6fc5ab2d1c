"""An encoder as it was trained: the files, the prompt and the pooling that encoder.json vouches for."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from retscale.errors import UserError
from retscale.model.device import device, dtype
from retscale.model.encode import encode
from retscale.model.load import load_backbone, load_tokenizer
from retscale.model.prompt import Prompt, Side
from retscale.model.tokenize import fingerprint

Embed = Callable[[list[str], Side, str], np.ndarray]


def load_encoder(path: Path, precision: str, tokens_per_batch: int) -> Embed:
    """embed(texts, side, what) of the encoder whose encoder.json is `path`.

    Prompt and pooling are those that it was trained with, and cannot be others. UserError if its files are not the ones
    that encoder.json lists, or if texts would become other tokens than in training.
    """
    facts = json.loads(path.read_text(encoding="utf-8"))
    for name, expected in facts["files"].items():
        with (path.parent / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                raise UserError(
                    f"{path.parent / name} is not the file that {path.name} lists; fine-tune this encoder again"
                )
    tokenizer = load_tokenizer(path.parent)
    prompt = trained_prompt(facts, tokenizer, path)
    model = load_backbone(path.parent, dtype(precision)).to(device())

    def embed(texts: list[str], side: Side, what: str) -> np.ndarray:
        vectors = encode(
            model,
            tokenizer,
            texts,
            prompt,
            side,
            pooling=facts["pooling"],
            normalize=facts["normalize"],
            tokens_per_batch=tokens_per_batch,
            what=what,
        )
        bad = np.flatnonzero(~np.isfinite(vectors).all(1))
        if len(bad):
            raise UserError(
                f"{path.parent}: {len(bad)} of {len(texts)} embeddings are not finite ({what}), first that of "
                f"{texts[bad[0]][:80]!r}; the encoder has diverged: fine-tune it with a lower learning rate"
            )
        return vectors

    return embed


def trained_prompt(facts: dict, tokenizer: PreTrainedTokenizerBase, path: Path) -> Prompt:
    """The prompt in encoder.json; UserError unless it makes of texts the tokens that it made in training."""
    try:
        prompt = Prompt.model_validate(facts["prompt"])
        same = fingerprint(tokenizer, prompt) == facts["prompt_sha256"]
    except (KeyError, ValidationError):
        raise UserError(f"{path} holds no valid prompt; fine-tune this encoder again") from None
    if not same:
        raise UserError(
            f"{path}: with this prompt and tokenizer texts become other tokens than in training (prompt_sha256 "
            f"differs); undo the edit, install the tokenizers and transformers that {path.parent.name} was trained "
            "with, or fine-tune it again"
        )
    return prompt
