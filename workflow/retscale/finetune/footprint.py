"""Bytes that a training takes, by arithmetic alone: for the driver before anything is loaded, and for the training itself.

Weights and gradients in float32 and AdamW's two moments are 16 bytes of a parameter that is trained. In bfloat16 a
replica has a copy of the weights to compute with, 2 more. A sharded model has its part of the 16, the embeddings, which
stay in float32, and for a moment whole layers: the one at work and the next, and one's gradients before and after they
become float32.
"""

from dataclasses import dataclass

from retscale.finetune.config import Recipe

MOMENTS_AND_GRADIENT = 12  # float32, a trained parameter
USABLE = 0.9  # fraction of a device's memory; the rest goes to fragmentation and to what no formula covers


@dataclass(frozen=True)
class Footprint:
    """What a model and its tuning take. All counts are of the whole model.

    weights: bytes of the parameters as they are kept; trained: parameters that are trained; cast: those that are kept
    in float32 and computed with in bfloat16; compute: bytes of a number in the matrix products; embeddings: parameters
    of tables that are looked up; per_token: bytes that a forward keeps for its backward.
    """

    total: int
    weights: int
    trained: int
    cast: int
    compute: int
    layers: int
    width: int
    embeddings: int
    per_token: float

    def peak(self, tokens: int, forward_tokens: int, checkpointing: bool, shards: int = 1) -> int:
        """Bytes of a process at the peak of a step over `tokens` tokens, in forwards of `forward_tokens` at most."""
        state = self.weights + MOMENTS_AND_GRADIENT * self.trained
        return round(self._held(state, shards) + self.activations(tokens, forward_tokens, checkpointing))

    def activations(self, tokens: int, forward_tokens: int, checkpointing: bool) -> float:
        """With checkpointing only each layer's input is kept, in float32, and one layer at a time has all of its own."""
        if not checkpointing:
            return self.per_token * tokens
        return 4 * self.layers * self.width * tokens + self.per_token * forward_tokens / self.layers

    def _held(self, state: int, shards: int) -> float:
        if shards == 1:
            return state + 2 * self.cast
        layer = (self.total - self.embeddings) / self.layers
        gathered = layer * (2 * self.compute + self.compute + 4) + 4 * self.embeddings
        return state / shards + gathered


def microbatches(recipe: Recipe, processes: int) -> list[int]:
    """Queries that a process may encode at once, the most first: one choice where the recipe, or the result, has it."""
    share = recipe.batch_queries // processes
    if adjustable(recipe):
        return [m for m in range(share, 0, -1) if share % m == 0]
    return [recipe.microbatch or share]


def adjustable(recipe: Recipe) -> bool:
    """Whether the recipe leaves the micro-batch open and the result does not depend on it."""
    return recipe.microbatch is None and recipe.negatives != "microbatch"
