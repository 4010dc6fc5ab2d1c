"""The first lines: what was run, and on what."""

import math

from retscale.report.results import Results


def span(results: Results) -> dict:
    """Counts and ranges of the ladder, and how many checkpoints are beside it."""
    ladder = results.checkpoints.query("role == 'fit'")
    flops = ladder["flops"].astype(float)
    ends = {name: (ladder[name].min(), ladder[name].max()) for name in ("n_params", "n_tokens", "flops")}
    decades = math.log10(flops.max() / flops.min()) if len(ladder) else 0.0
    return {
        "n": len(ladder),
        "sizes": ladder.groupby(["family", "size"]).ngroups,
        "families": ladder["family"].nunique(),
        "decades": decades,
        "others": len(results.checkpoints) - len(ladder),
        **ends,
    }


def example(results: Results) -> dict | None:
    """The checkpoint of the least compute, to say what an id stands for."""
    return None if results.ladder.empty else results.ladder.iloc[0].to_dict()
