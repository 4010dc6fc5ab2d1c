"""A byte-level BPE tokenizer trained from documents, the same bytes for the same documents."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

EOS = "<|endoftext|>"


def train(texts: list[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE with `vocab_size` entries: end-of-text (id 0), the 256 bytes, and merges by frequency.

    Ties between merges are broken by token ids, so neither a hash seed nor the number of threads matters.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder that `AutoTokenizer.from_pretrained` loads."""
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=EOS, pad_token=EOS, clean_up_tokenization_spaces=False
    ).save_pretrained(folder)
