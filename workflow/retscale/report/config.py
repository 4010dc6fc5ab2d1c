"""What the report needs besides the results: the study's own texts, and facts that no other job needs."""

from retscale.common.strict import Strict


class Described(Strict):
    """License and origin of a data set or a model; `tokens`: how a model's pretraining tokens are known."""

    licence: str = ""
    origin: str = ""
    note: str | None = None
    tokens: str = ""


class Origin(Strict):
    """Where published results are from."""

    source: str
    licence: str = ""


class Spec(Strict):
    """The study's title, description and deviations; `machine` is the kind of machine that it is meant for.

    `mixtures`: for each recipe its training data sets with their weights, None: in proportion to their pairs.
    """

    title: str = ""
    description: str = ""
    deviations: list[str] = []
    machine: str = ""
    checkpoints: dict[str, Described] = {}
    pairs: dict[str, Described] = {}
    mixtures: dict[str, dict[str, float | None]] = {}
    text: dict[str, Described] = {}
    tasks: dict[str, Described] = {}
    icl: dict[str, Described] = {}
    external: list[str] = []  # the license of each table
    published: Origin | None = None  # the results that the study consists of, if nothing was run here
