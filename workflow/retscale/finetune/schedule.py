"""The learning rate of each step."""

import math
from typing import Literal

Decay = Literal["cosine", "linear"]


def learning_rate(step: int, steps: int, peak: float, warmup: float, floor: float, decay: Decay = "cosine") -> float:
    """Linear from peak/w to `peak` over the first w = warmup * steps steps, then down to floor * peak at the last one."""
    warmup_steps = round(warmup * steps)
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)
    factor = 1 - progress if decay == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return peak * (floor + (1 - floor) * factor)
