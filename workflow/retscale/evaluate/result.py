"""TASK.json of `evaluate`: the scores of an encoder on a task."""

from retscale.common.artifact import Artifact

COLUMNS = ("n_queries", "ties", "contrastive_entropy")  # what the table of scores has of a Result besides its metrics


class Result(Artifact):
    """`metrics` are means over the queries, None where a metric has a value at no query. `step`: the encoder was kept
    after so many steps of its training; None: it is the last one. `ties`: neighbors of equal score in the rankings, which are
    `k` deep, and with `judged_only` of judged documents alone. `relevant`: the least judged score that counts for
    measures without gains. `contrastive_entropy`: see evaluate/contrastive.py; older results have none.
    `unranked`: of a reference, queries that share no term with a document, so that nothing is ranked for them. `length`:
    documents were cut after so many tokens instead of the encoder's own number. `extrapolates`: they could be longer than
    any text of the model's pretraining.
    """

    checkpoint: str
    recipe: str
    step: int | None
    task: str
    metrics: dict[str, float | None]
    n_queries: int
    n_documents: int
    judged_only: bool
    ties: int
    k: int
    relevant: int = 1
    contrastive_entropy: float | None = None
    unranked: int | None = None
    length: int | None = None
    extrapolates: bool | None = None
