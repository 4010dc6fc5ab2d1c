"""collect.json: which study the tables are of, and how many rows they have."""

from pydantic import BaseModel

from retscale.collect.comparisons import Comparisons
from retscale.collect.repeats import Repeats
from retscale.common.tables import Summary


class StudySummary(BaseModel, frozen=True):
    """What readers of tables ask of a study, in the words of its spec of `collect`. Older files have only
    some of these.
    """

    study: str
    headline: dict[str, list[str]]
    in_domain: dict[str, list[str]] = {}
    in_domain_by_recipe: dict[str, list[str]] = {}
    beside: dict[str, list[str]] = {}
    groups: dict[str, list[str]] = {}
    contrasts: list[str] = []
    cuts: dict[str, str] = {}
    comparisons: Comparisons = Comparisons()
    recipes: list[str]
    repeats: Repeats = Repeats()
    main_recipe: str


class CollectSummary(StudySummary, Summary):
    """`rows` of each table."""

    rows: dict[str, int]
