"""The number of tokens that a model can read, and the number that it was pretrained on."""

from transformers import PreTrainedConfig

from retscale.errors import UserError
from retscale.model.load import T5, max_length

# Models with ALiBi, whose attention falls with distance.
ALIBI = {"bloom", "mpt"}


def learned_positions(config: PreTrainedConfig) -> bool:
    """Whether a model has a learned table of positions and cannot read beyond it; True if the config does not state it."""
    relative = config.model_type in T5 or config.model_type in ALIBI or getattr(config, "alibi", False)
    return not relative and not getattr(config, "rope_parameters", None)


def extrapolates(config: PreTrainedConfig, length: int, trained_length: int | None, name: str) -> bool:
    """Whether texts of `length` tokens are longer than those that the model, `name`, was pretrained on.

    These had `trained_length` tokens, or else the length in the config; False for a T5, whose config states none. Raises
    UserError if the model has a table of fewer positions.
    """
    limit = max_length(config)
    if limit is not None and length > limit and learned_positions(config):
        raise UserError(
            f"length {length}: {name} has {limit} positions, so it cannot read that far; lower `lengths` of the study, or "
            "leave it out by their `checkpoints` or `recipes`"
        )
    seen = trained_length or limit
    return seen is not None and length > seen
