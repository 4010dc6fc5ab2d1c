"""Tiny decoders with a byte-level tokenizer, far from uniform, for the tests of in-context learning."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, set_seed

TEXT = [
    "The old man walked slowly to the house because his wife waited for dinner. Then the rain began to fall on us.",
    "A small dog ran over the green field and barked at the house. Nobody in the village knew where it came from.",
    "When the king heard the news about the war he left the castle and rode for two days to the distant town.",
]


def tokenizer(vocabulary: int = 400) -> PreTrainedTokenizerFast:
    """Byte-level BPE, so it reads any text; <eos> ends texts and pads."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXT * 3, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<eos>"], initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<eos>", pad_token="<eos>")


def decoder(config, scale: float = 8.0):
    """A random model of `config`, its matrices scaled up so that choices differ and contexts matter."""
    set_seed(0)
    model = AutoModelForCausalLM.from_config(
        config, attn_implementation="eager" if config.model_type == "mpt" else None
    )
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(scale)
    return model.eval()


def save(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
