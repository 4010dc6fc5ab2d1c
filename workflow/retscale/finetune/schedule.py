"""The learning rate of each step."""

import math


def learning_rate(step: int, steps: int, peak: float, warmup: float, floor: float) -> float:
    """Linear from peak/w to `peak` over the first w = warmup * steps steps, then a cosine that ends at floor * peak."""
    rising = round(warmup * steps)
    if step < rising:
        return peak * (step + 1) / rising
    done = (step - rising) / max(1, steps - 1 - rising)
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))
