"""Check that a model and its files have the same weights: none may be random, none left out."""

import re
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel

from retscale.errors import UserError

# A layer's number in the name of a weight.
_LAYER = re.compile(r"(?<=\.)\d+(?=\.)")


def require_plausible(where: Path | str, config: PreTrainedConfig, size: int) -> None:
    """Raises UserError if `size` bytes of weights cannot hold what `config` describes, even at two bits per weight.

    Checked before the model is built, which would take all memory and time for a billion layers.
    """
    text = config.get_text_config()
    layers, width, inner, words = (
        value if isinstance(value := getattr(text, key, None), int) else 1
        for key in ("num_hidden_layers", "hidden_size", "intermediate_size", "vocab_size")
    )
    if layers < 1 or (layers * max(width, inner) + words) * width > 4 * size:
        raise UserError(
            f"{where} describes a model of {layers:,} layers of width {width:,} and {words:,} tokens, but its "
            f"weights ({size:,} bytes) are too small for it; get a complete checkpoint"
        )


def require_complete(where: Path | str, model: PreTrainedModel, loading: dict) -> None:
    """Raises UserError if weights of `model` are missing from `where`, or if it has layers that the model lacks.

    `loading` is transformers' report on the loading. Heads and poolers that a model does not use are not layers.
    """
    if missing := sorted(map(str, [*loading["missing_keys"], *loading["mismatched_keys"]])):
        raise UserError(
            f"{where} lacks {len(missing)} weights of a {type(model).__name__}, such as {missing[0]}; "
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
            f"{where} holds {len(unread)} weights of layers that its configuration does not have, such as {unread[0]}; "
            "they would be ignored: get a complete checkpoint"
        )
