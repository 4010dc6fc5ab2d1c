"""How far a model can read, and from where on it reads what it never saw in pretraining."""

from transformers import PreTrainedConfig

from retscale.errors import UserError
from retscale.model.load import T5, max_length

# Attention falls with distance, whatever the positions.
ALIBI = {"bloom", "mpt"}


def learned_positions(config: PreTrainedConfig) -> bool:
    """Whether a model has a table of positions, beyond whose rows it cannot read; True where its config does not tell."""
    relative = config.model_type in T5 or config.model_type in ALIBI or getattr(config, "alibi", False)
    return not relative and not getattr(config, "rope_parameters", None)


def extrapolates(config: PreTrainedConfig, length: int, trained_length: int | None, name: str) -> bool:
    """Whether texts of `length` tokens are longer than what the model, `name`, was pretrained on.

    That is `trained_length`, or else what its config states; nobody knows for a T5, whose distances end in one bucket.
    Raises UserError if there are no positions for so many tokens.
    """
    limit = max_length(config)
    if limit is not None and length > limit and learned_positions(config):
        raise UserError(
            f"length {length}: {name} has {limit} positions, so it cannot read that far; lower `lengths` of the study, or "
            "leave it out by their `checkpoints` or `recipes`"
        )
    seen = trained_length or limit
    return seen is not None and length > seen
