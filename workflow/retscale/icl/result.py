"""TASK.json of `icl`: the score of a checkpoint on an in-context task."""

from retscale.common.artifact import Artifact


class IclResult(Artifact):
    """`value` is an accuracy, `score` how far it is above the `baseline`, as a share of what is possible; both are None
    where generated programs were not run, with `stderr` and the ends of the 95% interval. `dropped` counts items of a
    wheel by reason, `sha256` is of a released file. `bits_per_byte`: of the gold answer, None where answers are generated.
    """

    checkpoint: str
    task: str
    type: str
    metric: str
    value: float | None
    stderr: float | None
    low: float | None = None
    high: float | None = None
    categories: dict[str, float] = {}
    baseline: float
    score: float | None
    n_items: int
    shots: int
    max_length: int
    trimmed: int = 0
    skipped: int = 0
    sha256: str = ""
    dropped: dict[str, int] = {}
    executed: bool | None = None
    tied: int = 0
    odd: list[str] = []
    whole: str | None = None
    value_by: dict[str, float] = {}
    bits_per_byte: float | None = None
    bits_per_byte_stderr: float | None = None
