"""Check that a model has an embedding for each token of its tokenizer."""

from transformers import PreTrainedTokenizerBase

from retscale.common.phrase import counted
from retscale.errors import UserError


def check_rows(whose: str, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Raises UserError for a token without a row of the embedding, since any token may occur in a text.

    Rows without a token are common: families pad their embedding to a round number.
    """
    tokens = tokenizer.get_vocab()
    if beyond := sorted((number, token) for token, number in tokens.items() if number >= rows):
        number, token = beyond[0]
        named = [name for name in ("pad", "bos", "eos", "unk") if getattr(tokenizer, f"{name}_token_id") == number]
        what = f"{named[0]} token" if named else "token"
        others = f", nor for {counted(len(beyond) - 1, 'other')}" if len(beyond) > 1 else ""
        raise UserError(
            f"the tokenizer of {whose} has the {what} {token!r} with the id {number}, but the token embedding of the "
            f"model has {rows:,} rows, so none for it{others}; remove such tokens from the tokenizer's files, or "
            "resize the model's embedding"
        )
