"""The learning rate of each step."""

import math
from typing import Literal

Decay = Literal["cosine", "linear"]


def learning_rate(step: int, steps: int, peak: float, warmup: float, floor: float, decay: Decay = "cosine") -> float:
    """Linear from peak/w to `peak` over the first w = warmup * steps steps, then down to floor * peak at the last one."""
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - 1 - rising)
    left = 1 - done if decay == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return peak * (floor + (1 - floor) * left)
