"""How long a job takes: a floor, and its arithmetic at the share of a device's peak that such jobs reach there."""

import math
from dataclasses import dataclass

from retscale.plan.estimate import Cost, Sum, total
from retscale.plan.sizes import catalog_sizes

CPU = "cpu"  # the device that is one core


@dataclass(frozen=True)
class Device:
    """`peak`: FLOP/s of the model's arithmetic; `share` of it that is reached, where the tables shall not say."""

    name: str
    peak: float
    share: float | None = None

    @property
    def is_cpu(self) -> bool:
        return self.name == CPU

    def seconds(self, stage: str, costs: list[Cost], n_params: float | None) -> Sum:
        """Of one job on one device; of a stage without a model nothing but the floor. `n_params`: that are multiplied."""
        flops = total(cost.flops for cost in costs)
        table = catalog_sizes()["times"]["cpu" if self.is_cpu else "gpu"].get(stage, {})
        seconds = table.get("floor", 0)
        if flops.known:
            seconds += flops.known / (self.peak * (self.share or reached(table["reached"], n_params or 1e9)))
        return Sum(seconds, flops.unknown)


def reached(points: dict[float, float], n_params: float) -> float:
    """Between the given sizes a power law, as below the smallest; above the largest what that reaches."""
    known = sorted((math.log(size), math.log(share)) for size, share in points.items())
    size = min(math.log(n_params), known[-1][0])
    if len(known) == 1:
        return math.exp(known[0][1])
    right = next((i for i in range(1, len(known)) if size <= known[i][0]), len(known) - 1)
    (x0, y0), (x1, y1) = known[right - 1], known[right]
    return math.exp(y0 + (y1 - y0) * (size - x0) / (x1 - x0))
