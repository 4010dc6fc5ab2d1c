"""The stage `encoder`: encoder.json of an encoder made elsewhere, as fine-tuning writes it for our own."""

from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.common.files import sha256
from retscale.encoder.card import EncoderCard
from retscale.encoder.config import GIVEN, Spec
from retscale.encoder.folder import Described, described
from retscale.errors import UserError
from retscale.model.encoder import check_prompt
from retscale.model.load import load_backbone, load_tokenizer, max_length
from retscale.model.params import count_params
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint
from retscale.model.vocabulary import check_rows


def run(spec: dict, inputs: dict, out: Path) -> dict:
    """Check the folder, which stays where it is, and record how it makes vectors and the hashes of its files.

    Raises UserError if a file is not the one that the folder lists, or if its vectors could not be reproduced.
    """
    job = Spec.model_validate(spec)
    folder = job.source.folder().resolve()
    found = described(folder)
    files = {name: sha256(folder / name) for name in found.files}
    for name, listed in found.files.items():
        if listed not in (None, files[name]):
            raise UserError(f"{folder / name} is not the file that encoder.json beside it lists; get a complete copy")
    tokenizer, model = load_tokenizer(folder), load_backbone(folder, torch.float32)  # UserError if they cannot be
    check_rows(f"the encoder {job.id!r}", tokenizer, model.get_input_embeddings().num_embeddings)
    facts = {
        "checkpoint": job.id,
        "recipe": {"id": GIVEN},
        "folder": str(folder),
        "files": files,
        "prompt": found.prompt,
        "prompt_sha256": found.prompt_sha256,
        "pooling": found.pooling,
        "normalize": True,  # texts are compared by cosine
        "n_params": found.n_params or count_params(model),
    }
    if found.prompt_sha256:
        check_prompt(Prompt(**found.prompt), found.prompt_sha256, tokenizer, folder / "encoder.json")
    else:
        prompt = completed(found, tokenizer, model, folder)
        facts |= {"prompt": prompt.model_dump(mode="json"), "prompt_sha256": fingerprint(tokenizer, prompt)}
    EncoderCard.write(out / "encoder.json", facts)
    return {"files": len(files)}


def completed(found: Described, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, folder: Path) -> Prompt:
    """The prompt of a model of sentence-transformers, which truncates a text at the limit of tokenizer or model."""
    if tokenizer.truncation_side != "right":
        raise UserError(f"{folder}: its tokenizer truncates texts on the left, which cannot be reproduced here")
    if found.lower_case and not lowers(tokenizer):
        raise UserError(
            f"{folder / 'sentence_bert_config.json'}: do_lower_case, but the tokenizer keeps capitals, which cannot be "
            "reproduced here; remove this encoder from the study"
        )
    readable = max_length(model.config)
    length = found.prompt.get("query_length") or min(end for end in (tokenizer.model_max_length, readable) if end)
    if length > 10**6:
        raise UserError(
            f"{folder} does not say where it truncates a text; give max_seq_length in sentence_bert_config.json"
        )
    if readable and length > readable:
        raise UserError(
            f"{folder / 'sentence_bert_config.json'}: max_seq_length {length}, but the context of the model is "
            f"{readable} tokens; correct it"
        )
    return Prompt(**found.prompt | {"query_length": length, "passage_length": length})


def lowers(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer makes every text lower-case by itself."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("Aé B") == normalizer.normalize_str("aé b")
