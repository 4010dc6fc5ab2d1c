"""The stage `encoder`: encoder.json of an encoder made elsewhere, as fine-tuning writes it for our own."""

from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.common.files import sha256
from retscale.encoder.card import EncoderCard, attention_field
from retscale.encoder.config import GIVEN, Spec, Truncation
from retscale.encoder.folder import Description, describe
from retscale.errors import UserError
from retscale.model.encoder import check_prompt
from retscale.model.load import load_backbone, load_tokenizer, max_length
from retscale.model.params import count_params
from retscale.model.prompt import Prompt
from retscale.model.tokenize import fingerprint
from retscale.model.vocabulary import check_rows


def run(values: dict, inputs: dict, out: Path) -> dict:
    """Check the folder, which stays where it is, and record how it makes vectors and the hashes of its files.

    Raises UserError if a file is not the one that the folder lists, or if its vectors could not be reproduced.
    """
    spec = Spec.model_validate(values)
    folder = spec.source.folder().resolve()
    description = describe(folder)
    files = {name: sha256(folder / name) for name in description.files}
    for name, listed in description.files.items():
        if listed not in (None, files[name]):
            raise UserError(f"{folder / name} is not the file that encoder.json beside it lists; get a complete copy")
    # UserError if they cannot be.
    tokenizer, model = load_tokenizer(folder), load_backbone(folder, torch.float32, description.attention)
    check_rows(f"the encoder {spec.id!r}", tokenizer, model.get_input_embeddings().num_embeddings)
    card = {
        "checkpoint": spec.id,
        "recipe": {"id": GIVEN},
        "folder": spec.source.path,
        **({"wheel": spec.source.wheel} if spec.source.wheel else {}),
        "files": files,
        "pooling": description.pooling,
        "normalize": True,  # texts are compared by cosine
        "n_params": description.n_params or count_params(model),
        **attention_field(description.attention),
    }
    if description.prompt_sha256:
        prompt = Prompt(**description.prompt)
        check_prompt(prompt, description.prompt_sha256, tokenizer, folder / "encoder.json")
    else:
        prompt = complete_prompt(description, tokenizer, model, folder)
    prompt = truncated(prompt, spec, spec.id)
    card |= {"prompt": prompt.model_dump(mode="json"), "prompt_sha256": fingerprint(tokenizer, prompt)}
    EncoderCard.write(out / "encoder.json", card)
    return {"files": len(files)}


def complete_prompt(
    description: Description, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, folder: Path
) -> Prompt:
    """The prompt of a model of sentence-transformers, which truncates a text at the limit of tokenizer or model."""
    if tokenizer.truncation_side != "right":
        raise UserError(f"{folder}: its tokenizer truncates texts on the left, which cannot be reproduced here")
    if description.lower_case and not lowercases(tokenizer):
        raise UserError(
            f"{folder / 'sentence_bert_config.json'}: do_lower_case, but the tokenizer keeps capitals, which cannot be "
            "reproduced here; remove this encoder from the study"
        )
    context_length = max_length(model.config)
    length = description.prompt.get("query_length") or min(
        end for end in (tokenizer.model_max_length, context_length) if end
    )
    if length > 10**6:
        raise UserError(
            f"{folder} does not say where it truncates a text; give max_seq_length in sentence_bert_config.json"
        )
    if context_length and length > context_length:
        raise UserError(
            f"{folder / 'sentence_bert_config.json'}: max_seq_length {length}, but the context of the model is "
            f"{context_length} tokens; correct it"
        )
    return Prompt(**description.prompt | {"query_length": length, "passage_length": length})


def truncated(prompt: Prompt, limits: Truncation, id: str) -> Prompt:
    """The prompt with these lengths; UserError for one beyond its own."""
    lengths = {key: tokens for key in Truncation.model_fields if (tokens := getattr(limits, key))}
    for key, tokens in lengths.items():
        if tokens > (own := getattr(prompt, key)):
            raise UserError(f"encoders ({id}).{key}: {tokens}, but the encoder cuts texts after {own}; give fewer")
    return Prompt(**prompt.model_dump() | lengths)


def lowercases(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer makes every text lower-case by itself."""
    normalizer = tokenizer.backend_tokenizer.normalizer
    return normalizer is not None and normalizer.normalize_str("Aé B") == normalizer.normalize_str("aé b")
