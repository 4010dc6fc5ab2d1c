"""What a study says about the analysis."""

from pydantic import Field

from retscale.common.strict import Strict
from retscale.evaluate.metrics import MAIN, Name


class Target(Strict):
    """A model whose score is forecast; its FLOPs are 6 × parameters × tokens."""

    n_params: int = Field(gt=0)
    n_tokens: int = Field(gt=0)


# The 30B has the tokens that MPT-30B was trained on, the 70B about those of Llama 3.
TARGETS = {
    "13B x 2T": Target(n_params=13 * 10**9, n_tokens=2 * 10**12),
    "30B x 1T": Target(n_params=30 * 10**9, n_tokens=10**12),
    "70B x 15T": Target(n_params=70 * 10**9, n_tokens=15 * 10**12),
}


class FitConfig(Strict):
    """How trends are fitted and how sure the intervals have to be."""

    metric: Name = Field(MAIN, description="one that the study computes")
    alpha: float = Field(0.05, gt=0, lt=1, description="intervals cover 1 - alpha")
    # Percentiles at 2.5% rest on 50 replicates; their own error is then below a tenth of the interval.
    bootstrap: int = Field(2000, ge=200, le=100_000, description="replicates of every bootstrap and permutation test")
    near: float = Field(1.25, gt=1, description="checkpoints within this ratio of FLOPs count as equal in compute")
    extend: float = Field(0.5, ge=0, le=2, description="decades of FLOPs that trends are drawn beyond the data")
    paired: tuple[str, str] | None = Field(
        None,
        exclude_if=lambda families: families is None,
        description="two families whose checkpoints of one size and number of tokens are compared: first - second",
    )
    targets: dict[str, Target] = Field(TARGETS, description="models whose scores are forecast, by name")
    # Ladders of published encoders on BEIR have .0083 in means over tasks and a median of .012 in single tasks.
    size_sd_mean: float = Field(
        0.008,
        gt=0,
        description="prior standard deviation of means between sizes, used where few sizes say little of it",
    )
    size_sd_task: float = Field(0.012, gt=0, description="the same of single tasks")
    size_df: float = Field(4, gt=0, description="degrees of freedom of these priors: how much they weigh")


class Spec(FitConfig):
    """The spec of one job of this stage."""

    seed: int = 0
