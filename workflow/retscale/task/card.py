"""task.json: the sizes of a retrieval task, how it is scored, and the sha256 of its tables."""

from retscale.common.artifact import Artifact


class TaskCard(Artifact):
    """`judged_only`: a query ranks its judged documents alone. `ignore_identical_ids`: no query ranks the document of
    its own id. `follows`: the metric of a task whose queries carry instructions. `notes`: counts of what was assumed,
    dropped and kept, by kind and reason; of a cut, also how many documents its `pool` has by what.
    """

    id: str
    queries: int
    documents: int
    judgements: int
    judged_only: bool
    ignore_identical_ids: bool
    follows: str | None
    sha256: dict[str, str]
    notes: dict[str, dict[str, int]]
