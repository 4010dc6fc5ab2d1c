"""What a study says about the analysis."""

from pydantic import Field

from retscale.common.strict import Strict
from retscale.evaluate.metrics import MAIN, Name


class FitConfig(Strict):
    """How trends are fitted and how sure the intervals have to be."""

    metric: Name = Field(MAIN, description="one that the study computes")
    alpha: float = Field(0.05, gt=0, lt=1, description="intervals cover 1 - alpha")
    # Percentiles at 2.5% rest on 50 replicates; their own error is then below a tenth of the interval.
    bootstrap: int = Field(2000, ge=200, le=100_000, description="replicates of every bootstrap and permutation test")
    near: float = Field(1.25, gt=1, description="checkpoints within this ratio of FLOPs count as equal in compute")
    extend: float = Field(0.5, ge=0, le=2, description="decades of FLOPs that trends are drawn beyond the data")


class Spec(FitConfig):
    """The spec of one job of this stage."""

    seed: int = 0
