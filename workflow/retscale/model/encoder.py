"""An encoder as it was trained: with the files, the prompt and the pooling that encoder.json records."""

import copy
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.common import files
from retscale.encoder.card import EncoderCard
from retscale.errors import UserError
from retscale.model.device import device, dtype
from retscale.model.encode import encode
from retscale.model.load import load_backbone, load_tokenizer
from retscale.model.pooling import Pooling
from retscale.model.prompt import Prompt, Side
from retscale.model.tokenize import fingerprint, token_ids
from retscale.model.weight_files import listed_weights


@dataclass(frozen=True)
class Encoder:
    """`models` are replicas, one a device.

    `reads` is the same for encoders that tokenize every text alike, `sha256` for those that make the same vectors.
    """

    models: list[PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    prompt: Prompt
    pooling: Pooling
    normalize: bool
    tokens_per_batch: int
    reads: str
    sha256: str

    def tokens(self, texts: list[str], side: Side) -> list[np.ndarray]:
        return token_ids(self.tokenizer, texts, self.prompt, side).ids

    def embed(self, ids: list[np.ndarray], what: str, replica: int = 0) -> np.ndarray:
        """Vectors of token ids: float32 (texts, d); those of equal ids are the same bits."""
        return encode(
            self.models[replica],
            ids,
            self.tokenizer.pad_token_id,
            pooling=self.pooling,
            normalize=self.normalize,
            tokens_per_batch=self.tokens_per_batch,
            what=what,
        )


def load_encoder(path: Path, precision: str, tokens_per_batch: int) -> Encoder:
    """The encoder whose encoder.json is `path`, once on every accelerator of this process, or on the CPU.

    Prompt and pooling are those that it was trained with. Raises UserError if its files are not the ones that
    encoder.json lists, or if texts would be tokenized differently than in training.
    """
    facts = EncoderCard.read(path, "train this encoder again")
    folder = path.parent / facts.folder  # of an encoder made elsewhere, used in place
    if unlisted := sorted({weights.name for weights in listed_weights(folder)} - facts.files.keys()):
        raise UserError(f"{path} does not list {folder / unlisted[0]}, which would be loaded; train this encoder again")
    for name, expected in facts.files.items():
        if files.sha256(folder / name) != expected:
            raise UserError(f"{folder / name} is not the file that {path.name} lists; train this encoder again")
    if not facts.normalize:
        raise UserError(f"{path} asks for vectors that are not normalized, but texts are compared by cosine here")
    tokenizer = load_tokenizer(folder)
    check_prompt(facts.prompt, facts.prompt_sha256, tokenizer, path)
    model = load_backbone(folder, dtype(precision)).to(device())
    others = [copy.deepcopy(model).to(f"cuda:{i}") for i in range(torch.cuda.device_count()) if i != model.device.index]
    reads = [sorted(x for x in facts.files.items() if x[0].startswith("tokenizer")), facts.prompt_sha256]
    made = [facts.files, facts.pooling, facts.normalize, str(model.dtype), tokens_per_batch, model.device.type]
    return Encoder(
        [model, *others],
        tokenizer,
        facts.prompt,
        facts.pooling,
        facts.normalize,
        tokens_per_batch,
        reads=sha256(reads),
        sha256=sha256([reads, made]),
    )


def sha256(facts: list) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def check_prompt(prompt: Prompt, expected: str, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Raises UserError unless the prompt in encoder.json makes the same tokens as in training."""
    if fingerprint(tokenizer, prompt) != expected:
        raise UserError(
            f"{path}: with this prompt and tokenizer, texts become other tokens than in training (prompt_sha256 "
            f"differs); undo the edit, install the tokenizers and transformers that {path.parent.name} was trained "
            "with, or train it again"
        )
