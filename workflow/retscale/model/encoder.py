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
from retscale.model.device import devices, dtype
from retscale.model.encode import encode
from retscale.model.layout import best_layout, tokens_at_once
from retscale.model.load import load_backbone, load_tokenizer
from retscale.model.packed import use_packed
from retscale.model.pooling import Pooling
from retscale.model.prompt import Prompt, Side
from retscale.model.tokenize import fingerprint, token_ids
from retscale.model.weight_files import listed_weights


@dataclass(frozen=True)
class Encoder:
    """`models` are replicas, one per device; `sha256` is the same for encoders that make the same vectors."""

    models: list[PreTrainedModel]
    tokenizer: PreTrainedTokenizerBase
    prompt: Prompt
    pooling: Pooling
    normalize: bool
    tokens_per_batch: int
    sha256: str

    def tokens(self, texts: list[str], side: Side) -> list[np.ndarray]:
        return token_ids(self.tokenizer, texts, self.prompt, side).ids

    def embed(self, ids: list[np.ndarray], label: str, replica: int = 0) -> np.ndarray:
        """Vectors of token ids: float32 (texts, d); those of equal ids are the same bits."""
        model = self.models[replica]
        with torch.accelerator.device_index(model.device.index):  # the current one of this thread; None on a CPU
            return encode(
                model,
                ids,
                self.tokenizer.pad_token_id,
                pooling=self.pooling,
                normalize=self.normalize,
                tokens_per_batch=self.tokens_per_batch,
                label=label,
            )


def load_encoder(path: Path, precision: str, tokens_per_batch: int, length: int | None = None) -> Encoder:
    """The encoder whose encoder.json is `path`, once on every accelerator of this process, or on the CPU.

    Prompt, pooling and attention are those that it was trained with, but for the `length` of a passage, if that is given.
    Raises UserError if its files are not the ones that encoder.json lists, or if texts would be tokenized differently than
    in training.
    """
    card = EncoderCard.read(path, "train this encoder again")
    folder = card.home(path)
    if unlisted := sorted({weights.name for weights in listed_weights(folder)} - card.files.keys()):
        raise UserError(f"{path} does not list {folder / unlisted[0]}, which would be loaded; train this encoder again")
    for name, expected in card.files.items():
        if files.sha256(folder / name) != expected:
            raise UserError(f"{folder / name} is not the file that {path.name} lists; train this encoder again")
    if not card.normalize:
        raise UserError(f"{path} asks for vectors that are not normalized, but texts are compared by cosine here")
    tokenizer = load_tokenizer(folder)
    check_prompt(card.prompt, card.prompt_sha256, tokenizer, path)
    models = replicas(load_backbone(folder, dtype(precision), card.attention), devices())
    model = models[0]
    tokens_per_batch = tokens_at_once(tokens_per_batch, model.config.hidden_size)
    prompt = card.prompt.at_length(length) if length else card.prompt
    longest = max(prompt.query_length, prompt.passage_length)
    if (
        best_layout(model.config, model.device.type != "cpu", model.dtype == torch.bfloat16, longest, training=False)
        == "packed"
    ):
        for replica in models:
            use_packed(replica)
    tokenization_from = [sorted(x for x in card.files.items() if x[0].startswith("tokenizer")), card.prompt_sha256]
    tokenization_from += [length] if length else []
    vectors_from = [card.files, card.pooling, card.normalize, str(model.dtype), tokens_per_batch]
    vectors_from += [model.device.type, torch.get_num_threads()]
    return Encoder(
        models,
        tokenizer,
        prompt,
        card.pooling,
        card.normalize,
        tokens_per_batch,
        sha256=digest([tokenization_from, vectors_from]),
    )


def replicas(model: PreTrainedModel, devices: list[torch.device]) -> list[PreTrainedModel]:
    """`model`, which is on the CPU, on each device. Each copy is made there, so that no device holds two of them."""
    others = [copy.deepcopy(model).to(device) for device in devices[1:]]
    return [model.to(devices[0]), *others]


def digest(values: list) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def check_prompt(prompt: Prompt, expected: str, tokenizer: PreTrainedTokenizerBase, path: Path) -> None:
    """Raises UserError unless the prompt in encoder.json makes the same tokens as in training."""
    if fingerprint(tokenizer, prompt) != expected:
        raise UserError(
            f"{path}: with this prompt and tokenizer, texts become other tokens than in training (prompt_sha256 "
            f"differs); undo the edit, install the tokenizers and transformers that {path.parent.name} was trained "
            "with, or train it again"
        )
