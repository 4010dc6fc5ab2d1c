"""Check that the loaded model agrees with its entry."""

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from retscale.checkpoint.config import Spec, Tokenizer
from retscale.errors import UserError
from retscale.model.load import max_length
from retscale.model.tokenize import own_ends
from retscale.model.vocabulary import check_rows


def compare(spec: Spec, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, n_params: int) -> None:
    """Raises UserError for the first value that differs from what `spec` states, if there is no padding token, for a
    token outside the model's vocabulary, or for a weight that is infinite or NaN.
    """
    actual = {
        "n_params": (n_params, "parameters"),
        "vocab_size": (model.get_input_embeddings().num_embeddings, "rows of token embedding"),
        "max_length": (max_length(model.config), "tokens of context"),
    }
    for key, (value, unit) in actual.items():
        stated = getattr(spec, key)
        if stated is not None and stated != value:
            count = "no limit to its" if value is None else f"{value:,}"
            raise UserError(
                f"the checkpoint {spec.id!r} has {count} {unit}, but its entry says {stated:,}; "
                f"correct {key}, or its repository, revision or file"
            )
    _compare_tokenizer(spec.id, spec.tokenizer, tokenizer, spec.source.kind not in ("pretrain", "random"))
    check_rows(f"the checkpoint {spec.id!r}", tokenizer, actual["vocab_size"][0])
    _require_finite(spec.id, model)


def _require_finite(id: str, model: PreTrainedModel) -> None:
    for name, weight in model.named_parameters():
        if not torch.isfinite(weight).all():
            raise UserError(
                f"the weight {name} of the checkpoint {id!r} holds infinite values or NaN in {weight.dtype}, as when it "
                "was converted to fp16; get its weights in bf16 or fp32"
            )


def _compare_tokenizer(id: str, stated: Tokenizer, tokenizer: PreTrainedTokenizerBase, needs_pad: bool) -> None:
    before, after = own_ends(tokenizer)
    actual = {"before": before, "after": after, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    if actual["pad"] is None and stated.pad is None and needs_pad:
        raise UserError(
            f"the tokenizer of the checkpoint {id!r} has no padding token and its entry names none; "
            "name one, such as `tokenizer: {pad: eos}` for its end-of-text token"
        )
    for key, expected in stated.model_dump(exclude_none=True).items():
        if expected == "eos" and actual["eos"] is not None and actual["pad"] in (None, actual["eos"]):
            continue
        if expected != actual[key]:
            raise UserError(
                f"the tokenizer of the checkpoint {id!r} has {key} {actual[key]}, but its entry says {expected}; "
                f"correct tokenizer.{key}, or its repository, revision or file"
            )
