"""Does the loaded model agree with what its entry says?"""

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.checkpoint.config import Job, Tokenizer
from retscale.errors import UserError
from retscale.model.load import max_length
from retscale.model.tokenize import own_ends


def compare(job: Job, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n_params: int) -> None:
    """UserError for the first fact that `job` states otherwise, if nothing says what pads, or for a token that the model
    cannot read.
    """
    facts = {
        "n_params": (n_params, "parameters"),
        "vocab_size": (model.get_input_embeddings().num_embeddings, "rows of token embedding"),
        "max_length": (max_length(model.config), "tokens of context"),
    }
    for key, (found, words) in facts.items():
        stated = getattr(job, key)
        if stated is not None and stated != found:
            measured = "no limit to its" if found is None else f"{found:,}"
            raise UserError(
                f"the checkpoint {job.id!r} has {measured} {words} but its entry says {stated:,}; "
                f"correct {key}, or its repository, revision or file"
            )
    _compare_tokenizer(job.id, job.tokenizer, tokenizer, job.source.kind != "pretrain")
    _fits(job.id, tokenizer, facts["vocab_size"][0])


def _fits(id: str, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """UserError for a token without a row of the embedding, since any that the tokenizer has may occur in a text.

    Rows without a token are common: families pad their embedding to a round number.
    """
    tokens = tokenizer.get_vocab()
    if beyond := sorted((number, token) for token, number in tokens.items() if number >= rows):
        number, token = beyond[0]
        named = [name for name in ("pad", "bos", "eos", "unk") if getattr(tokenizer, f"{name}_token_id") == number]
        what = f"{named[0]} token" if named else "token"
        others = f", nor have {len(beyond) - 1} others" if len(beyond) > 1 else ""
        raise UserError(
            f"the tokenizer of the checkpoint {id!r} has the {what} {token!r} with the id {number}, but the model has "
            f"{rows:,} rows of token embedding, so it has none for it{others}; remove such tokens from the tokenizer's "
            "files, or resize the model's embedding"
        )


def _compare_tokenizer(id: str, stated: Tokenizer, tokenizer: PreTrainedTokenizerBase, from_outside: bool) -> None:
    before, after = own_ends(tokenizer)
    found = {"before": before, "after": after, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    if found["pad"] is None and stated.pad is None and from_outside:
        raise UserError(
            f"the tokenizer of the checkpoint {id!r} has no padding token and its entry names none; "
            "say what pads, such as `tokenizer: {pad: eos}` for its end-of-text token"
        )
    for key, value in stated.model_dump(exclude_none=True).items():
        if value == "eos" and found["eos"] is not None and found["pad"] in (None, found["eos"]):
            continue
        if value != found[key]:
            raise UserError(
                f"the tokenizer of the checkpoint {id!r} has {key} {found[key]} but its entry says {value}; "
                f"correct tokenizer.{key}, or its repository, revision or file"
            )
