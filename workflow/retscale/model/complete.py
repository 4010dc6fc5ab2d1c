"""Are all weights of a model in its files, and all of its files' in the model? None may be random or left out."""

import re
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel

from retscale.errors import UserError

# A layer's number in the name of a weight.
_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


def require_plausible(where: Path | str, config: PreTrainedConfig, size: int) -> None:
    """UserError if `size` bytes of weights cannot hold what `config` describes, even at two bits a weight.

    Asked before the model is built, which would take all memory and time for a billion layers.
    """
    text = config.get_text_config()
    layers, width, inner, words = (
        value if isinstance(value := getattr(text, key, None), int) else 1
        for key in ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    )
    if layers < 1 or (layers * max(width, inner) + words) * width > 4 * size:
        raise UserError(
            f"{where} describes a model of {layers:,} layers of width {width:,} and {words:,} tokens, for which its "
            f"weights ({size:,} bytes) are too few; get a complete checkpoint"
        )


def require_complete(where: Path | str, model: PreTrainedModel, loading: dict) -> None:
    """UserError if weights of `model` are random because `where` lacks them, or if it has layers that the model lacks.

    `loading` is what transformers says of the loading. Heads and poolers that a model does without are no layers.
    """
    if lacking := sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]])):
        raise UserError(
            f"{where} lacks {len(lacking)} weights of a {type(model).__name__}, such as {lacking[0]}; "
            "they would be random: get a complete checkpoint"
        )
    layers = {kind for name in model.state_dict() if (kind := _LAYER.sub("*", name)) != name}
    start = f"{model.base_model_prefix}."
    unread = sorted(
        name
        for name in loading["unexpected_keys"]
        if {_LAYER.sub("*", known) for known in (name, name.removeprefix(start))} & layers
    )
    if unread:
        raise UserError(
            f"{where} holds {len(unread)} weights of layers that its configuration does not count, such as {unread[0]}; "
            "they would be left out: get a complete checkpoint"
        )
